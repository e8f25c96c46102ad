"""Locust users for the wire, for DNS and for the dashboard, with limits that end the run with a verdict.

    locust -f loadtest/locustfile.py Frames --host http://127.0.0.1:8000 --token-file FILE --headless -u 8 -t 1m
    locust -f loadtest/locustfile.py Resolver --dns 127.0.0.1:1053 --headless -u 50 -t 1m --html report.html
    locust -f loadtest/locustfile.py,loadtest/shapes/steps.py Frames --host http://127.0.0.1:8000 --headless

Without `--headless` it serves a web page on port 8089. User classes: Frames (the plugin's way), Single (the 2020
client's way), Resolver (DNS), Analyst (dashboard). The exit status is 1 when a limit was broken. Over several
processes or machines: the same command with `--master --expect-workers N` once and with `--worker --master-host
ADDRESS` N times; each worker makes queries of its own from the same names.
"""

import itertools
import random
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, User, constant, constant_pacing, events, task
from locust.exception import StopUser
from locust.runners import WorkerRunner

from loadtest import panel_session
from loadtest.driver import server_address, source_address
from loadtest.judging import Expectation, problem
from loadtest.populations import read_names
from loadtest.profiles import Profile, flat
from loadtest.thresholds import Figures, Limits, broken, verdict
from loadtest.traffic import Query, queries, world
from loadtest.wirecheck import frame_problem, single_problem
from verdicts import dnswire

DNS_TIMEOUT_S = 2.0
WORKER_SEEDS = 1_000_003  # between the seeds of two workers
WATCH_S = 0.5
GRACE_S = 5  # before limits are judged: the first requests compile and connect


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _options(parser: Any) -> None:
    group = parser.add_argument_group("Verdict")
    group.add_argument("--token-file", default="", env_var="VERDICT_TOKEN_FILE", help="resolver's token for the wire")
    group.add_argument("--dns", default="127.0.0.1:1053", env_var="VERDICT_DNS", help="ADDRESS:PORT of the resolver")
    group.add_argument("--frame", type=int, default=256, help="names a frame")
    group.add_argument("--budget-ms", type=int, default=1000, help="how long a frame may take")
    group.add_argument("--pace", type=float, default=0.0, help="seconds between the starts of a user's requests")
    group.add_argument("--names", type=int, default=20_000, help="benign names in the population")
    group.add_argument("--benign", default="", help="file of benign names to use instead of made ones")
    group.add_argument("--malicious", default="", help="file of malicious names to use instead of made ones")
    group.add_argument("--seed", type=int, default=0, help="of the traffic")
    group.add_argument("--listed", default="", help="file of names on the blocklist: these must be blocked")
    group.add_argument("--enforcing", action="store_true", help="the resolver enforces")
    group.add_argument("--page", default="/", help="page of the dashboard to open")
    group.add_argument(
        "--dashboard-password-file",
        default="",
        env_var="VERDICT_DASHBOARD_PASSWORD_FILE",
        help="its first word logs in",
    )
    group.add_argument("--max-failed", type=float, default=0.01, help="share of failed requests that ends the run")
    group.add_argument("--max-p99-ms", type=float, default=1000.0, help="99th percentile that ends the run")
    group.add_argument("--shape-users", type=int, default=0, help="most users of a shape, instead of its own number")
    group.add_argument("--shape-seconds", type=float, default=0, help="how long a shape lasts, instead of its own time")
    group.add_argument("--remote", action="store_true", help="the resolver is elsewhere, and its owner agrees")
    group.add_argument("--max-requests", type=int, default=0, help="end the run when so many were made (0: never)")
    group.add_argument("--min-rps", type=float, default=0.0, help="requests a second the run must reach")


@events.init.add_listener  # type: ignore[untyped-decorator]
def _prepare(environment: Any, **_: Any) -> None:
    """Make the traffic once for all users, and watch the limits."""
    options = environment.parsed_options
    files = {"benign_file": options.benign, "malicious_file": options.malicious}
    profile = flat(Profile(rate=1000, benign=options.names, clients=500, **files))
    environment.world = world(profile, options.seed)
    environment.traffic = queries(profile, options.seed, made=environment.world)
    listed = frozenset(read_names(options.listed)) if options.listed else frozenset()
    environment.expected = Expectation(listed, options.enforcing)


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def _watch(environment: Any, **_: Any) -> None:
    if isinstance(environment.runner, WorkerRunner):  # the same names, but no worker's one-time names are another's
        made, number = environment.world, environment.runner.worker_index + 1
        environment.traffic = queries(made.profile, made=replace(made, seed=made.seed + WORKER_SEEDS * number))
    else:
        gevent.spawn(_watch_limits, environment)


def _watch_limits(environment: Any) -> None:
    """End the run when a limit is broken or enough was asked; the first seconds are not judged, nor counted."""
    options, judged_from = environment.parsed_options, time.monotonic() + GRACE_S
    while environment.runner.state in ("ready", "running", "spawning"):
        gevent.sleep(WATCH_S)
        if 0 < options.max_requests <= environment.stats.total.num_requests:
            environment.runner.quit()
            return
        if time.monotonic() < judged_from:
            continue
        if judged_from and not _brief(options):
            environment.stats.reset_all()
        judged_from = 0.0
        if broken(_limits(environment), _figures(environment)):
            environment.runner.quit()
            return


def _brief(options: Any) -> bool:
    """Whether the run is so short that its first seconds are much of it."""
    seconds = float(options.shape_seconds or options.run_time or 0)
    return 0 < seconds < 4 * GRACE_S or options.max_requests > 0


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def _conclude(environment: Any, **_: Any) -> None:
    if isinstance(environment.runner, WorkerRunner):
        return
    line = verdict(_limits(environment), _figures(environment))
    print(line, flush=True)
    environment.process_exit_code = 1 if line.startswith("BROKEN") else 0


def _limits(environment: Any) -> Limits:
    options = environment.parsed_options
    return Limits(options.max_failed, options.max_p99_ms, options.min_rps)


def _figures(environment: Any) -> Figures:
    total = environment.stats.total
    errors = sorted(environment.stats.errors.values(), key=lambda e: -e.occurrences)[:3]
    words = tuple(f"{error.occurrences}x {str(error.error)[:80]}" for error in errors)
    p99 = float(total.get_response_time_percentile(0.99) or 0)
    return Figures(total.num_requests, total.num_failures, p99, total.total_rps, words)


def _names(traffic: Iterator[Query], count: int) -> list[str]:
    """Distinct names, as a plugin's frame holds them."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[next(traffic).qname] = None
    return list(found)


class _Wire(FastHttpUser):  # type: ignore[misc]
    abstract = True

    def on_start(self) -> None:
        options = self.environment.parsed_options
        self.wait_time = (lambda: 0.0) if options.pace == 0 else constant_pacing(options.pace).__get__(self)
        self.fixed = {"Verdict-Budget-Ms": str(options.budget_ms)}
        if options.token_file:
            self.fixed["Authorization"] = "Bearer " + Path(options.token_file).read_text().split()[0]


class Frames(_Wire):
    """Asks for whole frames, as the plugin does."""

    @task  # type: ignore[untyped-decorator]
    def frame(self) -> None:
        names = _names(self.environment.traffic, self.environment.parsed_options.frame)
        name = f"/v1/verdicts ({len(names)} names)"
        with self.client.post(
            "/v1/verdicts", json={"names": names}, headers=self.fixed, name=name, catch_response=True
        ) as answer:
            found = frame_problem(answer.status_code, answer.content or b"", len(names))
            answer.failure(found) if found else answer.success()


class Single(_Wire):
    """Asks for one name at a time, as a person or the 2020 client does."""

    @task  # type: ignore[untyped-decorator]
    def one(self) -> None:
        query = next(self.environment.traffic)
        body = {"qname": query.qname, "client": query.client}
        with self.client.post("/v1/verdict", json=body, headers=self.fixed, catch_response=True) as answer:
            found = single_problem(answer.status_code, answer.content or b"")
            answer.failure(found) if found else answer.success()


class Resolver(User):  # type: ignore[misc]
    """One DNS client: its own source address and socket, every answer judged by what was expected."""

    wait_time = constant(0)
    _numbers = itertools.count()

    def on_start(self) -> None:
        options = self.environment.parsed_options
        self.wait_time = constant_pacing(options.pace or 0.02).__get__(self)
        server = server_address(options.dns, options.remote)
        number = next(Resolver._numbers)
        self.socket = socket.socket(socket.AF_INET6 if ":" in server[0] else socket.AF_INET, socket.SOCK_DGRAM)
        source = source_address(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", server[0])
        if source:
            self.socket.bind((source, 0))
        self.socket.connect(server)

    def on_stop(self) -> None:
        self.socket.close()

    @task  # type: ignore[untyped-decorator]
    def ask(self) -> None:
        query = next(self.environment.traffic)
        start, started = time.time(), time.perf_counter()
        reply = self._exchange(query)
        found = problem(query, reply, self.environment.expected)
        self.environment.events.request.fire(
            request_type="DNS", name=query.kind, start_time=start, context={}, response_length=0,
            response_time=(time.perf_counter() - started) * 1e3, exception=Exception(found) if found else None,
        )  # fmt: skip

    def _exchange(self, query: Query) -> dnswire.Reply | None:
        number = random.randrange(1 << 16)
        deadline = time.monotonic() + DNS_TIMEOUT_S
        try:
            self.socket.send(dnswire.query(number, query.qname, query.qtype))
            while (left := deadline - time.monotonic()) > 0:
                self.socket.settimeout(left)
                reply = dnswire.parse_reply(self.socket.recv(4096))
                if reply.id == number:  # an older answer that came too late is not this one
                    return reply
        except (OSError, dnswire.BadMessage):
            return None
        return None


class Analyst(FastHttpUser):  # type: ignore[misc]
    """Logs in, opens a page of the dashboard and reads it for a while."""

    wait_time = constant(5)

    def on_start(self) -> None:
        file = self.environment.parsed_options.dashboard_password_file
        self.cookie = ""
        if file:
            answer = self.client.get(
                "/login", params={"token": Path(file).read_text().split()[0]}, name="/login", allow_redirects=False
            )
            if answer.status_code != 302:  # 0: nothing listens; the request itself is counted as failed
                raise StopUser(f"log-in answered {answer.status_code}, expected 302")
            self.cookie = (answer.headers or {}).get("set-cookie", "").partition(";")[0]

    @task  # type: ignore[untyped-decorator]
    def page(self) -> None:
        path = self.environment.parsed_options.page
        headers = {"Cookie": self.cookie} if self.cookie else {}
        with self.client.get(path, headers=headers, name=f"{path} html", catch_response=True) as answer:
            try:
                token = panel_session.session_token(answer.text or "")
            except panel_session.NotServed as error:
                answer.failure(str(error))
                return
        start, started, size = time.time(), time.perf_counter(), 0
        problem_met: Exception | None = None
        try:
            with panel_session.opened(self.host or "", path, token, self.cookie) as (size, _):
                taken = time.perf_counter() - started
        except Exception as reason:  # whatever fails here is a failed page, and its text is reported
            problem_met, taken = reason, time.perf_counter() - started
        self.environment.events.request.fire(
            request_type="WS", name=f"{path} document", start_time=start, context={}, response_length=size,
            response_time=taken * 1e3, exception=problem_met,
        )  # fmt: skip
