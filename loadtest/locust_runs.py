"""What every run of locust has: the project's options, its traffic, and limits that end it with a verdict.

Without a page a run is the whole process: a broken limit ends it, and its exit status says so. On the page one run
follows another: a broken limit stops the run, and its verdict stands in the terminal, on the page's tab Logs and, when
broken, among the exceptions of its report.
"""

import argparse
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, events
from locust.runners import STATE_RUNNING, MasterRunner, WorkerRunner

from loadtest.arguments import count, count_or_none, first_word, not_negative, positive, share, url
from loadtest.driver import server_address
from loadtest.judging import Expectation
from loadtest.populations import read_names
from loadtest.profiles import Profile, flat
from loadtest.thresholds import Crew, Figures, Limits, broken, verdict
from loadtest.traffic import queries, world

WORKER_SEEDS = 1_000_003  # between the seeds of two workers
WATCH_S = 0.5
GRACE_S = 5  # before limits are judged: the first requests compile and connect

TYPES = (count, count_or_none, not_negative, positive, share)

log = logging.getLogger("locust.verdict")  # below locust's own, which the page shows
checks: dict[str, Callable[[str], object]] = {}  # by option; what is typed into the page comes past argparse


def listen() -> None:
    """Take part in locust's runs."""
    events.init_command_line_parser.add_listener(_options)
    events.init.add_listener(_prepare)
    events.test_start.add_listener(_begin)
    events.test_stop.add_listener(_end)
    events.quitting.add_listener(_conclude)


def _options(parser: Any) -> None:
    group = parser.add_argument_group("Verdict")

    def option(*names: str, on_page: bool = True, **more: Any) -> None:
        action = group.add_argument(*names, **more)
        if more.get("type") in TYPES:
            checks[action.dest] = more["type"]
        # A group's own add_argument knows nothing of the page, and leaves the option out of it.
        action.include_in_web_ui, action.is_secret, action.is_required, action.is_multiple = (
            on_page,
            False,
            False,
            False,
        )

    def fixed(*names: str, **more: Any) -> None:
        """What is read once, or what whoever reaches the page has no business to change."""
        option(*names, on_page=False, **more)

    parser.set_defaults(web_host="127.0.0.1")  # the page has no password, and sends traffic wherever it is told
    fixed("--token-file", default="", env_var="VERDICT_TOKEN_FILE", help="resolver's token for the wire")
    option("--dns", default="127.0.0.1:1053", env_var="VERDICT_DNS", help="ADDRESS:PORT of the resolver")
    option("--frame", type=count, default=256, help="names a frame")
    option("--budget-ms", type=count, default=1000, help="how long a frame may take")
    option(
        "--pace",
        type=not_negative,
        default=0.0,
        help="seconds between the starts of a user's requests (0: as soon as answered; Resolver: 0.02)",
    )
    fixed("--names", type=count, default=20_000, help="benign names in the population")
    fixed("--benign", default="", help="file of benign names to use instead of made ones")
    fixed("--malicious", default="", help="file of malicious names to use instead of made ones")
    fixed("--seed", type=int, default=0, help="of the traffic")
    fixed("--listed", default="", help="file of names on the blocklist: these must be blocked")
    option("--enforcing", action="store_true", help="the resolver enforces")
    option("--page", default="/", help="page of the dashboard to open")
    fixed(
        "--dashboard-password-file",
        default="",
        env_var="VERDICT_DASHBOARD_PASSWORD_FILE",
        help="its first word logs in",
    )
    option("--max-failed", type=share, default=0.01, help="share of failed requests that ends the run")
    option("--max-p99-ms", type=positive, default=1000.0, help="99th percentile that ends the run")
    option("--shape-users", type=count_or_none, default=0, help="most users of a shape, instead of its own number")
    option("--shape-seconds", type=not_negative, default=0.0, help="how long a shape lasts, instead of its own time")
    fixed("--remote", action="store_true", help="the resolver is elsewhere, and its owner agrees")
    option("--max-requests", type=count_or_none, default=0, help="end the run when so many were made (0: never)")
    option("--min-rps", type=not_negative, default=0.0, help="requests a second the run must reach")


def _prepare(environment: Any, **_: Any) -> None:
    """Make the traffic once for all users and runs; what cannot be read is refused before any of them begins."""
    options = environment.parsed_options
    files = {"benign_file": options.benign, "malicious_file": options.malicious}
    try:
        server_address(options.dns, options.remote)
        if not environment.web_ui and not isinstance(environment.runner, WorkerRunner):
            _check_host(environment)
        if not isinstance(environment.runner, MasterRunner):  # whose workers ask
            environment.token, environment.password = map(
                _secret, (options.token_file, options.dashboard_password_file)
            )
        profile = flat(Profile(rate=1000, benign=options.names, clients=500, **files))
        environment.world = world(profile, options.seed)
        environment.listed = frozenset(read_names(options.listed)) if options.listed else frozenset()
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    environment.traffic = queries(profile, options.seed, made=environment.world)
    environment.line = ""  # the verdict of the last run
    environment.crew = Crew()  # of the last run
    environment.watched = None  # the run that is going on
    # What is to last a time begins now: gevent's clock stands while the names are read, and a run would be over sooner.
    gevent.get_hub().loop.update_now()


def _secret(file: str) -> str:
    return first_word(Path(file)) if file else ""


def _check_host(environment: Any) -> None:
    """Raise `ValueError` where users that ask a host over HTTP have none."""
    if any(issubclass(user, FastHttpUser) for user in environment.user_classes):
        try:
            url(environment.host or "")
        except argparse.ArgumentTypeError:
            raise ValueError(f"host {environment.host or ''!r}: expected http://ADDRESS:PORT") from None


def _wrong(environment: Any) -> str:
    """What of the options cannot be used, with what was expected; empty when nothing is wrong."""
    options = environment.parsed_options
    try:
        for name, check in checks.items():
            try:
                check(str(getattr(options, name)))
            except argparse.ArgumentTypeError as error:
                raise ValueError(f"{name}: {error}") from None
        server_address(options.dns, options.remote)
        _check_host(environment)
    except ValueError as error:
        return str(error)
    return ""


def _begin(environment: Any, **_: Any) -> None:
    environment.expected = Expectation(environment.listed, environment.parsed_options.enforcing)
    if isinstance(environment.runner, WorkerRunner):  # the same names, but no worker's one-time names are another's
        made, number = environment.world, environment.runner.worker_index + 1
        environment.traffic = queries(made.profile, made=replace(made, seed=made.seed + WORKER_SEEDS * number))
    else:
        wrong = _wrong(environment)
        environment.line, environment.watched = f"BROKEN: {wrong}" if wrong else "", object()
        gevent.spawn(_watch_limits, environment, environment.watched)


def _watch_limits(environment: Any, run: object) -> None:
    """End the run when a limit is broken or enough was asked; the first seconds are not judged, nor counted."""
    options, judged_from = environment.parsed_options, time.monotonic() + GRACE_S
    environment.crew = Crew(judged_from + GRACE_S)  # workers tell of their users each three seconds
    while True:
        gevent.sleep(WATCH_S)
        if environment.watched is not run:
            return
        if environment.line:
            break
        runner = environment.runner
        manned = environment.crew.look(
            runner.worker_count, runner.user_count, runner.state == STATE_RUNNING, time.monotonic()
        )
        if 0 < options.max_requests <= environment.stats.total.num_requests:
            break
        if not manned:
            break  # every user gave up, such as analysts whose log-in is refused
        if time.monotonic() < judged_from:
            continue
        if judged_from and not _brief(environment):
            environment.stats.reset_all()
        judged_from = 0.0
        if broken(_limits(environment), _figures(environment)):
            break
    environment.runner.stop() if environment.web_ui else environment.runner.quit()


def _brief(environment: Any) -> bool:
    """Whether the run is so short that its first seconds are much of it."""
    options = environment.parsed_options
    seconds = float((environment.shape_class and options.shape_seconds) or options.run_time or 0)
    return 0 < seconds < 4 * GRACE_S or options.max_requests > 0


def _end(environment: Any, **_: Any) -> None:
    if environment.watched is None or isinstance(environment.runner, WorkerRunner):
        return
    environment.watched = None
    environment.line = environment.line or verdict(_limits(environment), _figures(environment))
    if not environment.web_ui:
        return
    if environment.line.startswith("BROKEN"):
        log.error(environment.line)
        environment.runner.log_exception("limits", environment.line, "")
    else:
        log.info(environment.line)


def _conclude(environment: Any, **_: Any) -> None:
    if isinstance(environment.runner, WorkerRunner):
        return
    if environment.web_ui and not environment.line and environment.watched is None:
        return  # a page on which no run was started
    line = environment.line or verdict(_limits(environment), _figures(environment))
    environment.process_exit_code = 1 if line.startswith("BROKEN") else 0
    environment.events.quit.add_listener(lambda **_: print(line, flush=True))  # below locust's tables


def _limits(environment: Any) -> Limits:
    options = environment.parsed_options
    return Limits(options.max_failed, options.max_p99_ms, options.min_rps)


def _figures(environment: Any) -> Figures:
    total = environment.stats.total
    errors: Counter[str] = Counter()
    for error in environment.stats.errors.values():  # one a kind of question
        errors[str(error.error)[:80]] += error.occurrences
    words = tuple(f"{occurrences}x {error}" for error, occurrences in errors.most_common(3))
    p99 = float(total.get_response_time_percentile(0.99) or 0)
    runner = environment.runner
    busy = bool(runner.cpu_warning_emitted or runner.worker_cpu_warning_emitted)
    return Figures(total.num_requests, total.num_failures, p99, total.total_rps, words, environment.crew.lost, busy)
