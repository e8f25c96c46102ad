"""What settings name is looked at before anything starts."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from model.artifact import MANIFEST, NETWORK
from model.registry import Registry
from serve_app.places import check_places
from serve_app.settings import BadSettings, settings_of
from tests.nobody import by_nobody


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "store_url": f"sqlite://{folder}/verdict.db",
        "registry": f"{folder}/models",
        "spool_dir": f"{folder}/spool",
        **changes,
    }


def test_a_new_home_is_taken_and_nothing_is_made(tmp_path: Path) -> None:
    check_places(settings_of(settings(tmp_path / "new")))
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_was_used_is_taken(tmp_path: Path) -> None:
    Registry(tmp_path / "models").seed_from_released()
    (tmp_path / "spool").mkdir()
    (tmp_path / "alerts").write_text("# chat\nhttps://hooks.example.org/SECRET\n")
    (tmp_path / "key").write_text("0123456789abcdef")
    keyed = {"client_privacy": "keyed", "client_key_file": f"{tmp_path}/key", "alerts_file": f"{tmp_path}/alerts"}
    check_places(settings_of(settings(tmp_path, **keyed)))
    check_places(settings_of(settings(tmp_path, model="seed-2020")))


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"alerts_file": "DIR/none"}, "alerts_file DIR/none: No such file or directory, expected a file with a URL a"),
        ({"alerts_file": "DIR/file"}, "alerts_file DIR/file, line 1: alert sink"),
        ({"client_privacy": "keyed", "client_key_file": "DIR/none"}, "client_key_file: client key DIR/none: No such"),
        (
            {"client_privacy": "keyed", "client_key_file": "DIR/file"},
            "client_key_file: client key DIR/file: 2 octets, expected 16 or more",
        ),
        ({"store_url": "https://h:9200/?api_key_file=DIR/none"}, "store_url: API key DIR/none: No such file"),
        ({"store_url": "https://h:9200/?ca=DIR/none"}, "store_url: ca DIR/none: No such file or directory, expected"),
        ({"store_url": "https://h:9200/?ca=DIR/file"}, "store_url: ca DIR/file: "),
        ({"store_url": "https://h:9200/?per=week"}, "store_url: store https://h:9200: Invalid enum value 'week'"),
        ({"store_url": "https://u:SECRET@h:x/"}, "store_url: store host https://h:x: Port could not be cast"),
        ({"spool_dir": "DIR/file/spool"}, "spool_dir 'DIR/file/spool': expected a folder that this user can write"),
        ({"registry": "DIR/file"}, "registry 'DIR/file': expected a folder that this user can write"),
        ({"model": "seed-2021"}, "registry 'DIR/models': model 'seed-2021': expected 'serving'"),
        (
            {"registry": "DIR/used", "model": "seed-2021"},
            "registry 'DIR/used': model 'seed-2021': expected one of seed-2020, segments-",
        ),
        ({"registry": "s4://models"}, "registry 's4://models': model registry s4://models: "),
    ],
)
def test_what_no_replica_could_start_with_is_named(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    (tmp_path / "file").write_text("ab")
    Registry(tmp_path / "used").seed_from_released()
    given = {key: value.replace("DIR", str(tmp_path)) for key, value in changes.items()}
    with pytest.raises(BadSettings) as caught:
        check_places(settings_of(settings(tmp_path, **given)))
    assert f"args: {said}".replace("DIR", str(tmp_path)) in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_a_folder_that_may_not_be_written_is_named() -> None:
    def said() -> str:
        with pytest.raises(BadSettings) as caught:
            check_places(given)
        return str(caught.value)

    with tempfile.TemporaryDirectory() as made:
        os.chmod(made, 0o555)
        given = settings_of(settings(Path(made)))
        assert f"this user can write, {made} is none" in by_nobody(said)


def test_a_serving_model_that_is_damaged_is_named(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    registry.seed_from_released()
    network = tmp_path / "models" / registry.serving() / NETWORK
    network.write_bytes(b"torn")
    with pytest.raises(BadSettings, match=f"registry '{tmp_path}/models': {network}: SHA-256"):
        check_places(settings_of(settings(tmp_path)))
    manifest = network.with_name(MANIFEST)
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 99}))
    with pytest.raises(BadSettings, match=f"{manifest}: format 99, expected"):
        check_places(settings_of(settings(tmp_path)))
