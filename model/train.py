"""Training, read top to bottom: draw, step, note, checkpoint; it stops when asked and goes on where it was.

A run is a folder: `checkpoint.keras` (network with optimizer), `state.json` (how far) and `history.jsonl` (a line an
epoch). An epoch is `steps` blocks drawn anew, not a pass over the data: kinds are balanced, so rows repeat unequally.
"""

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from model.encoding import encoder
from model.network import Shape, build, masked_loss
from model.sampling import GRAMMARS, Sampler

Progress = Callable[[dict[str, Any]], None]
BLOCK = 8192  # rows drawn at once


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to train. The learning rate rises for `warm_up` of the way, then falls along a cosine.

    The way ends after `epochs`, or, where `minutes` is more than 0, when that much time is spent: networks are
    compared at equal time, and a busy machine changes how much is learned, not when it ends.
    """

    epochs: int = 40
    minutes: float = 0.0
    blocks: int = 50  # of an epoch, 8,192 rows each
    batch_size: int = 256
    rate: float = 2e-3
    floor: float = 0.02  # of the rate, at the end
    warm_up: float = 0.02
    decay: float = 0.01
    averaging: float = 0.999  # momentum of the weights' average, which is what is kept
    grammars: int = GRAMMARS  # synthetic families, new each epoch
    seed: int = 0
    shape: Shape = Shape()


class Cancelled(Exception):
    """The run was asked to stop; its checkpoint remains."""


def train(
    sampler: Sampler,
    plan: Plan,
    run: Path,
    progress: Progress = lambda line: None,
    cancelled: Callable[[], bool] = lambda: False,
    loss: Callable[[Any, Any], Any] = masked_loss,
    start: Any = None,
) -> Any:
    """Train by the plan in the folder `run`, going on from its checkpoint if there is one; return the network.

    `start`: a network to begin from instead of a new one (fine-tuning). `progress` gets a line an epoch, the same as
    in the history. Raises `Cancelled`.
    """
    import keras

    run.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(plan.seed)
    network, epoch, spent = _resume(run, plan, loss, start)
    widths = encoder("segments-96").widths
    began = time.monotonic() - spent
    done = _done(plan, epoch, spent)
    while done < 1:
        sampler.renew(plan.grammars)
        total, batches, rows = 0.0, 0, 0
        for block in range(plan.blocks):
            if cancelled():
                raise Cancelled(f"cancelled in epoch {epoch + 1}")
            done = _done(plan, epoch + block / plan.blocks, time.monotonic() - began)
            if done >= 1:
                break
            network.optimizer.learning_rate.assign(rate_at(plan, done))
            for batch in sampler.batches(BLOCK, plan.batch_size, widths):
                total += float(network.train_on_batch(batch.x, batch.y))
                batches += 1
                rows += len(batch.x)
        epoch += 1
        spent = time.monotonic() - began
        done = _done(plan, epoch, spent)
        line = {"epoch": epoch, "done": round(min(done, 1.0), 4), "loss": total / max(batches, 1), "rows": rows,
                "seconds": round(spent, 1)}  # fmt: skip
        _checkpoint(run, network, plan, epoch, line)
        progress(line)
    return averaged(network, plan)


def rate_at(plan: Plan, done: float) -> float:
    """The learning rate when the share `done` of all steps is done."""
    if done < plan.warm_up:
        return plan.rate * max(done, 1e-4) / plan.warm_up
    fall = (done - plan.warm_up) / (1 - plan.warm_up)
    return plan.rate * (plan.floor + (1 - plan.floor) * 0.5 * (1 + math.cos(math.pi * fall)))


def _done(plan: Plan, epochs: float, seconds: float) -> float:
    return seconds / (60 * plan.minutes) if plan.minutes > 0 else epochs / plan.epochs


def averaged(network: Any, plan: Plan) -> Any:
    """A network for use, without optimizer: the running average of the weights."""
    result = build(plan.shape)
    result.set_weights(network.get_weights())
    means = getattr(network.optimizer, "_model_variables_moving_average", [])  # absent before the first step
    for target, mean in zip(result.trainable_variables, means, strict=bool(means)):
        target.assign(mean)
    return result


def history(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's history."""
    file = run / "history.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _resume(run: Path, plan: Plan, loss: Callable[[Any, Any], Any], start: Any) -> tuple[Any, int, float]:
    import keras

    state = run / "state.json"
    if state.exists():
        found = json.loads(state.read_text())
        if found["plan"] != msgspec.to_builtins(plan):
            raise ValueError(f"{run}: holds a run of another plan; expected the same plan, or a new folder")
        network = keras.saving.load_model(run / "checkpoint.keras", safe_mode=True,
                                          custom_objects={loss.__name__: loss})  # fmt: skip
        return network, int(found["epoch"]), float(found["seconds"])
    network = build(plan.shape)
    if start is not None:
        network.set_weights(start.get_weights())
    optimizer = keras.optimizers.AdamW(plan.rate, weight_decay=plan.decay, clipnorm=1.0,
                                       use_ema=True, ema_momentum=plan.averaging)  # fmt: skip
    network.compile(optimizer, loss, jit_compile=False)
    return network, 0, 0.0


def _checkpoint(run: Path, network: Any, plan: Plan, epoch: int, line: dict[str, Any]) -> None:
    """The checkpoint first, then the state that vouches for it."""
    network.save(run / "new.keras")
    os.replace(run / "new.keras", run / "checkpoint.keras")
    with (run / "history.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    (run / "state.new").write_text(
        json.dumps({"epoch": epoch, "seconds": line["seconds"], "plan": msgspec.to_builtins(plan)})
    )
    os.replace(run / "state.new", run / "state.json")
