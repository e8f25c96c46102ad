"""Registration data of a domain (RDAP), asked for on a click only: a look-up tells the world who is curious."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from dashboard.components import READY, Facts
from dashboard.inputs import Button
from dashboard.page import schedule
from verdicts import names

KEEP_S = 86_400.0
RETRY_S = 60.0
CACHE_DOMAINS = 2_000
TIMEOUT_S = 10

Answer = dict[str, Any]
_cache: dict[str, tuple[float, Answer]] = {}


class NotKnown(Exception):
    """There is no registration data; the message says why."""


def ask_rdap(domain: str) -> Answer:
    """Ask the registry of a domain; blocks. Raises `NotKnown`."""
    import whoisit
    from whoisit.errors import BootstrapError, QueryError, ResourceDoesNotExist, UnsupportedError, WhoisItError

    try:
        if not whoisit.is_bootstrapped():
            whoisit.bootstrap()
        # Not the registrar's answer, to which a registry may point: whoever that is would learn who is curious.
        return dict(whoisit.domain(domain, follow_related=False))
    except ResourceDoesNotExist:
        raise NotKnown(f"{domain}: not registered, says its registry") from None
    except UnsupportedError:
        raise NotKnown(f"{domain}: its registry offers no RDAP") from None
    except (BootstrapError, QueryError, OSError) as error:
        raise NotKnown(f"offline, or the registry does not answer ({type(error).__name__})") from None
    except (WhoisItError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise NotKnown(f"{domain}: the registry's answer is none ({type(error).__name__})") from None


async def registration(domain: str, ask: Callable[[str], Answer] = ask_rdap) -> Answer:
    """The registration data of a registered domain, cached for a day, the failure for a minute. Raises `NotKnown`."""
    known = _cache.get(domain)
    if known is None or known[0] < time.monotonic():
        try:
            answer = await asyncio.wait_for(asyncio.to_thread(ask, domain), 3 * TIMEOUT_S)
            known = (time.monotonic() + KEEP_S, answer)
        except TimeoutError:
            known = (time.monotonic() + RETRY_S, {"error": "the registry did not answer in time"})
        except NotKnown as error:
            known = (time.monotonic() + RETRY_S, {"error": str(error)})
        while len(_cache) >= CACHE_DOMAINS:
            _cache.pop(next(iter(_cache)))
        _cache[domain] = known
    if "error" in known[1]:
        raise NotKnown(known[1]["error"])
    return known[1]


def facts_of(answer: Answer, now: float | None = None) -> list[dict[str, Any]]:
    """Registration data as facts, age first: young domains are the suspicious ones."""
    now = time.time() if now is None else now
    registered = _milliseconds(answer.get("registration_date"))
    facts: list[dict[str, Any]] = []
    if registered:
        days = int((now * 1000 - registered) / 86_400_000)
        facts.append({"label": "Age", "value": f"{days:,} days", "more": "young" if days < 30 else ""})
        facts.append({"label": "Registered", "value": registered, "kind": "time"})
    for label, key in (("Changed", "last_changed_date"), ("Expires", "expiration_date")):
        if when := _milliseconds(answer.get(key)):
            facts.append({"label": label, "value": when, "kind": "time"})
    entities = answer.get("entities") or {}
    registrar = next((e.get("name") for e in entities.get("registrar", []) if e.get("name")), "")
    for label, value in (
        ("Registrar", registrar),
        ("Status", ", ".join(answer.get("status") or [])),
        ("Name servers", ", ".join(answer.get("nameservers") or [])),
        ("RDAP", answer.get("url") or ""),
    ):
        if value:
            facts.append({"label": label, "value": str(value)})
    return facts


def _milliseconds(value: Any) -> int:
    """Of a time without a zone, that of UTC, whatever the server's."""
    if not isinstance(value, datetime):
        return 0
    return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000)


class Registration:
    """A button, and what the registry said."""

    def __init__(self, name: str) -> None:
        """`name`: a normalised one; with a wildcard, or empty, there is nothing to ask about."""
        self.domain = names.split(name).registered if name and "*" not in name else ""
        self.facts = Facts(
            heading="Registration",
            status=READY,
            empty="Not asked yet. Asking tells the registry that someone here is curious.",
        )
        self.button = Button(
            label=f"Ask the registry about {self.domain}" if len(self.domain) < 40 else "Ask the registry",
            variant="outlined",
            icon="travel_explore",
            disabled=not self.domain,
            on_click=lambda _: schedule(self.ask),
        )

    async def ask(self) -> None:
        self.button.param.update(disabled=True, loading=True)
        try:
            self.facts.facts = facts_of(await registration(self.domain))
        except NotKnown as error:
            self.facts.param.update(facts=[], empty=str(error))
        finally:
            self.button.param.update(disabled=False, loading=False)

    def view(self) -> tuple[Any, Any]:
        return self.facts, self.button
