"""serve_app/local/progress.py: plain lines where there is no terminal."""

import io

from rich.console import Console

from serve_app.local.progress import Steps


def test_a_line_of_a_log_stays_one_however_long() -> None:
    written = io.StringIO()
    with Steps(Console(file=written, width=40)) as steps:
        steps.begin("Starting the cluster").say(", ".join(["Classifier updating"] * 9))
    assert [line[:20] for line in written.getvalue().splitlines()] == ["Starting the cluster"] * 2
