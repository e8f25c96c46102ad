"""What `verdict serve` asks of a Ray that others have started, before it deploys there."""

from typing import Any

import pytest

from serve_app.environment import HAPROXY, BadEnvironment
from serve_app.existing import LIMITS, WANTED, below_of, missing_of
from serve_app.haproxy_revival import EVERYWHERE as REVIVES
from serve_app.https import ALONE as HARDENED
from serve_app.loopback import HOOK

TLS = {"ssl_certfile": "/c", "ssl_keyfile": "/k"}
ASKS = HARDENED[HOOK]


def there(**changes: str | None) -> dict[str, str | None]:
    return {**WANTED, HOOK: REVIVES, **changes}


def test_nothing_is_missing_where_all_is_set() -> None:
    assert missing_of(there(), {}) == []
    assert missing_of(there(**{HAPROXY: "0", HOOK: ASKS}), TLS) == []


def test_what_is_missing_is_named() -> None:
    assert missing_of(there(RAY_AUTH_MODE=None), {}) == ["RAY_AUTH_MODE=token"]
    assert missing_of(there(**{HOOK: None}), {}) == [f"{HOOK}=serve_app.haproxy_revival.watch"]
    assert missing_of(there(**{HAPROXY: "0"}), TLS) == [f"{HOOK}=serve_app.https.harden"]


def test_tls_that_haproxy_would_leave_away_is_refused() -> None:
    with pytest.raises(BadEnvironment, match="no TLS of its own"):
        missing_of(there(), TLS)


@pytest.mark.parametrize("hook", [None, "serve_app.loopback.bind"])
def test_client_certificates_that_nobody_would_ask_for_are_refused(hook: Any) -> None:
    options = {**TLS, "ssl_ca_certs": "/a"}
    with pytest.raises(BadEnvironment, match="ask no client"):
        missing_of(there(**{HAPROXY: "0", HOOK: hook}), options)
    assert missing_of(there(**{HAPROXY: "0", HOOK: ASKS}), options) == []


SET = {variable: "256" for variable, _ in LIMITS.values()}


def test_a_setting_above_what_this_haproxy_was_started_with_is_named_with_the_limit() -> None:
    limits = {"max_requests": 512, "max_body": 256, "max_wait_s": 257}
    assert below_of(there(**SET), limits) == [
        "max_ongoing_requests of Ingress is above what its HAProxy was started with, "
        "VERDICT_HAPROXY_MAX_REQUESTS=256: expected 512",
        "request_timeout_s or max_budget_ms is above what its HAProxy was started with, "
        "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S=256: expected 257",
    ]


def test_nothing_is_said_of_limits_that_nobody_knows() -> None:
    limits = dict.fromkeys(LIMITS, 512)
    assert below_of(there(**dict.fromkeys(SET)), limits) == []
    assert below_of(there(**SET, **{HAPROXY: "0"}), limits) == []
