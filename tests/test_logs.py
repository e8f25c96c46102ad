"""deployments/logs.py: lines that Serve would hold back are written."""

import logging
from collections.abc import Iterator
from logging.handlers import MemoryHandler

import pytest
from ray import serve

from deployments import logs
from serve_app.app import build


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


def test_every_deployment_of_the_application_keeps_its_lines_written(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[type] = []

    def note(deployment: type) -> object:
        made.append(deployment)
        return serve.deployment(deployment)

    monkeypatch.setattr("serve_app.app.deployed", note)
    build({"store_url": "sqlite:////nowhere/verdict.db", "registry": "/nowhere", "spool_dir": "/nowhere"})
    for deployment in made:
        starts = [vars(base)["__init__"].__code__ for base in deployment.__mro__[:-1] if "__init__" in vars(base)]
        assert any("keep_written" in start.co_names for start in starts), deployment
    assert len(made) == 4
