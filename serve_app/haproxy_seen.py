"""What a HAProxy process shows of itself: at its admin socket, and in /proc. Standard library alone."""

import csv
import re
import socket
from pathlib import Path

ANSWER_S = 0.2  # its time to answer


def could_run(pid: int) -> bool:
    """Whether this process is ready to run, or waits for a disk: neither stopped nor asleep."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] in "RD"
    except OSError:
        return False


def asked(path: str, command: str) -> str:
    """What HAProxy says to this at its admin socket. Raises OSError, TimeoutError among them."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(ANSWER_S)
        line.connect(path)
        line.sendall(f"{command}\n".encode())
        said = b""
        while more := line.recv(1 << 16):
            said += more
    return said.decode(errors="replace")


def pid_at(path: str) -> int | None:
    """The process that answers at this admin socket."""
    try:
        found = re.search(r"(?m)^Pid: (\d+)$", asked(path, "show info"))
    except OSError:
        return None
    return int(found[1]) if found else None


def replicas(path: str) -> bool:
    """Whether the HAProxy at this admin socket has somebody to send questions to: on a busy machine also one whose
    checks fail, as long as a process listens there."""
    try:
        rows = list(csv.DictReader(asked(path, "show stat").removeprefix("# ").splitlines()))
    except OSError:  # it is not up yet
        return True
    servers = [row for row in rows if row["svname"] not in ("FRONTEND", "BACKEND")]
    return any(row["status"].startswith("UP") or "L7" in row["check_status"] for row in servers)
