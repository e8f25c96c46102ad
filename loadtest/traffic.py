"""Traffic as a resolver sees it, defined once for every driver: who asks for what, when.

`queries(profile, seed, seconds)` yields `Query` in time order, the same for the same seed: an open-loop Poisson
process under a daily curve, with bursts; clients have habits (a few favourite names, two address families or one);
a share of the names is asked for once only; infected clients run through a DGA that mostly fails; floods come on
top. `replay` yields the same kind of `Query` from a dnstap file or a capture.

Standard library only. Times are seconds from the start, rates queries a second, shares 0 to 1.
"""

import bisect
import heapq
import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from loadtest.populations import (
    Dga,
    Zipf,
    benign_names,
    malicious_names,
    one_time_name,
    read_names,
    tunnel_name,
)
from loadtest.profiles import HOURLY, Flood, Profile, rate_at
from verdicts.captures import read_queries

Kind = Literal["benign", "malicious", "one-time", "service", "dga", "flood", "replay"]

FAVOURITES = 40  # names a client returns to
DUAL_STACK_GAP = 0.002  # seconds between the questions of one connection attempt


class Query(NamedTuple):
    """One question. `exists` says whether an honest upstream has the name; `kind` says why it is asked."""

    time: float
    client: str
    qname: str
    qtype: str
    kind: Kind
    exists: bool = True


@dataclass
class _Client:
    address: str
    favourites: list[str]
    qtypes: tuple[str, ...]


@dataclass(frozen=True)
class World:
    """The names and clients of one profile and seed; drivers use it to load lists and to answer as upstream."""

    profile: Profile
    seed: int
    benign: Zipf
    malicious: Zipf
    dga: Dga
    clients: list[_Client] = field(repr=False)
    activity: list[float] = field(repr=False)  # cumulative weights of the clients

    def client(self, rng: random.Random) -> _Client:
        """A client, the busy ones more often."""
        return self.clients[bisect.bisect(self.activity, rng.random() * self.activity[-1])]


def world(profile: Profile, seed: int) -> World:
    """Make the populations and the clients."""
    rng = random.Random(f"world {seed}")
    benign = Zipf(
        read_names(profile.benign_file) if profile.benign_file else benign_names(profile.benign, seed), profile.exponent
    )
    malicious = Zipf(
        read_names(profile.malicious_file) if profile.malicious_file else malicious_names(profile.malicious, seed),
        profile.exponent,
    )
    clients = [_make_client(i, profile, benign, rng) for i in range(profile.clients)]
    weights = [rng.lognormvariate(0, 1.2) for _ in clients]  # a few clients ask most
    return World(profile, seed, benign, malicious, Dga(seed), clients, list(itertools.accumulate(weights)))


def queries(profile: Profile, seed: int = 0, seconds: float = math.inf, made: World | None = None) -> Iterator[Query]:
    """The queries of the first `seconds`, in time order."""
    made = made or world(profile, seed)
    streams = [_ordinary(made, seconds)]
    streams += [_search(made, made.clients[i], i, seconds) for i in range(profile.infected)]
    streams += [_flood(made, flood, number, seconds) for number, flood in enumerate(profile.floods)]
    return heapq.merge(*streams, key=lambda query: query.time)


def replay(path: str, speed: float = 1.0) -> Iterator[Query]:
    """The queries of a dnstap file (frame streams) or a capture (pcap, pcapng), `speed` times as fast.

    One that was recorded without a time, or before the query ahead of it, is asked at once. Raises
    `verdicts.captures.BadCapture` for anything else.
    """
    first: float | None = None
    at = 0.0
    for time, client, qname, qtype in read_queries(Path(path)):
        if time > 0:
            first = time if first is None else first
            at = max(at, (time - first) / speed)
        yield Query(at, client, qname, qtype, "replay")


def _make_client(number: int, profile: Profile, benign: Zipf, rng: random.Random) -> _Client:
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    qtypes = (
        "A",
        *(("AAAA",) if rng.random() < profile.dual_stack else ()),
        *(("HTTPS",) if rng.random() < profile.https else ()),
    )
    return _Client(address, [benign.draw(rng) for _ in range(FAVOURITES)], qtypes)


def _ordinary(made: World, seconds: float) -> Iterator[Query]:
    """People and machines going about their day. One event of a client makes one to three questions."""
    profile, rng = made.profile, random.Random(f"ordinary {made.seed}")
    per_event = sum(len(client.qtypes) * weight for client, weight in _weighted(made))
    services, events = profile.service_share, (1 - profile.service_share) / per_event  # of each query
    highest = profile.rate * max(HOURLY) * math.prod(max(1.0, burst.factor) for burst in profile.bursts)
    time = 0.0
    waiting: list[Query] = []
    while True:
        time += rng.expovariate(highest * (services + events))
        while waiting and waiting[0].time <= time:
            yield heapq.heappop(waiting)
        if time >= seconds:
            return
        if rng.random() * highest < rate_at(profile, time):  # thinning makes the process follow the curve
            service = rng.random() * (services + events) < services
            for query in [_service(made, time, rng)] if service else _event(made, time, rng):
                heapq.heappush(waiting, query)


def _weighted(made: World) -> Iterator[tuple[_Client, float]]:
    before = 0.0
    for client, upto in zip(made.clients, made.activity, strict=True):
        yield client, (upto - before) / made.activity[-1]
        before = upto


def _event(made: World, time: float, rng: random.Random) -> list[Query]:
    profile, client, chance = made.profile, made.client(rng), rng.random() * (1 - made.profile.service_share)
    kind: Kind = "benign"
    if chance < profile.malicious_share:
        qname, kind = made.malicious.draw(rng), "malicious"
    elif chance < profile.malicious_share + profile.one_time_share:
        qname, kind = one_time_name(rng, made.benign.names[:50]), "one-time"
    elif _in_event(profile, time) and rng.random() < 0.5:
        qname = made.benign.names[0]
    else:
        qname = rng.choice(client.favourites) if rng.random() < profile.habit else made.benign.draw(rng)
    return [Query(time + i * DUAL_STACK_GAP, client.address, qname, t, kind) for i, t in enumerate(client.qtypes)]


def _in_event(profile: Profile, time: float) -> bool:
    return any(burst.start <= time < burst.start + burst.seconds for burst in profile.bursts)


def _service(made: World, time: float, rng: random.Random) -> Query:
    client, domain = made.client(rng), made.benign.draw(rng)
    match rng.randrange(10):
        case 0 | 1 | 2 | 3 | 4:
            octets = client.address.split(".")[:3] + [str(rng.randrange(256))]
            return Query(time, client.address, ".".join(reversed(octets)) + ".in-addr.arpa", "PTR", "service")
        case 5 | 6:
            return Query(time, client.address, f"_ldap._tcp.{domain}", "SRV", "service", exists=False)
        case 7:
            return Query(time, client.address, f"_dmarc.{domain}", "TXT", "service")
        case 8:
            return Query(time, client.address, domain, "MX", "service")
        case _:
            return Query(time, client.address, domain, "TXT", "service")


def _search(made: World, client: _Client, number: int, seconds: float) -> Iterator[Query]:
    """An infected client walks the day's names in its own order, rests, and starts again where it was."""
    profile, rng = made.profile, random.Random(f"infected {made.seed} {number}")
    on, off = profile.dga_search
    time = rng.uniform(0, off)
    while time < seconds:
        until = time + on
        while time < min(until, seconds):
            day = int(profile.start + time / profile.day)
            qname = rng.choice(made.dga.names(day))
            yield Query(time, client.address, qname, "A", "dga", qname in made.dga.existing(day))
            time += rng.expovariate(profile.dga_rate)
        time = until + rng.expovariate(1 / off) if off else until


def _flood(made: World, flood: Flood, number: int, seconds: float) -> Iterator[Query]:
    rng = random.Random(f"flood {made.seed} {number}")
    zone, attacker = f"{flood.kind}{number}-victim.net", made.clients[-1]
    time = flood.start + rng.expovariate(flood.rate)
    while time < min(flood.start + flood.seconds, seconds):
        address = rng.choice(made.clients).address if flood.kind == "random-subdomain" else attacker.address
        if flood.kind == "tunnel":
            yield Query(time, address, tunnel_name(rng, zone), "TXT", "flood")
        else:
            yield Query(time, address, one_time_name(rng, [zone]), "A", "flood", exists=False)
        time += rng.expovariate(flood.rate)
