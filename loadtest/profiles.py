"""How much traffic of which kind: one typed, checked description. Standard library only."""

import math
from dataclasses import dataclass, replace
from typing import Literal

# Factor of the mean rate at each full hour of a day, at 4 the least, in the evening the most; the mean is 1.
HOURLY = (
    0.72, 0.55, 0.45, 0.40, 0.38, 0.43, 0.58, 0.80, 1.00, 1.10, 1.15, 1.18,
    1.20, 1.20, 1.18, 1.18, 1.22, 1.30, 1.38, 1.42, 1.45, 1.38, 1.24, 1.11,
)  # fmt: skip


class BadProfile(ValueError):
    """A profile out of bounds; the message names the field and what was expected."""


@dataclass(frozen=True)
class Burst:
    """From `start` for `seconds` the rate is `factor` times as high; a share of 1/2 asks for one name (an event)."""

    start: float
    seconds: float
    factor: float

    def __post_init__(self) -> None:
        if not 0 <= self.factor < math.inf:
            raise BadProfile(f"burst factor {self.factor}: expected 0 or more")


@dataclass(frozen=True)
class Flood:
    """From `start` for `seconds`, `rate` queries a second on top, no name twice.

    `random-subdomain`: random labels below one zone, from many clients. `one-client`: the same from one.
    `tunnel`: data in long labels, asked as TXT by one client.
    """

    start: float
    seconds: float
    rate: float
    kind: Literal["random-subdomain", "one-client", "tunnel"] = "random-subdomain"

    def __post_init__(self) -> None:
        if not 0 < self.rate < math.inf:
            raise BadProfile(f"flood rate {self.rate}: expected more than 0 queries a second")


@dataclass(frozen=True)
class Profile:
    """How much of what. The defaults follow published shares: see docs/benchmarks.md."""

    rate: float = 1000.0  # mean, before bursts and floods
    clients: int = 500
    benign: int = 50_000  # names in the population made
    malicious: int = 2_000
    benign_file: str = ""  # names to use instead of made ones
    malicious_file: str = ""
    exponent: float = 1.0
    malicious_share: float = 0.00118  # of a resolver's queries (an operator's figure, 200 M of 170 G a day)
    one_time_share: float = 0.05
    service_share: float = 0.04  # PTR, SRV, TXT, MX
    habit: float = 0.6  # share of a client's questions that go to its favourites
    dual_stack: float = 0.7  # share of clients that ask AAAA beside A
    https: float = 0.5  # share of clients that ask HTTPS too
    infected: int = 2  # clients
    dga_rate: float = 1.0  # queries a second of one infected client while it searches
    dga_search: tuple[float, float] = (100.0, 500.0)  # seconds it searches, seconds it rests
    day: float = 86_400.0  # seconds a day lasts; less in a short test
    start: float = 0.5  # the time of day at which it begins, 0 to 1
    bursts: tuple[Burst, ...] = ()
    floods: tuple[Flood, ...] = ()

    def __post_init__(self) -> None:
        shares = ("malicious_share", "one_time_share", "service_share", "habit", "dual_stack", "https", "start")
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise BadProfile(f"{name} {getattr(self, name)}: expected 0 to 1")
        if self.malicious_share + self.one_time_share + self.service_share > 1:
            raise BadProfile("malicious_share + one_time_share + service_share: expected at most 1")
        for name in ("rate", "clients", "benign", "malicious", "exponent", "day", "dga_rate"):
            value = getattr(self, name)
            if not 0 < value or (value == math.inf and name != "day"):
                raise BadProfile(f"{name} {value}: expected more than 0")
        if not 0 <= self.infected <= self.clients <= 2**24:
            raise BadProfile(
                f"infected {self.infected}, clients {self.clients}: expected 0 <= infected <= clients <= 2**24"
            )


def rate_at(profile: Profile, time: float) -> float:
    """The intended rate of ordinary queries at a time: daily curve and bursts."""
    hours = (profile.start + time / profile.day) % 1 * 24
    before, after = HOURLY[int(hours)], HOURLY[(int(hours) + 1) % 24]
    rate = profile.rate * (before + (after - before) * (hours - int(hours)))
    for burst in profile.bursts:
        if burst.start <= time < burst.start + burst.seconds:
            rate *= burst.factor
    return rate


def flat(profile: Profile) -> Profile:
    """The profile without daily curve, bursts and floods' timing: what a comparison of two systems wants."""
    return replace(profile, day=math.inf, start=0.0, rate=profile.rate / HOURLY[0], bursts=(), floods=())
