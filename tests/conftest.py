"""What many tests stand on: the two stores that one contract binds (a test that takes `store` or `url` runs on both),
asyncio, and the dashboard before a person."""

import os
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from serve_app.environment import short_directory
from tests.elastic import shared_url
from tests.stores import sqlite_url
from verdicts.store import Store, open_store

if TYPE_CHECKING:  # Panel takes a second to import, which most tests need not wait for
    from tests.dashboard_stage import Stage

# A test that asks Ray by mistake fails: Ray would start a cluster in this process, and end the process with it.
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"


@pytest.fixture(params=["sqlite", pytest.param("elastic", marks=pytest.mark.elastic)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield sqlite_url(tmp_path)
        return
    prefix = f"t{uuid.uuid4().hex[:12]}"
    found = f"{shared_url()}/?prefix={prefix}&replicas=0"
    yield found
    from verdicts.store.elastic import ElasticStore
    from verdicts.store.elastic_schema import SETS

    cleaner = ElasticStore(found)
    cleaner.client.indices.delete(index=f"{prefix}-*")
    for name in SETS:
        cleaner.client.options(ignore_status=404).indices.delete_index_template(name=f"{prefix}-{name}")
    cleaner.close()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    opened.initialise()
    yield opened
    opened.close()


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    folder = short_directory()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Training of few rows and batches, untraced: to trace a graph takes longer than such networks train."""
    import tensorflow as tf

    monkeypatch.setattr("model.train.BLOCK", 2048)
    monkeypatch.setattr("model.jobs.EPOCH_STEPS", 5)
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def stage(tmp_path: Path) -> "AsyncIterator[Stage]":
    from tests.dashboard_stage import Stage

    made = Stage(tmp_path)
    yield made
    await made.close()
