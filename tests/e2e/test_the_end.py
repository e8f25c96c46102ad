"""Ctrl-C on what all end-to-end tests used: it comes after them (in the order of their files), for it ends that."""

import pytest

from serve_app.local.options import Home
from serve_app.local.processes import marked
from tests.e2e.conftest import Stack, stop
from tests.e2e.test_main_path import counted

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def test_ctrl_c_leaves_no_process_and_nothing_lost(stack: Stack) -> None:
    mark = Home(stack.home).mark
    assert len(marked(mark)) > 3
    for _ in range(5):
        stack.dig("last.wikipedia.org")
    assert stop(stack) == 0
    assert marked(mark) == []
    assert counted(stack, "last.wikipedia.org") == 5
