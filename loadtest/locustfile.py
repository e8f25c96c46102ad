"""Locust users for the wire, for DNS and for the dashboard, with limits that end the run with a verdict.

    locust -f loadtest/locustfile.py Frames --host http://127.0.0.1:8053 --token-file FILE --headless -u 8 -r 8 -t 1m
    locust -f loadtest/locustfile.py Resolver --dns 127.0.0.1:1053 --headless -u 50 -r 10 -t 1m --html report.html
    locust -f loadtest/locustfile.py,loadtest/shapes/steps.py Frames --host http://127.0.0.1:8053 --headless
    locust -f loadtest/locustfile.py,loadtest/shapes --class-picker --token-file FILE

The last one serves a web page on port 8089 of loopback, where users, shape and most options are chosen anew for each
run. User classes: Frames (the plugin's way), Single (the 2020 client's way), Resolver (DNS), Analyst (dashboard). The
exit status is 1 when a limit was broken. Over several processes or machines: the same command with `--master
--expect-workers N` once and with `--worker --master-host ADDRESS` N times; each worker makes queries of its own from
the same names.
"""

import itertools
import json
import random
import socket
import time
from collections.abc import Iterator
from typing import Any

from locust import FastHttpUser, User, constant, constant_pacing, task
from locust.exception import StopUser

from loadtest import locust_runs, panel_session
from loadtest.driver import server_address, source_address
from loadtest.judging import problem
from loadtest.traffic import Query
from loadtest.wirecheck import frame_problem, single_problem
from verdicts import dnswire

DNS_TIMEOUT_S = 2.0

locust_runs.listen()


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
        if self.environment.token:
            self.fixed["Authorization"] = "Bearer " + self.environment.token


def _judge(answer: Any, found: str) -> None:
    if answer.status_code == 0:  # no answer at all
        found = f"no answer: {answer.error}"
    answer.failure(found) if found else answer.success()


class Frames(_Wire):
    """Asks for whole frames, as the plugin does."""

    @task  # type: ignore[untyped-decorator]
    def frame(self) -> None:
        names = _names(self.environment.traffic, self.environment.parsed_options.frame)
        name = f"/v1/verdicts ({len(names)} names)"
        body = json.dumps({"names": names}).encode()
        with self.client.post("/v1/verdicts", data=body, headers=self.fixed, name=name, catch_response=True) as answer:
            _judge(answer, frame_problem(answer.status_code, answer.content or b"", len(names), body))


class Single(_Wire):
    """Asks for one name at a time, as a person or the 2020 client does."""

    @task  # type: ignore[untyped-decorator]
    def one(self) -> None:
        query = next(self.environment.traffic)
        body = {"qname": query.qname, "client": query.client}
        with self.client.post("/v1/verdict", json=body, headers=self.fixed, catch_response=True) as answer:
            _judge(answer, single_problem(answer.status_code, answer.content or b""))


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
        self.cookie = ""
        if password := self.environment.password:
            answer = self.client.get("/login", params={"token": password}, name="/login", allow_redirects=False)
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
