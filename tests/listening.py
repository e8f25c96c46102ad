"""Which sockets a set of processes listens on, and what each says to somebody without a credential."""

import ipaddress
import os
import socket
from collections.abc import Iterable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

import grpc

PATIENCE_S = 5.0
LISTEN = "0A"
TABLES = {"tcp": socket.AF_INET, "tcp6": socket.AF_INET6, "udp": socket.AF_INET, "udp6": socket.AF_INET6}
GRPC_METHODS = (  # one of each service that Ray has; a server answers those it knows
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.JobInfoGcsService/GetAllJobInfo",
    "/ray.rpc.InternalKVGcsService/InternalKVKeys",
    "/ray.rpc.NodeManagerService/GetNodeStats",
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.rpc.CoreWorkerService/GetCoreWorkerStats",
    "/ray.rpc.CoreWorkerService/Exit",
    "/ray.rpc.ReporterService/GetTraceback",
    "/ray.rpc.LogService/ListLogs",
    "/ray.serve.ASGIService/HandleRequest",
    "/ray.serve.ASGIService/HandleRequestWithRejection",
)


class Listener(NamedTuple):
    """One listening socket; `owner` is the beginning of its process's command line."""

    kind: str  # tcp or udp
    address: str
    port: int
    pid: int
    owner: str

    def __str__(self) -> str:
        return f"{self.kind} {self.address}:{self.port} of {self.owner} ({self.pid})"

    @property
    def loopback(self) -> bool:
        address = ipaddress.ip_address(self.address)
        mapped = getattr(address, "ipv4_mapped", None)
        return bool((mapped or address).is_loopback)


def listeners(pids: Iterable[int]) -> list[Listener]:
    """Every listening TCP socket and bound UDP socket of these processes."""
    owners = {inode: pid for pid in pids for inode in _inodes(pid)}
    found = []
    for table, family in TABLES.items():
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            pid = owners.get(fields[9])
            if pid is None or (table.startswith("tcp") and fields[3] != LISTEN):
                continue
            address, _, port = fields[1].partition(":")
            if table.startswith("udp") and int(fields[2].partition(":")[2], 16):
                continue  # connected: answers its one peer alone
            found.append(Listener(table[:3], _address(address, family), int(port, 16), pid, _owner(pid)))
    return found


def http_status(port: int, path: str, method: str = "GET", host: str = "127.0.0.1") -> int | None:
    """The status of an HTTP request without credentials; None where something else than HTTP/1 answers."""
    connection = HTTPConnection(host, port, timeout=PATIENCE_S)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def grpc_codes(port: int) -> set[str]:
    """What a gRPC server says to calls without a token: names of status codes, `OK` where it obeyed."""
    codes = set()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for method in GRPC_METHODS:
            try:
                channel.unary_unary(method)(b"", timeout=PATIENCE_S)
                codes.add("OK")
            except grpc.RpcError as error:
                codes.add(error.code().name)
    return codes


def _inodes(pid: int) -> list[str]:
    found = []
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(entry.path)
            except OSError:
                continue
            if target.startswith("socket:["):
                found.append(target[8:-1])
    except OSError:
        pass
    return found


def _address(text: str, family: int) -> str:
    raw = bytes.fromhex(text)
    words = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))  # each word in the machine's order
    return socket.inet_ntop(family, words)


def _owner(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "?"
    names = [Path(word).name for word in words if word and not word.startswith("-")]
    return " ".join(names[:3])
