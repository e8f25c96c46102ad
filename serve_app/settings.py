"""What the application can be told: the `args:` of serve.yaml, typed and checked before anything starts."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

MIB = 1 << 20


class BadSettings(ValueError):
    """Settings that cannot be used; the message names the key and what was expected."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of the application's own settings. Replicas, resources and autoscaling stand beside them in the YAML."""

    store_url: str  # sqlite:///PATH, or http(s)://HOST:9200
    registry: str  # folder or URI of the model registry
    spool_dir: str  # on a disk that survives the process
    snapshot: str = ""  # the ingress's last good lists and policy; empty: `snapshot.json` in the spool folder
    model: str = "serving"  # `serving`: follow the registry's pointer; else a fixed version

    auth: Literal["tokens", "off"] = "tokens"  # off: whoever reaches the port is believed; for tests only
    max_names: int = 1024  # in a frame
    max_frame_bytes: int = 4 * MIB  # 1,024 names of 1,004 escaped characters, escaped again by JSON
    max_report_bytes: int = 16 * MIB  # an observation batch
    default_budget_ms: int = 1000  # when a question says nothing of how long it waits
    max_budget_ms: int = 30_000
    epoch_poll_ms: int = 250
    model_poll_ms: int = 1000

    # An ingress replica refuses a frame beyond this at once. Each frame counts 100 names more than it has.
    max_names_in_flight: int = 16_384
    batch_sizes: tuple[int, ...] = (1, 16, 64, 256, 1024)  # the network is compiled for these and no others
    max_batch_names: int = 1024  # frames are joined up to this many names
    tf_threads: int = 2  # batches that one classifier replica computes at one time on a CPU, each on one thread
    device: Literal["auto", "cpu", "logical"] = "auto"  # logical: believe Ray's GPUs unseen (tests of placement)

    spool_bytes: int = 1024 * MIB
    client_privacy: Literal["whole", "truncated", "keyed"] = "whole"
    client_key_file: str = ""  # for `keyed`
    alerts_file: str = ""  # where incidents are told: a URL a line, see docs/store.md; a file, as they hold secrets
    retention_days: float = 30.0  # of records
    training_data: tuple[str, ...] = ()  # folders and URLs that an analyst may train from; an admin may from any


def settings_of(args: Mapping[str, Any]) -> Settings:
    """The settings in `args`, or `BadSettings`."""
    unknown = sorted(set(args) - set(Settings.__struct_fields__))
    if unknown:
        known = ", ".join(Settings.__struct_fields__)
        raise BadSettings(f"args: unknown key {', '.join(map(repr, unknown))}; expected some of {known}")
    try:
        settings = msgspec.convert(dict(args), Settings)
    except msgspec.ValidationError as error:
        raise BadSettings(f"args: {error}") from None
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    for key in ("store_url", "registry", "spool_dir", "model"):
        _require(getattr(settings, key) != "", key, "", "a value")
    if not settings.store_url.startswith(("sqlite:///", "http://", "https://")):
        raise BadSettings(f"args: store_url {settings.store_url!r}: expected sqlite:///PATH, http:// or https://")
    for key, low, high in (
        ("max_names", 1, 65_536),
        ("max_frame_bytes", 1024, 64 * MIB),
        # The log keeps 64 MiB as one; with keyed clients a report is longer than it came.
        ("max_report_bytes", 1024, 32 * MIB),
        ("max_budget_ms", 1, 3_600_000),
        ("default_budget_ms", 1, settings.max_budget_ms),
        ("epoch_poll_ms", 10, 60_000),
        ("model_poll_ms", 10, 3_600_000),
        ("max_names_in_flight", settings.max_names, 1 << 30),
        ("max_batch_names", settings.max_names, 1 << 20),
        ("tf_threads", 1, 1024),
        ("spool_bytes", MIB, 1 << 50),
        ("retention_days", 1 / 24, 36_500),  # below 0 it would end with what is yet to come: with all there is
    ):
        value = getattr(settings, key)
        _require(low <= value <= high, key, value, f"{low} to {high}")
    sizes = settings.batch_sizes
    rising = bool(sizes) and sizes[0] >= 1 and sorted(set(sizes)) == list(sizes)
    _require(rising and sizes[-1] <= 1 << 20, "batch_sizes", sizes, f"rising sizes up to {1 << 20}")
    _require(
        settings.client_privacy != "keyed" or settings.client_key_file != "", "client_key_file", "", "a file of a key"
    )


def _require(holds: bool, key: str, value: object, expected: str) -> None:
    if not holds:
        raise BadSettings(f"args: {key} {value!r}: expected {expected}")
