"""A recorded cluster: verdicts taken down once, served without Ray, a model or a store, to try a resolver alone.

    python -m loadtest.recorded take  --cluster http://127.0.0.1:8053 --token-file .verdict/tokens/resolver \\
                                      --names names.txt --out verdicts.jsonl
    python -m loadtest.recorded serve --verdicts verdicts.jsonl --port 8053 --observations reported.jsonl
    python -m loadtest.recorded send  --cluster http://127.0.0.1:8053 --token-file .verdict/tokens/resolver \\
                                      --observations reported.jsonl

`take` asks a real cluster; `serve` answers frames from what was taken (a name that was not gets a benign
verdict) and writes down the observations that resolvers report; `send` gives those
to a real cluster, to try a log or a store with real batches.
"""

import argparse
import errno
import http.client
import json
import sys
import threading
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from loadtest.arguments import first_word, port, readable, url, writable
from loadtest.populations import read_names
from loadtest.processes import program
from loadtest.wirecheck import acknowledgement_problem, frame_problem

FRAME = 256  # names
BENIGN: dict[str, Any] = {
    "label": "benign", "tier": "none", "action": "passthru", "cache_ttl": 300, "source": "model",
    "score": 0.0, "generated": 0.0,
}  # fmt: skip
MAX_BODY = 16 << 20  # octets


class BadRecording(ValueError):
    """A recording that cannot be read; the message names file and line."""


class BadAnswer(ValueError):
    """What another server than a cluster answers; the message names its URL."""


class Recording:
    """Verdicts by name, with the epoch, generation and model they were taken under."""

    def __init__(self, head: dict[str, Any], verdicts: dict[str, dict[str, Any]]) -> None:
        self.head, self.verdicts = head, verdicts

    def answer(self, names: Iterable[str]) -> dict[str, Any]:
        """The reply to a frame."""
        return {**self.head, "verdicts": [self.verdicts.get(name.lower().rstrip("."), BENIGN) for name in names]}

    def save(self, path: Path) -> None:
        """One line for the head, one a name."""
        lines = [
            json.dumps(self.head),
            *(json.dumps({"name": name, **verdict}) for name, verdict in self.verdicts.items()),
        ]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Recording":
        """Read what `save` wrote; raises `BadRecording`."""
        head: dict[str, Any] = {}
        verdicts: dict[str, dict[str, Any]] = {}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
            try:
                row = json.loads(line)
                if number == 0:
                    head = {key: row[key] for key in ("epoch", "generation", "model")}
                else:
                    verdicts[row.pop("name")] = row
            except (ValueError, KeyError, AttributeError) as error:
                raise BadRecording(f"{path}:{number + 1}: {error!r}, expected what `take` writes") from error
        if not head:
            raise BadRecording(f"{path}: empty, expected what `take` writes")
        return cls(head, verdicts)


def take(cluster: str, token: str, names: Sequence[str]) -> Recording:
    """Ask a real cluster for its verdicts, frame by frame."""
    verdicts: dict[str, dict[str, Any]] = {}
    head: dict[str, Any] = {}
    for start in range(0, len(names), FRAME):
        frame = names[start : start + FRAME]
        body = _post(f"{cluster}/v1/verdicts", token, {"names": frame})
        if problem := frame_problem(200, body, len(frame)):
            raise BadAnswer(f"{cluster}: {problem}, expected the verdicts of a cluster")
        reply = json.loads(body)
        head = {key: reply.get(key, "") for key in ("epoch", "generation", "model")}
        verdicts.update(zip(frame, reply["verdicts"], strict=True))
    return Recording(head, verdicts)


class RecordedCluster(ThreadingHTTPServer):
    """Serves a recording on 127.0.0.1; `reported` gets each observation batch, as JSON octets."""

    daemon_threads = True

    def __init__(self, recording: Recording, port: int, observations: Path | None = None) -> None:
        self.recording, self.observations, self.lock = recording, observations, threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A resolver that hangs up, as at its end, is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def keep(self, batch: bytes) -> None:
        """Write a reported batch down."""
        if self.observations is not None:
            with self.lock, self.observations.open("ab") as file:
                file.write(json.dumps(json.loads(batch)).encode() + b"\n")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: the second must not wait for an ACK
    server: RecordedCluster

    def do_GET(self) -> None:
        known = self.path in ("/healthz", "/readyz")
        self._reply(200 if known else 404, {"status": "ok"} if known else {"code": "not-found", "message": self.path})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        if length > MAX_BODY:
            self._reply(413, {"code": "too-large", "message": f"{length} octets"})
            return
        body, recording = self.rfile.read(length), self.server.recording
        try:
            if self.path == "/v1/verdicts":
                self._reply(200, {**recording.answer(json.loads(body)["names"]), "asked": zlib.crc32(body)})
            elif self.path == "/v1/verdict":
                qname = json.loads(body)["qname"]
                self._reply(200, {**recording.head, "qname": qname, **recording.answer([qname])["verdicts"][0]})
            elif self.path == "/v1/observations":
                self.server.keep(body)
                self._reply(200, {"epoch": recording.head["epoch"], "generation": recording.head["generation"]})
            else:
                self._reply(404, {"code": "not-found", "message": self.path})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._reply(400, {"code": "malformed", "message": repr(error)})

    def _reply(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:  # one line a request helps nobody
        pass


def send(cluster: str, token: str, batches: Iterable[Any]) -> int:
    """Report recorded batches to a real cluster; how many it acknowledged."""
    count = 0
    for batch in batches:
        if problem := acknowledgement_problem(_post(f"{cluster}/v1/observations", token, batch)):
            raise BadAnswer(f"{cluster}: {problem}, expected the acknowledgement of a cluster")
        count += 1
    return count


def written_down(path: Path) -> Iterator[Any]:
    """The batches that `serve` wrote, one a line; raises `BadRecording`."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise BadRecording(f"{path}:{number}: {error}, expected what `serve` writes") from error


def _post(url: str, token: str, document: Any) -> bytes:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}", "Verdict-Budget-Ms": "10000"}
    request = urllib.request.Request(url, json.dumps(document).encode(), headers)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            body: bytes = answer.read()
    except http.client.HTTPException as error:
        raise BadAnswer(f"{url}: {error!r}, expected HTTP") from error
    return body


def main(arguments: Sequence[str] | None = None) -> int:
    """Take, serve or send."""
    options = _parser().parse_args(arguments)
    try:
        if options.what == "serve":
            recording = Recording.load(options.verdicts)
            with RecordedCluster(recording, options.port, options.observations) as server:
                print(f"http://127.0.0.1:{server.server_address[1]}: {len(recording.verdicts)} verdicts", flush=True)
                with suppress(KeyboardInterrupt):
                    server.serve_forever()
            return 0
        token = first_word(options.token_file)
        if options.what == "take":
            taken = take(options.cluster, token, read_names(str(options.names)))
            taken.save(options.out)
            print(f"{options.out}: {len(taken.verdicts)} verdicts of {taken.head['model']}")
        else:
            print(f"{send(options.cluster, token, written_down(options.observations))} batches acknowledged")
    except urllib.error.HTTPError as error:
        print(f"{error.url}: {error} {error.read().decode(errors='replace')}", file=sys.stderr)
        return 1
    except urllib.error.URLError as error:
        print(f"{options.cluster}: no cluster answers there ({error.reason})", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        where = f"--port {options.port}: " if getattr(error, "errno", 0) == errno.EADDRINUSE else ""
        print(f"{where}{error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.recorded", description=__doc__.split("\n")[0])
    doing = parser.add_subparsers(dest="what", required=True)
    for name in ("take", "serve", "send"):
        part = doing.add_parser(name)
        if name == "serve":
            part.add_argument("--verdicts", type=readable, required=True, help="what `take` wrote")
            part.add_argument("--port", type=port, default=8053, help="(%(default)s)")
            part.add_argument("--observations", type=Path, help="where reported batches go, a line each")
            continue
        part.add_argument("--cluster", type=url, default="http://127.0.0.1:8053", help="(%(default)s)")
        part.add_argument("--token-file", type=readable, required=True, help="of a resolver")
        if name == "take":
            part.add_argument("--names", type=readable, required=True, help="one a line, or a CSV")
            part.add_argument("--out", type=writable, required=True)
        else:
            part.add_argument("--observations", type=readable, required=True, help="what `serve` wrote down")
    return parser


if __name__ == "__main__":
    program(main)
