"""The device of a classifier replica: what Ray gave it, seen to be there before it says it is ready."""

import os
from typing import Any, NamedTuple


class NoDevice(RuntimeError):
    """A GPU was promised to this replica and TensorFlow finds none; the message says what each of them sees."""


class Device(NamedTuple):
    """`kind` gpu or cpu; `ids` of the GPUs Ray assigned (logical ones too), `node` where the replica runs."""

    kind: str
    ids: tuple[str, ...]
    node: str


def claim(mode: str, threads: int) -> Device:
    """Settle on this replica's device and set TensorFlow up for it; before TensorFlow first computes.

    `mode` as in `Settings.device`. Raises `NoDevice`.
    """
    import ray

    context = ray.get_runtime_context()
    ids = tuple(map(str, context.get_accelerator_ids().get("GPU", [])))
    node = context.get_node_id()
    if mode == "cpu" and ids:
        raise NoDevice(
            f"device 'cpu', but num_gpus reserves GPU {', '.join(ids)}: set num_gpus to 0, or device to auto"
        )
    if mode == "logical":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the ids stand for no device of this machine
    _set_up(found := _visible_gpus(), threads)
    if ids and not found and mode == "auto":
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        raise NoDevice(
            f"Ray assigned GPU {', '.join(ids)} on node {node}, but TensorFlow finds none (CUDA_VISIBLE_DEVICES "
            f"{visible!r}): expected a GPU build of TensorFlow and a working driver; for a CPU set num_gpus to 0"
        )
    return Device("gpu" if ids else "cpu", ids, node)


def _visible_gpus() -> list[Any]:
    import tensorflow as tf

    return list(tf.config.list_physical_devices("GPU"))


def _set_up(gpus: list[Any], threads: int) -> None:
    import tensorflow as tf

    from model.scorer import set_threads

    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)  # else the first replica takes the whole GPU
    set_threads(threads)
