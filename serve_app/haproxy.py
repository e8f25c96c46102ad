"""The HAProxy of Ray Serve, closed up: Ray starts this file as its HAProxy, and it becomes the real one.

Ray's own configuration opens its statistics and metrics on all interfaces without a credential, makes its admin
socket writable for everyone and turns 502, 503 and 504 into 500. This rewrites the few lines concerned and then
replaces itself (same process, same arguments), so that Ray goes on managing what it started. Its listening socket it
has from a guard (`serve_app/haproxy_guard.py`), which starts another HAProxy when this one dies. Standard library
alone, and run as a file: it starts at every reload.
"""

import json
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

REAL = "VERDICT_HAPROXY"  # the environment variable that names the real binary
MAX_BODY = "VERDICT_HAPROXY_MAX_BODY"  # bytes
MAX_REQUESTS = "VERDICT_HAPROXY_MAX_REQUESTS"  # at work at one time, for each replica
MAX_WAIT = "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S"  # seconds for an answer; Ray's own, which writes it by itself

REFUSED = "verdict-refused"  # the header of an answer that was given before its question's body was read: the answer
REFUSALS = (400, 401, 403, 404, 405, 413, 503, 504)  # its statuses
FRAMES = "/v1/verdicts"  # the path that nearly all load comes by
TAKES = "verdict-takes"  # the header of an answer to a frame: how many requests the replica takes at present
TAKES_S = 1  # that it holds; without news, else, requests of other kinds that hang would keep frames out for good
TAKES_RECENT = 8  # answers, whose mean holds: by that of one replica the others, spread alike, would refuse themselves
TAKES_SCALE = 64  # times that mean is kept, for HAProxy counts in whole numbers
HEADERS_S = 10  # for a caller to have sent its headers
METHODS = "GET HEAD POST PUT DELETE OPTIONS PATCH TRACE"
ALLOWED = "DELETE, GET, HEAD, POST, PUT"  # some path takes each; which path, the replicas know
CONTROL = "!METH_GET !{ path_beg /v1/verdict /v1/observations }"  # what changes or replays something
CONTROL_S = 150  # that it may take: a replay reads the log, and then has two minutes
GUARD_S = 10.0  # for the guard to answer, and to start
NO_LOG = "no-log"  # where it would log to unless told otherwise, in its folder, and
GUARD = "g.sock"
STAND_IN = "stand-in.cfg"
# Its program, after which come where this package lies, the path of its socket, `STAND_IN`, the socket's file number.
_GUARD = "import sys; sys.path.insert(0, sys.argv[1]); from serve_app.haproxy_guard import main; main(*sys.argv[2:])"

_MARK = "# Closed up by Verdict.\n"
_BUSY = '{\\"code\\":\\"unavailable\\",\\"message\\":\\"the cluster is full\\"}'
_LARGE = '{\\"code\\":\\"too-large\\",\\"message\\":\\"the body is larger than this cluster takes\\"}'
_NO_BODY = '{\\"code\\":\\"malformed\\",\\"message\\":\\"body: expected none but with POST, PUT or DELETE\\"}'
_NO_REQUEST = '{\\"code\\":\\"malformed\\",\\"message\\":\\"expected an HTTP request\\"}'
_NO_METHOD = '{\\"code\\":\\"method-not-allowed\\",\\"message\\":\\"no such method\\"}'
_NO_PATH = '{\\"code\\":\\"not-found\\",\\"message\\":\\"no such path; /openapi.json lists them\\"}'
# HAProxy's own answers, in the one form of errors: status, code, message. For what is no HTTP (400, 422) or comes too
# slowly (408) it has one form of its own, whatever `http-error` or `errorfile` say.
OWN = {
    500: ("internal", "a defect at the door"),
    503: ("unavailable", "no replica is there: come back later"),
    504: ("expired", "no answer in time"),
}


class UnknownForm(Exception):
    """Ray's configuration does not look as expected; starting it would leave something open."""


def closed(text: str, directory: str, max_body: int, max_requests: int) -> str:
    """Ray's HAProxy configuration with nothing left open.

    Statistics and metrics move to sockets in `directory`, which only this user can enter. More requests at one time
    than `max_requests` for each replica that is up get 503 and Retry-After at once, and so do frames beyond what the
    replicas say that they take (`TAKES`, the mean of recent answers, for all alike). A body over `max_body` bytes gets
    413 unread. A caller who stalls in its headers, or in the body of what was refused, is hung up on; so that nobody
    stalls in one that is never read, there is none where the answer does not depend on it. What HAProxy says by itself
    has the form of all errors.
    """
    if _MARK in text:
        return text
    # A line that nobody reads: with it each request is put into words, and sent in vain.
    text = re.sub(rf"(?m)^\s*log \S+/{NO_LOG} local0 info\n", "", text)
    text = _replaced(r"mode 666 level admin", "mode 600 level admin", text)
    text = _replaced(r"(?m)^(\s*)bind :\d+$", rf"\1bind unix@{directory}/m.sock mode 600", text)
    text = _replaced(r"(?m)^(\s*)bind \*:\d+$(?=\n\s*stats enable)", rf"\1bind unix@{directory}/s.sock mode 600", text)
    text = re.sub(r"(?m)^\s*errorfile .*\n", "", text)
    # Without it a caller may go over to HTTP/2, where a body need not be announced.
    defaults = [f"timeout http-request {HEADERS_S}s", "option disable-h2-upgrade"]
    for status, (code, message) in OWN.items():
        said = f'content-type application/json string "{{\\"code\\":\\"{code}\\",\\"message\\":\\"{message}\\"}}"'
        defaults.append(f"http-error status {status} {said}{' hdr Retry-After 1' * (status == 503)}")
    at_top = "".join(f"\n    {line}" for line in defaults)
    text = _replaced(r"(?m)^defaults\n    mode http$", lambda found: found[0] + at_top, text)
    busy = f'content-type application/json string "{_BUSY}" hdr Retry-After 1'
    large, no_body, no_request, no_path, no_method = (
        f'content-type application/json string "{said}"'
        for said in (_LARGE, _NO_BODY, _NO_REQUEST, _NO_PATH, _NO_METHOD)
    )
    bodiless, unknown = "!{ method POST PUT DELETE }", f"!{{ method {METHODS} }}"
    rules = [
        # Not logged: each method that a caller thinks of would be further metrics, kept for good.
        f"    http-request set-log-level silent if {unknown}",
        f'    http-request return status 405 {no_method} hdr Allow "{ALLOWED}" if {unknown}',
        f"    http-request return status 413 {large} if {{ req.body_size gt {max_body} }}",
        f"    http-request return status 400 {no_body} if {{ req.body_size gt 0 }} {bodiless}",
        f"    http-request return status 400 {no_body} if {{ req.hdr(transfer-encoding) -m found }} {bodiless}",
        # What is left of Serve's own paths, such as /%2d/routes, its replicas answer without a look at the body.
        f"    http-request return status 404 {no_path} if {{ path,url_dec -m beg /-/ }}",
        # The server of a replica gives up on such a request unread, and HAProxy would wait for the rest of it.
        f"    http-response return status 400 {no_request} if {{ status 400 }} "
        "!{ res.hdr(content-type) -m beg application/json }",
        f"    http-request set-header x-request-timeout-seconds {CONTROL_S} if {CONTROL}",
    ]
    for number, backend in enumerate(dict.fromkeys(re.findall(r"(?m)^\s*use_backend (\S+) if", text))):
        waits = rf"\g<0>\n    http-request set-timeout server {CONTROL_S}s if {CONTROL}"
        text = _replaced(rf"(?m)^backend {re.escape(backend)}$", waits, text)
        takes, until = f"proc.takes{number}", f"proc.until{number}"
        fresh, says = f"{{ date,sub({until}) -m int le 0 }}", f"{{ be_name {backend} }} {{ res.hdr({TAKES}) -m found }}"
        share = TAKES_SCALE // TAKES_RECENT
        rules += [
            f"    http-request set-var(txn.most) nbsrv({backend}),mul({max_requests}) if is_{backend}",
            f"    http-request set-var(txn.told) nbsrv({backend}),mul({takes}),div({TAKES_SCALE}) "
            f"if is_{backend} {{ path {FRAMES} }} {fresh}",
            f"    http-request set-var(txn.most) var(txn.told) if is_{backend} {{ var(txn.told) -m found }} "
            "{ var(txn.told),sub(txn.most) -m int lt 0 }",
            f"    http-request return status 503 {busy} if is_{backend} "
            f"{{ nbsrv({backend}) gt 0 }} {{ be_conn({backend}),sub(txn.most) -m int ge 0 }}",
            f"    http-response set-var({takes}) res.hdr({TAKES}),mul({TAKES_SCALE}) if {says} !{fresh}",
            f"    http-response set-var(txn.kept) var({takes}),mul({TAKES_RECENT - 1}),div({TAKES_RECENT}) if {says}",
            f"    http-response set-var({takes}) res.hdr({TAKES}),mul({share}),add(txn.kept) if {says}",
            f"    http-response set-var({until}) date({TAKES_S}) if {says}",
        ]
    rules.append(f"    http-response del-header {TAKES}")
    # Kept in variables: the answer of the replica is gone when HAProxy writes its own.
    rules.append(f"    http-response set-var(txn.refused) res.fhdr({REFUSED})")
    rules.append("    http-response set-var(txn.request) res.fhdr(x-request-id)")
    for status in REFUSALS:
        rules.append(
            f"    http-response return status {status} content-type application/json "
            f'lf-string "%[var(txn.refused)]" hdr X-Request-Id "%[var(txn.request)]" '
            f"{'hdr WWW-Authenticate Bearer ' if status == 401 else 'hdr Retry-After 1 ' if status == 503 else ''}"
            f"if {{ status {status} }} {{ var(txn.refused) -m found }}"
        )
    return _MARK + _replaced(r"(?m)^    # Static routing based on path prefixes", "\n".join(rules) + r"\n\g<0>", text)


def _replaced(pattern: str, by: str | Callable[[re.Match[str]], str], text: str) -> str:
    changed, count = re.subn(pattern, by, text)
    if count != 1:
        raise UnknownForm(f"HAProxy configuration: {count} lines match {pattern!r}, expected 1; is this another Ray?")
    return changed


def guarded(text: str, real: str, folder: Path) -> str:
    """The configuration with the listening socket of the guard of this folder, which this process inherits from now on.

    Raises OSError where there can be no guard.
    """
    bound = re.search(r"(?m)(?<=^frontend http_frontend\n)(\s*bind )(?:fd@\d+ # |unix@\S+ mode 600 # )?(\S+)$", text)
    if bound is None:
        raise OSError("no line in the configuration to listen by")
    manager = os.getppid()
    about = {"pid": os.getpid(), "address": bound[2], "real": real, "text": text, "cluster": _parent(manager)}

    def listening(where: str) -> str:
        return f"{text[: bound.start()]}{bound[1]}{where} # {bound[2]}{text[bound.end() :]}"

    with _guard(folder) as line:
        line.settimeout(GUARD_S)
        about["text"] = listening("fd@0")
        try:
            line.sendall(json.dumps(about).encode())
            line.shutdown(socket.SHUT_WR)
            said, found, _, _ = socket.recv_fds(line, 16, 1)
        except TimeoutError:
            _end_guard(folder)  # its listening socket would take callers in whom nobody answers
            raise
    if not found:
        raise OSError(f"the guard of {folder} gave no socket for {bound[2]}")
    if said == b"waits":  # while another one stands in, one without routes would answer 404 in its place
        os.close(found[0])
        return listening(f"unix@{folder}/w.sock mode 600")
    os.set_inheritable(found[0], True)
    return listening(f"fd@{found[0]}")


def _guard(folder: Path) -> socket.socket:
    """A connection to the guard of this folder, which is started if there is none."""
    path = folder / GUARD
    line = socket.socket(socket.AF_UNIX)
    try:
        line.connect(str(path))
        return line
    except (FileNotFoundError, ConnectionRefusedError):
        path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        path.chmod(0o600)
        door.listen()
        line.connect(str(path))
        if (child := os.fork()) == 0:
            try:
                _become_guard(path, door)
            finally:
                os._exit(1)
        os.waitpid(child, 0)
    return line


def _end_guard(folder: Path) -> None:
    for pid in naming(folder / GUARD):
        with suppress(OSError):  # it has ended meanwhile, or is another user's
            os.kill(pid, signal.SIGKILL)


def naming(file: Path) -> list[int]:
    """The processes that have this file among their arguments."""
    return [pid for pid, words in processes() if os.fsencode(file) in words]


def processes() -> Iterator[tuple[int, list[bytes]]]:
    """The processes of this user, and the arguments of each. Another's that names our files, as `sudo less` does, could
    not be ended."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it has ended meanwhile
                if entry.stat().st_uid == os.getuid():
                    yield int(entry.name), (entry / "cmdline").read_bytes().split(b"\0")


def _become_guard(path: Path, door: socket.socket) -> None:
    """Out of reach of what ends with HAProxy's manager: its children, and its session."""
    os.setsid()
    if os.fork():
        os._exit(0)
    log = os.open(path.with_name("guard.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(log, number)
    os.set_inheritable(door.fileno(), True)
    root = str(Path(__file__).absolute().parent.parent)
    os.execv(sys.executable, [sys.executable, "-I", "-c", _GUARD, root, str(path), STAND_IN, str(door.fileno())])


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def main(arguments: list[str]) -> None:
    """Rewrite the configuration named by `-f` and become HAProxy."""
    file = Path(arguments[arguments.index("-f") + 1])
    limits = int(os.environ[MAX_BODY]), int(os.environ[MAX_REQUESTS])
    real = os.environ[REAL]
    text = closed(file.read_text(), str(file.parent), *limits)
    try:
        text = guarded(text, real, file.parent)
    except OSError as error:  # it serves as well without
        print(f"HAProxy has no guard: {error}", file=sys.stderr)
    file.write_text(text)
    os.execv(real, [real, *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
