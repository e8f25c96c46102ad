"""deployments/logs.py: lines that Serve would hold back are written."""

import logging
from collections.abc import Iterator
from logging.handlers import MemoryHandler

import pytest

from deployments import logs


class Written(logging.Handler):
    """Keeps the lines that reach it; `full` is a disk that takes none."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.full = False

    def emit(self, record: logging.LogRecord) -> None:
        if self.full:
            self.handleError(record)
        else:
            self.lines.append(record.getMessage())


@pytest.fixture
def held() -> Iterator[tuple[logging.Logger, Written]]:
    logger, written = logging.Logger("held"), Written()
    logger.setLevel(logging.INFO)
    logger.addHandler(MemoryHandler(1000, logging.ERROR, written))
    yield logger, written


def test_lines_are_written_in_order_and_once(held: tuple[logging.Logger, Written]) -> None:
    logger, written = held
    logger.info("one")
    logger.info("two")
    assert written.lines == []
    logs.write(logger)
    logs.write(logger)
    assert written.lines == ["one", "two"]


def test_a_full_disk_stops_nothing(held: tuple[logging.Logger, Written], monkeypatch: pytest.MonkeyPatch) -> None:
    logger, written = held
    monkeypatch.setattr(logging, "raiseExceptions", False)  # as in a replica
    written.full = True
    logger.info("lost")
    logs.write(logger)
    written.full = False
    logger.info("kept")
    logs.write(logger)
    assert written.lines == ["kept"]
