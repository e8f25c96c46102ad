"""Traffic has the shares, the shape and the repeatability that its profile promises."""

import ast
import gzip
import itertools
import math
import os
import random
import re
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest import traffic
from loadtest.populations import BadPopulation, Dga, Zipf, benign_names, malicious_names, read_names
from loadtest.profiles import HOURLY, BadProfile, Burst, Flood, Profile, flat, rate_at
from loadtest.traffic import Query, queries
from verdicts import names

PROFILE = Profile(rate=2000, clients=300, benign=5000, malicious=200, infected=3)


@pytest.fixture(scope="module")
def minute() -> list[Query]:
    return list(queries(PROFILE, seed=7, seconds=60))


def share(found: list[Query], kind: str) -> float:
    return sum(q.kind == kind for q in found) / len(found)


def test_only_the_standard_library_is_needed() -> None:
    for name in (
        "loadtest/traffic",
        "loadtest/profiles",
        "loadtest/populations",
        "verdicts/captures",
        "verdicts/dnswire",
    ):
        tree = ast.parse((Path(traffic.__file__).parent.parent / f"{name}.py").read_text())
        modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        modules |= {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
        assert {str(m).split(".")[0] for m in modules} <= sys.stdlib_module_names | {"loadtest", "verdicts"}


def test_the_same_seed_gives_the_same_traffic(minute: list[Query]) -> None:
    assert list(itertools.islice(queries(PROFILE, 7), 2000)) == minute[:2000]


def test_the_same_seed_gives_the_same_traffic_in_every_process() -> None:
    program = (
        "import itertools, zlib; from loadtest.profiles import Profile; from loadtest.traffic import queries; "
        "print(zlib.crc32(repr(list(itertools.islice(queries(Profile(benign=500, clients=50), 7), 500))).encode()))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]


def test_another_seed_gives_other_traffic(minute: list[Query]) -> None:
    assert list(itertools.islice(queries(PROFILE, 8), 100)) != minute[:100]


def test_queries_come_in_time_order(minute: list[Query]) -> None:
    assert all(a.time <= b.time for a, b in itertools.pairwise(minute)) and minute[-1].time < 60


def test_the_rate_is_what_the_curve_says(minute: list[Query]) -> None:
    ordinary = sum(q.kind != "dga" for q in minute)
    assert ordinary / 60 == pytest.approx(rate_at(PROFILE, 30), rel=0.03)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("one-time", PROFILE.one_time_share), ("service", PROFILE.service_share), ("malicious", PROFILE.malicious_share)],
)
def test_shares_are_of_queries(minute: list[Query], kind: str, expected: float) -> None:
    assert share(minute, kind) == pytest.approx(expected, rel=0.3)


def test_one_time_names_come_once(minute: list[Query]) -> None:
    counts = Counter((q.qname, q.qtype) for q in minute if q.kind == "one-time")
    assert set(counts.values()) == {1} and len(counts) > 1000


def test_every_name_is_a_name(minute: list[Query]) -> None:
    assert all(names.normalise(q.qname) == q.qname for q in minute)


def test_types_are_as_resolvers_see_them(minute: list[Query]) -> None:
    types = Counter(q.qtype for q in minute)
    assert types["A"] > types["AAAA"] > types["HTTPS"] > types["PTR"] > types["SRV"] > 0


def test_an_address_family_pair_is_asked_at_once(minute: list[Query]) -> None:
    assert any(
        a.qname == b.qname and a.client == b.client and (a.qtype, b.qtype) == ("A", "AAAA")
        for a, b in itertools.pairwise(minute)
    )


def test_busy_clients_ask_most(minute: list[Query]) -> None:
    counts = sorted(Counter(q.client for q in minute).values(), reverse=True)
    assert sum(counts[:30]) > 0.3 * sum(counts)  # a tenth of the clients


def test_a_client_returns_to_its_favourites() -> None:
    def repeats(habit: float) -> float:
        seen: set[tuple[str, str]] = set()
        again = total = 0
        for q in queries(replace(PROFILE, habit=habit), 3, 20):
            if q.kind == "benign" and q.qtype == "A":
                again += (q.client, q.qname) in seen
                total += 1
                seen.add((q.client, q.qname))
        return again / total

    assert repeats(0.8) > repeats(0.0) + 0.15


def test_names_follow_zipf() -> None:
    zipf, rng = Zipf([str(k) for k in range(1000)], 1.0), random.Random(1)
    counts = Counter(zipf.draw(rng) for _ in range(200_000))
    total = sum(1 / k for k in range(1, 1001))
    for rank in (1, 2, 10):
        assert counts[str(rank - 1)] / 200_000 == pytest.approx(1 / rank / total, rel=0.05)


def test_the_daily_curve_has_mean_one_and_sleeps_at_four() -> None:
    assert statistics.mean(HOURLY) == pytest.approx(1) and HOURLY.index(min(HOURLY)) == 4


def test_the_curve_is_followed_through_a_short_day() -> None:
    profile = replace(PROFILE, day=24.0, start=0.0)
    hours = Counter(int(q.time) for q in queries(profile, 1, 24) if q.kind != "dga")
    assert hours[20] / hours[4] == pytest.approx((HOURLY[20] + HOURLY[21]) / (HOURLY[4] + HOURLY[5]), rel=0.1)


def test_a_burst_is_louder_and_about_one_name() -> None:
    profile = replace(flat(PROFILE), bursts=(Burst(5, 5, 4.0),))
    found = list(queries(profile, 1, 15))
    quiet, loud = [q for q in found if q.time < 5], [q for q in found if 5 <= q.time < 10]
    assert len(loud) / len(quiet) == pytest.approx(4, rel=0.1)
    assert Counter(q.qname for q in loud).most_common(1)[0][1] > 0.4 * len(loud)


@pytest.mark.parametrize("kind", ["random-subdomain", "one-client", "tunnel"])
def test_a_flood_never_repeats_a_name(kind) -> None:  # type: ignore[no-untyped-def]
    profile = replace(PROFILE, floods=(Flood(2, 3, 1000, kind),))
    flood = [q for q in queries(profile, 1, 10) if q.kind == "flood"]
    assert len(flood) == pytest.approx(3000, rel=0.1) and all(2 <= q.time < 5 for q in flood)
    assert len({q.qname for q in flood}) == len(flood)
    assert (len({q.client for q in flood}) == 1) == (kind != "random-subdomain")
    assert all(names.normalise(q.qname) for q in flood)


def test_ninety_five_of_a_hundred_dga_names_do_not_exist() -> None:
    profile = replace(PROFILE, rate=1, infected=20, dga_rate=50, dga_search=(100, 0))
    found = [q for q in queries(profile, 1, 60) if q.kind == "dga"]
    assert sum(q.exists for q in found) / len(found) == pytest.approx(0.05, abs=0.01)
    assert len({q.client for q in found}) == 20


def test_a_dga_changes_its_names_each_day() -> None:
    assert not set(Dga(1).names(0)) & set(Dga(1).names(1))


def test_infected_clients_rest() -> None:
    profile = replace(PROFILE, rate=1, infected=1, dga_rate=100, dga_search=(5, 50))
    times = [q.time for q in queries(profile, 1, 300) if q.kind == "dga"]
    assert max(b - a for a, b in itertools.pairwise(times)) > 5


def test_flat_traffic_has_the_mean_rate() -> None:
    found = [q for q in queries(flat(PROFILE), 1, 20) if q.kind != "dga"]
    assert len(found) / 20 == pytest.approx(PROFILE.rate, rel=0.03)


def test_populations_are_distinct_and_apart() -> None:
    benign, malicious = benign_names(5000, 1), malicious_names(500, 1)
    assert len(set(benign)) == 5000 and len(set(malicious)) == 500 and not set(benign) & set(malicious)


@pytest.mark.parametrize(
    "text",
    ["a.org\nb.org\n", "rank,domain\n1,a.org\n2,b.org\n", "1,a.org\n2,b.org\n", "# list\na.org\nB.org.\na.org\n"],
)
def test_populations_are_read_from_lists_of_names(text: str, tmp_path: Path) -> None:
    (tmp_path / "names").write_text(text)
    assert read_names(str(tmp_path / "names")) == ["a.org", "b.org"]


def test_an_empty_list_of_names_is_refused(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("# nothing\n")
    with pytest.raises(BadPopulation, match="expected names"):
        read_names(str(tmp_path / "names"))


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"good.org\na..b\n", "'a..b': expected a domain name"),
        (b"two words.org\n", "'two words.org': expected a domain name"),
        (f"{'x' * 64}.org\n".encode(), "expected a domain name"),
        (b"caf\xe9.org\n", "expected text"),
    ],
)
def test_a_line_that_is_no_name_is_refused_with_its_file(octets: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "names").write_bytes(octets)
    with pytest.raises(BadPopulation, match=f"names: .*{re.escape(said)}"):
        read_names(str(tmp_path / "names"))


def test_a_damaged_archive_of_names_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(b"".join(b"name-%d.org\n" % number for number in range(1000)))
    for number, octets in enumerate((packed[:-50], packed[:40] + bytes(40) + packed[80:])):
        path = tmp_path / f"names-{number}.gz"
        path.write_bytes(octets)
        with pytest.raises(BadPopulation, match="expected text"):
            read_names(str(path))


def test_a_name_in_another_script_is_asked_as_resolvers_are(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("bücher.example\n", encoding="utf-8")
    assert read_names(str(tmp_path / "names")) == ["xn--bcher-kva.example"]


@pytest.mark.parametrize("make", [lambda: Flood(0, 1, -1.0), lambda: Flood(0, 1, math.inf), lambda: Burst(0, 1, -1.0)])
def test_a_flood_or_burst_out_of_bounds_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(BadProfile, match="expected"):
        make()


def test_a_profile_asks_for_the_names_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("one.org\ntwo.org\n")
    profile = replace(PROFILE, benign_file=str(tmp_path / "names"))
    assert {q.qname for q in queries(profile, 1, 1) if q.kind == "benign"} == {"one.org", "two.org"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"habit": 1.5}, "habit 1.5"),
        ({"rate": 0}, "rate 0"),
        ({"rate": math.inf}, "rate inf"),
        ({"infected": 900}, "infected 900"),
        ({"day": -1}, "day"),
    ],
)
def test_a_profile_out_of_bounds_is_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(BadProfile, match=message):
        replace(PROFILE, **change)  # type: ignore[arg-type]
