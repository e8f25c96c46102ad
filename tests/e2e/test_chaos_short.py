"""The short form of chaos: real CoreDNS, real cluster, real failures, every promise kept."""

from pathlib import Path

import pytest

from loadtest import chaos
from serve_app import golang
from tests.requires import need


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.cluster
@pytest.mark.golang
@pytest.mark.timeout(420)
def test_every_promise_of_the_short_form_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        golang.find()
    except golang.NoGo as reason:
        need(False, str(reason))
    status = chaos.main(["--short", "--out", str(tmp_path / "chaos.md")])
    assert status == 0, capsys.readouterr().out
