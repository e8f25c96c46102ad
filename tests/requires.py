"""What a test needs of its machine: skipped with a reason where it is absent, failed where all is required."""

import os
from pathlib import Path

import pytest

from serve_app import golang

REQUIRE_ALL = "VERDICT_REQUIRE_ALL"  # set by .ci/run: there nothing may be skipped


def need(condition: object, reason: str) -> None:
    """Skip the test with `reason` unless `condition` holds; fail instead when everything is required."""
    if condition:
        return
    if os.environ.get(REQUIRE_ALL) == "1":
        pytest.fail(f"required here: {reason}", pytrace=False)
    pytest.skip(reason)


def need_go() -> Path:
    """The Go that builds the plugin; without one as `need`."""
    try:
        return golang.find()
    except golang.NoGo as reason:
        need(False, str(reason))
        raise
