"""The main path with real DNS packets, real HTTP and a real browser: what a new user sees after `make run`."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from tests.e2e.conftest import Stack
from tests.requires import need
from verdicts.store import Filter, open_store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

BLOCKED = "www.example.net"
GENERATED = r"dig @127.0.0.1 -p \d+ (\S+)\s+# (?:answered, and flagged|flagged)"


def eventually(reads: Callable[[], object], wanted: object, within_s: float = 10) -> None:
    """Wait until `reads()` equals `wanted`; fail with what it read last."""
    end = time.monotonic() + within_s
    while (last := reads()) != wanted:
        if time.monotonic() > end:
            pytest.fail(f"read {last!r}, expected {wanted!r} within {within_s} s")
        time.sleep(0.1)


def ede_codes(reply: dns.message.Message) -> list[int]:
    return [int(option.code) for option in reply.options if isinstance(option, dns.edns.EDEOption)]


def counted(stack: Stack, qname: str, **fields: str) -> int:
    """How many queries of a name the store holds, summed over counts."""
    store = open_store(f"sqlite:///{stack.home / 'verdict.db'}", readonly=True)
    try:
        now = int(time.time() * 1000)
        where = Filter(now - 3_600_000, now + 60_000, name=qname, **{k: (v,) for k, v in fields.items()})  # type: ignore[arg-type]
        return sum(record.count for record in store.search(where, 500).records)
    finally:
        store.close()


def test_a_known_name_is_answered(stack: Stack) -> None:
    reply = stack.dig("wikipedia.org")
    assert reply.rcode() == dns.rcode.NOERROR
    assert [rrset.rdtype for rrset in reply.answer] == [dns.rdatatype.A]
    assert ede_codes(reply) == []


def test_a_name_of_the_blocklist_is_blocked_with_its_reason(stack: Stack) -> None:
    reply = stack.dig(BLOCKED)
    assert reply.rcode() == dns.rcode.NXDOMAIN
    assert ede_codes(reply) == [15]
    assert not reply.flags & (dns.flags.AA | dns.flags.AD) and reply.flags & dns.flags.RA
    assert [rrset.rdtype for rrset in reply.authority] == [dns.rdatatype.SOA]


def test_no_extended_error_for_who_does_not_speak_edns(stack: Stack) -> None:
    reply = stack.dig(BLOCKED, edns=False)
    assert reply.rcode() == dns.rcode.NXDOMAIN and reply.edns == -1


def test_a_blocked_name_is_blocked_over_tcp_and_in_any_case(stack: Stack) -> None:
    reply = stack.dig("WwW.eXaMpLe.NeT", tcp=True)
    assert reply.rcode() == dns.rcode.NXDOMAIN
    assert reply.question[0].name.to_text() == "WwW.eXaMpLe.NeT."


def test_the_honeypot_answers_for_its_names(stack: Stack) -> None:
    reply = stack.dig("www.example.org")
    assert [r.to_text() for rrset in reply.answer for r in rrset] == ["192.0.2.53"]


def test_what_it_says_of_the_generated_name_is_true(stack: Stack) -> None:
    said = re.search(GENERATED, stack.said)
    assert said, stack.said
    name = said[1]
    verdict = stack.api("POST", "/v1/verdicts", json={"names": [name]}).json()["verdicts"][0]
    assert verdict["label"] == "malicious" and verdict["source"] == "model"
    reply = stack.dig(name)
    if verdict["tier"] == "block":
        assert reply.rcode() == dns.rcode.NXDOMAIN and ede_codes(reply)
    else:
        assert reply.rcode() == dns.rcode.NOERROR and reply.answer
    eventually(lambda: counted(stack, name, label="malicious"), 1)


def test_ten_equal_queries_count_ten_within_two_seconds(stack: Stack) -> None:
    for _ in range(10):
        stack.dig("ten.wikipedia.org")
    eventually(lambda: counted(stack, "ten.wikipedia.org"), 10, within_s=2)


def test_a_decision_is_in_force_within_two_seconds(stack: Stack) -> None:
    name = "decided.wikipedia.org"
    assert stack.dig(name).rcode() == dns.rcode.NOERROR
    added = stack.api("POST", "/v1/lists", json={"list": "blocklist", "suffix": name, "note": "a test"})
    assert added.status_code == 200, added.text
    eventually(lambda: stack.dig(name).rcode(), dns.rcode.NXDOMAIN, within_s=2)
    removed = stack.api("DELETE", f"/v1/lists/blocklist/{name}")
    assert removed.status_code == 200, removed.text
    eventually(lambda: stack.dig(name).rcode(), dns.rcode.NOERROR, within_s=2)


def test_hostile_names_get_an_ordinary_answer(stack: Stack) -> None:
    for name in (r"<script>alert(1)</script>.org", r"=cmd\|.org", r"\000\255.\027[31m.org", "a" * 63 + ".org"):
        # The model may well think that such a name was made by a machine; what matters is that there is an answer.
        assert stack.dig(name).rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)


def test_without_a_token_there_is_no_verdict(stack: Stack) -> None:
    reply = stack.api("POST", "/v1/verdicts", token="", json={"names": ["wikipedia.org"]})
    assert reply.status_code == 401
    assert reply.json()["code"] == "unauthorised"


@pytest.mark.browser
def test_the_dashboard_shows_what_was_asked(stack: Stack) -> None:
    chromium = shutil.which("chromium")
    need(chromium, "chromium is not installed")
    from playwright.sync_api import expect, sync_playwright

    asked = "shown.on.the.dashboard.wikipedia.org"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
                  "--disable-component-update", "--disable-sync"],
        )  # fmt: skip
        page = browser.new_page()
        page.goto(stack.dashboard)
        expect(page.get_by_text("Latest").first).to_be_visible(timeout=30_000)
        for attempt in range(5):  # ten queries may fall into two reports, which are two rows
            name = f"at{attempt}.{asked}"
            for _ in range(10):
                stack.dig(name)
            row = page.get_by_role("row").filter(has_text=name)
            expect(row.first).to_be_visible(timeout=10_000)
            shown = row.first.inner_text()
            if "10" in re.findall(r"\b\d+\b", shown.replace(name, "")):
                break
        else:
            raise AssertionError(shown)
        browser.close()


def test_a_busy_port_is_named_before_anything_starts(stack: Stack, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = subprocess.run(
        [sys.executable, "-m", "serve_app.cli", "up", "--home", str(home), "--dns-port", str(stack.dns_port)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert str(stack.dns_port) in done.stderr and "--dns-port" in done.stderr
    assert not (home / "verdict.db").exists()


def test_a_second_up_in_one_home_is_refused(stack: Stack) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "serve_app.cli", "up", "--home", str(stack.home), "--dns-port", "0"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0 and "Traceback" not in done.stderr


def test_it_still_runs(stack: Stack) -> None:
    assert stack.process.poll() is None
    assert stack.dig("wikipedia.org").rcode() == dns.rcode.NOERROR
