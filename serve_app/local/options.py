"""What `verdict up` can be told, and where it keeps things."""

import hashlib
from pathlib import Path
from typing import Literal, NamedTuple

LOOPBACK = "127.0.0.1"
Part = Literal["cluster", "coredns", "dashboard"]
PARTS: tuple[Part, ...] = ("cluster", "coredns", "dashboard")


class Options(NamedTuple):
    """The options of `verdict up`, checked by the command line."""

    home: Path
    dns_port: int = 1053
    http_port: int = 8053
    dashboard_port: int = 8054
    upstream: str = "auto"  # auto: a nameserver of this machine that answers; none: the built-in zone; else its address
    mode: str = "enforce"
    parts: tuple[Part, ...] = PARTS
    metrics_port: int = 0  # 0: no metrics


class Home(NamedTuple):
    """The state of one installation, in one folder that only its user can read."""

    path: Path

    @property
    def mark(self) -> str:
        """Names this home in the environment of every process started for it; those of a part are below it."""
        return hashlib.sha256(bytes(self.path)).hexdigest()[:16]

    def mark_of(self, part: Part) -> str:
        return f"{self.mark}/{part}"

    @property
    def store(self) -> Path:
        return self.path / "verdict.db"

    @property
    def store_url(self) -> str:
        return f"sqlite:///{self.store}"

    @property
    def spool(self) -> Path:
        return self.path / "spool"

    @property
    def models(self) -> Path:
        return self.path / "models"

    @property
    def logs(self) -> Path:
        return self.path / "log"

    @property
    def corefile(self) -> Path:
        return self.path / "Corefile"

    @property
    def resolver_token(self) -> Path:
        return self.path / "tokens" / "resolver"

    @property
    def admin_token(self) -> Path:
        """Of the commands, and of whoever reads it; it names nobody. The dashboard's says whom it acts for."""
        return self.path / "tokens" / "admin"

    @property
    def dashboard_token(self) -> Path:
        return self.path / "tokens" / "dashboard"

    @property
    def password(self) -> Path:
        return self.path / "dashboard.password"

    def lock(self, what: str) -> Path:
        """Held by whoever runs this part, or prepares the home."""
        return self.path / f"lock.{what}"

    def run_record(self, part: Part) -> Path:
        """Names the short-lived folder of sockets, so that the next start of the part can remove it."""
        return self.path / f"run.{part}"

    def log(self, part: str) -> Path:
        return self.logs / f"{part}.log"
