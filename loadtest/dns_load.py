"""A DNS load against a resolver on this machine, with every query accounted for.

    python -m loadtest.dns_load --server 127.0.0.1:1053 --rate 500 --seconds 30
    python -m loadtest.dns_load --replay queries.dnstap --speed 10
    python -m loadtest.dns_load --write queries.txt --count 100000      (for dnsperf -d queries.txt)

Ends with 1 when more than `--max-failed` of the queries failed.
"""

import argparse
import itertools
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from loadtest.driver import Driver, NotLoopback, server_address
from loadtest.judging import Expectation
from loadtest.populations import BadPopulation, read_names
from loadtest.profiles import BadProfile, Flood, Profile, flat
from loadtest.traffic import Query, queries, replay
from verdicts.captures import BadCapture
from verdicts.dnswire import BadMessage, qtype_number


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
        try:
            tally = driver.run(traffic(options), options.seconds)
        except KeyboardInterrupt:
            tally = driver.tally
    except (NotLoopback, BadPopulation, BadProfile, BadCapture, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(tally.summary(), indent=1))
    share = tally.failed / max(1, tally.sent)
    held = tally.sent > 0 and share <= options.max_failed
    outcome = "HELD" if held else "BROKEN"
    print(f"{outcome}: {tally.failed} of {tally.sent} failed, at most {options.max_failed:.2%} allowed")
    return 0 if held else 1


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
    add("--rate", type=float, default=500.0, help="queries a second (%(default)s)")
    add("--seconds", type=float, default=30.0, help="(%(default)s)")
    add("--timeout", type=float, default=2.0, help="seconds to wait for a reply (%(default)s)")
    add("--seed", type=int, default=0, help="(%(default)s)")
    add("--clients", type=int, default=200, help="(%(default)s)")
    add("--names", type=int, default=20_000, help="benign names in the made population (%(default)s)")
    add("--benign", default="", metavar="FILE", help="benign names to use instead, most popular first")
    add("--malicious", default="", metavar="FILE", help="malicious names to use instead")
    add("--one-time", type=float, default=0.05, help="share of names asked once (%(default)s)")
    add("--infected", type=int, default=2, help="clients that run a DGA (%(default)s)")
    add("--flood", type=float, default=0.0, help="queries a second of random names below one zone, on top")
    add("--flood-start", type=float, default=0.0, help="seconds")
    add("--replay", default="", metavar="FILE", help="dnstap, pcap or pcapng instead of made traffic")
    add("--speed", type=float, default=1.0, help="of a replay (%(default)s)")
    add("--listed", default="", metavar="FILE", help="names on the resolver's blocklist: these must be blocked")
    add("--enforcing", action="store_true", help="the resolver enforces: blocks are expected where they belong")
    add("--max-failed", type=float, default=0.0, help="share of failed queries that is still a pass (%(default)s)")
    add("--write", default="", metavar="FILE", help="write the queries for dnsperf instead of sending them")
    add("--count", type=int, default=100_000, help="queries to write (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
