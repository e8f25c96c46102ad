"""A DNS load against a resolver on this machine, with every query accounted for.

    python -m loadtest.dns_load --server 127.0.0.1:1053 --rate 500 --seconds 30
    python -m loadtest.dns_load --replay queries.dnstap --speed 10
    python -m loadtest.dns_load --write queries.txt --count 100000      (for dnsperf -d queries.txt)

Ends with 1 when more than `--max-failed` of the queries failed, or when this program was too slow to send what it was
told to.
"""

import argparse
import itertools
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from loadtest.arguments import count, not_negative, positive, share
from loadtest.driver import Driver, NotLoopback, Tally, server_address
from loadtest.judging import Expectation
from loadtest.populations import BadPopulation, read_names
from loadtest.processes import program
from loadtest.profiles import BadProfile, Flood, Profile, flat
from loadtest.traffic import Query, queries, replay
from verdicts.captures import BadCapture
from verdicts.dnswire import BadMessage, qtype_number

LATE_S, LATE_SHARE = 1.0, 0.05  # the last query, of the time it took to send all


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says; the exit status tells whether it held."""
    options = _parser().parse_args(arguments)
    try:
        if options.write:
            written = write_queries(options.write, itertools.islice(traffic(options), options.count))
            print(f"{options.write}: {written} queries")
            return 0
        listed = frozenset(read_names(options.listed)) if options.listed else frozenset()
        expected = Expectation(listed, options.enforcing)
        driver = Driver(server_address(options.server, options.remote), expected, options.timeout)
        damage: list[BadCapture] = []
        try:
            driver.run(until_damaged(traffic(options), damage), options.seconds)
        except KeyboardInterrupt:
            pass  # what was sent until then is reported
    except (NotLoopback, BadPopulation, BadProfile, BadCapture, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    tally = driver.tally
    print(json.dumps(tally.summary(), indent=1))
    found = broken(tally, options)
    head = f"{tally.failed} of {tally.sent} failed, at most {options.max_failed:.2%} allowed"
    print(f"BROKEN: {'; '.join(found)} [{head}]" if found else f"HELD: {head}")
    for cut in damage:
        print(f"{cut}; what stood before that was sent", file=sys.stderr)
    return 2 if damage else 1 if found else 0


def until_damaged(found: Iterator[Query], damage: list[BadCapture]) -> Iterator[Query]:
    """The queries of a recording up to where it is damaged; that goes to `damage`."""
    try:
        yield from found
    except BadCapture as error:
        damage.append(error)


def broken(tally: Tally, options: argparse.Namespace) -> list[str]:
    """Why the run did not hold; empty when it did."""
    if not tally.sent:
        nothing = f"{options.replay} holds no client query (to port 53) within {options.seconds:g} s"
        return [nothing if options.replay else "nothing was sent"]
    said = []
    if tally.failed > options.max_failed * tally.sent:
        said.append(f"{tally.failed / tally.sent:.2%} failed")
    if tally.late > max(LATE_S, LATE_SHARE * tally.seconds):
        said.append(
            f"this program is too slow for that load: it sent {tally.sent / tally.seconds:.0f} queries/s, and was "
            f"{tally.late:.1f} s late at the end"
        )
    return said


def traffic(options: argparse.Namespace) -> Iterator[Query]:
    """The queries that the options ask for."""
    if options.replay:
        return replay(options.replay, options.speed)
    floods = (Flood(options.flood_start, math.inf, options.flood),) if options.flood else ()
    profile = Profile(
        rate=options.rate,
        clients=options.clients,
        benign=options.names,
        infected=min(options.infected, options.clients),
        one_time_share=options.one_time,
        benign_file=options.benign,
        malicious_file=options.malicious,
    )
    seconds = math.inf if options.write else options.seconds
    return queries(replace(flat(profile), floods=floods), options.seed, seconds)


def write_queries(path: str, found: Iterable[Query]) -> int:
    """Write `NAME TYPE` lines as dnsperf reads them; names that need escapes are left out. Returns how many."""
    count = 0
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("w", encoding="ascii") as file:
        for query in found:
            if "\\" in query.qname or _unknown_to_dnsperf(query.qtype):
                continue
            file.write(f"{query.qname} {query.qtype}\n")
            count += 1
    return count


def _unknown_to_dnsperf(qtype: str) -> bool:
    try:
        return qtype_number(qtype) > 65535
    except BadMessage:
        return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.dns_load", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--server", default="127.0.0.1:1053", help="ADDRESS:PORT (%(default)s)")
    add("--remote", action="store_true", help="allow a server that is not this machine")
    add("--rate", type=positive, default=500.0, help="queries a second (%(default)s)")
    add("--seconds", type=positive, default=30.0, help="(%(default)s)")
    add("--timeout", type=positive, default=2.0, help="seconds to wait for a reply (%(default)s)")
    add("--seed", type=int, default=0, help="(%(default)s)")
    add("--clients", type=count, default=200, help="(%(default)s)")
    add("--names", type=count, default=20_000, help="benign names in the made population (%(default)s)")
    add("--benign", default="", metavar="FILE", help="benign names to use instead, most popular first")
    add("--malicious", default="", metavar="FILE", help="malicious names to use instead")
    add("--one-time", type=share, default=0.05, help="share of names asked once (%(default)s)")
    add("--infected", type=int, default=2, help="clients that run a DGA (%(default)s)")
    add("--flood", type=not_negative, default=0.0, help="queries a second of random names below one zone, on top")
    add("--flood-start", type=not_negative, default=0.0, help="seconds")
    add("--replay", default="", metavar="FILE", help="dnstap, pcap or pcapng instead of made traffic")
    add("--speed", type=positive, default=1.0, help="of a replay (%(default)s)")
    add("--listed", default="", metavar="FILE", help="names on the resolver's blocklist: these must be blocked")
    add("--enforcing", action="store_true", help="the resolver enforces: blocks are expected where they belong")
    add("--max-failed", type=share, default=0.0, help="share of failed queries that is still a pass (%(default)s)")
    add("--write", default="", metavar="FILE", help="write the queries for dnsperf instead of sending them")
    add("--count", type=count, default=100_000, help="queries to write (%(default)s)")
    return parser


if __name__ == "__main__":
    program(main)
