"""Training, read top to bottom: draw, step, note, checkpoint; it stops when asked and goes on where it was.

A run is a folder: `checkpoint.keras` (network with optimizer), `average.keras` (its averaged weights, which are what is
kept), `state.json` (how far) and `history.jsonl` (a line an epoch). An epoch is `steps` blocks drawn anew, not a pass
over the data: kinds are balanced, so rows repeat unequally.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from model import attention
from model.attention import characters_loss, hide
from model.distil import Teachers, distilled_loss, distilled_low_rate_loss
from model.encoding import Rows
from model.network import build, low_rate_loss, masked_loss
from model.plan import Plan, rate_at
from model.sampling import Sampler
from model.wide import by_words, carry, layers_of
from verdicts.files import READABLE, sync_directory, sync_file, write_atomically

Progress = Callable[[dict[str, Any]], None]
BLOCK = 16_384  # rows drawn at once
# Rows of a batch are about equally long, and padding costs time: narrower than serving's, where each width and batch
# size is a graph of its own.
WIDTHS = (12, 16, 20, 24, 32, 48, 96)
COMPARED_WIDTHS = (32, 96)  # where names of a batch are compared, names of all lengths should meet

PLAIN, DISTILLED = (
    (masked_loss, low_rate_loss),
    (distilled_loss, distilled_low_rate_loss),
)  # before mining, and from then on
LOSSES = {loss.__name__: loss for loss in (*PLAIN, *DISTILLED, characters_loss)}  # that a checkpoint may name
# Of a teacher, while it reads and afterwards: the weights of heads and of hidden characters, the share that is hidden.
READS, JUDGES = ((0.1, 1.0), 0.2), ((1.0, 0.1), 0.05)


class Cancelled(Exception):
    """The run was asked to stop; its checkpoint remains."""


def train(
    sampler: Sampler,
    plan: Plan,
    run: Path,
    progress: Progress = lambda line: None,
    cancelled: Callable[[], bool] = lambda: False,
    start: Any = None,
    clock: Callable[[], float] = time.monotonic,
    teachers: Sequence[Any] = (),
) -> Any:
    """Train by the plan in the folder `run`, going on from its checkpoint if there is one; return the network.

    `start`: a network to begin from instead of a new one; the result is then midway between the two, unless teachers or
    one head alone hold it in place.
    `teachers`: networks whose common judgment is taught too. `progress` gets a line an epoch, the same as in the
    history. `clock` counts the seconds of `minutes`; `time.process_time` is fair
    to networks that are compared on a busy machine. Raises `Cancelled`.
    """
    import keras

    run.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(plan.seed)
    before, mined = DISTILLED if teachers else PLAIN
    network, average, epoch, spent = _resume(run, plan, start, before)
    judges, averaged = judging(average), by_words(average, plan.head) if plan.head else average
    asked = Teachers(teachers)
    widths: tuple[int, ...] = WIDTHS
    began = clock() - spent
    done = _done(plan, epoch, spent)
    reads = _reads(plan, done)
    while done < 1:
        sampler.renew(plan.grammars, epoch)
        total, batches, rows = 0.0, 0, 0
        for block in range(plan.blocks):
            _heed(cancelled, epoch)
            done = _done(plan, epoch + block / plan.blocks, clock() - began)
            if done >= 1 and batches:  # of however little time: a network that learnt nothing is none
                break
            if reads and not _reads(plan, done):
                reads = False
                _compile(network, network.optimizer, before, plan, done)
            if done >= plan.mining and widths is WIDTHS and len(sampler.benign_rows):
                sampler.mine(logits(judges, sampler.benign_rows)[:, 0])
                _compile(network, network.optimizer, mined, plan, done)
                widths = COMPARED_WIDTHS
            network.optimizer.learning_rate.assign(rate_at(plan, done))
            for batch in sampler.batches(BLOCK, plan.batch_size, widths, plan.crossed, plan.altered):
                _heed(cancelled, epoch)  # a teacher's block takes minutes without a GPU
                truth = asked.tell(batch.x, batch.y) if teachers else batch.y
                if plan.head:
                    truth = _of_head(truth, plan.head)
                if plan.attention is None:
                    total += float(network.train_on_batch(batch.x, truth))
                else:
                    shown, hidden = hide(sampler.rng, batch.x, (READS if reads else JUDGES)[1])
                    total += float(network.train_on_batch(shown, [truth, hidden])[0])
                batches += 1
                rows += len(batch.x)
            blend(averaged, network, 1 / max(1.0, plan.averaging * (epoch * plan.blocks + block + 1)))
        epoch += 1
        spent = clock() - began
        done = _done(plan, epoch, spent)
        line = {"epoch": epoch, "done": round(min(done, 1.0), 4), "loss": total / max(batches, 1), "rows": rows,
                "seconds": round(spent, 1)}  # fmt: skip
        _checkpoint(run, network, average, plan, epoch, line)
        progress(line)
    if start is not None and not teachers and not plan.head:
        blend(average, _copied(start, plan), 0.5)  # whose layers are in this one's order
    return judges


def _of_head(truth: NDArray[np.float32], head: str) -> NDArray[np.float32]:
    """What teaches this head's wide part alone, (B, 2); whether generated names are malicious, the network tells."""
    if head == "malicious":
        return np.where(truth == 1, np.float32(-1), truth)
    return np.stack([truth[:, 0], np.full(len(truth), -1, np.float32)], axis=1)


def _heed(cancelled: Callable[[], bool], epoch: int) -> None:
    if cancelled():
        raise Cancelled(f"cancelled in epoch {epoch + 1}")


def blend(average: Any, network: Any, share: float) -> None:
    """Move the weights of `average` by this share towards those of `network`.

    Once a block, by a share that falls as the run goes on, this is an average over a fixed share of the way (Karras
    et al. 2024, "Analyzing and improving the training dynamics of diffusion models"): a short run's is not weighed
    down by where it began. Once, by a half, it is a fine-tuned network that is no worse at what it was not tuned for
    (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
    """
    pairs = zip(average.get_weights(), network.get_weights(), strict=True)
    average.set_weights([one + share * (other - one) for one, other in pairs])


def logits(network: Any, x: Rows) -> NDArray[np.float32]:
    """The network's outputs of encoded names, uint8 (N, 96) -> (N, 2), each name in the narrowest graph it fits."""
    out = np.zeros((len(x), 2), np.float32)
    length = x.shape[1] - np.argmax(x[:, ::-1] > 0, axis=1)
    for low, width in zip((0, *WIDTHS), WIDTHS, strict=False):
        fit = np.flatnonzero((length > low) & (length <= width))
        if len(fit):
            out[fit] = network.predict(x[fit, :width].astype(np.int32), batch_size=4096, verbose=0)
    return out


def judging(network: Any) -> Any:
    """The network that gives logits (B, 2): itself, or what a teacher is without its reading."""
    import keras

    return network if len(network.outputs) == 1 else keras.Model(network.input, network.outputs[0])


def _done(plan: Plan, epochs: float, seconds: float) -> float:
    return seconds / (60 * plan.minutes) if plan.minutes > 0 else epochs / plan.epochs


def history(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's history."""
    file = run / "history.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _resume(run: Path, plan: Plan, start: Any, loss: Callable[[Any, Any], Any]) -> tuple[Any, Any, int, float]:
    import keras

    state = run / "state.json"
    if state.exists():
        try:
            found = json.loads(state.read_text())
            network = keras.saving.load_model(run / "checkpoint.keras", safe_mode=True, custom_objects=LOSSES)
            average = keras.saving.load_model(run / "average.keras", safe_mode=True)
        except Exception as error:  # cut short when the machine went down; Keras raises many kinds
            raise ValueError(f"{run}: a checkpoint that cannot be read ({error}); expected a new folder") from error
        if found["plan"] != msgspec.to_builtins(plan):
            raise ValueError(f"{run}: holds a run of another plan; expected the same plan, or a new folder")
        epoch, spent = int(found["epoch"]), float(found["seconds"])
        _keep_history(run, epoch)
        # It was written with the weights of the epoch before, in which a teacher may have read.
        _compile(network, network.optimizer, loss, plan, _done(plan, epoch, spent))
        return network, average, epoch, spent
    _keep_history(run, 0)
    begun = _new(plan) if start is None else _copied(start, plan)
    network = begun
    if plan.head:
        network = by_words(begun, plan.head)
        for layer in network.layers:
            layer.trainable = layer.name in layers_of(plan.head)
    optimizer = keras.optimizers.AdamW(plan.rate, weight_decay=plan.decay, clipnorm=1.0)
    optimizer.build(network.trainable_variables)  # TensorFlow traces twice a step that makes variables
    _compile(network, optimizer, loss, plan, 0.0)
    average = _new(plan)
    average.set_weights(begun.get_weights())  # to mine by at once; the first block replaces them
    return network, average, 0, 0.0


def _new(plan: Plan) -> Any:
    return build(plan.shape) if plan.attention is None else attention.build(plan.attention)


def _copied(start: Any, plan: Plan) -> Any:
    network = _new(plan)
    if plan.shape.grams:
        carry(start, network)
    else:
        network.set_weights(start.get_weights())
    return network


def _reads(plan: Plan, done: float) -> bool:
    return plan.attention is not None and done < plan.reading


def _compile(network: Any, optimizer: Any, loss: Callable[[Any, Any], Any], plan: Plan, done: float) -> None:
    if plan.attention is None:
        network.compile(optimizer, loss, jit_compile=False)
    else:
        weights = list((READS if _reads(plan, done) else JUDGES)[0])
        network.compile(optimizer, [loss, characters_loss], loss_weights=weights, jit_compile=False)


def _keep_history(run: Path, epochs: int) -> None:
    """Leave only the lines that the state vouches for: a run killed between the two has one more, or a part of one."""
    file = run / "history.jsonl"
    if file.exists():
        lines = file.read_text().splitlines(keepends=True)
        if len(lines) > epochs:
            write_atomically(file, "".join(lines[:epochs]).encode(), READABLE)


def _checkpoint(run: Path, network: Any, average: Any, plan: Plan, epoch: int, line: dict[str, Any]) -> None:
    """The networks first, on disk, then the state that vouches for them. Raises OSError, which names the folder."""
    state = {"epoch": epoch, "seconds": line["seconds"], "plan": msgspec.to_builtins(plan)}
    try:
        for name, kept in (("checkpoint.keras", network), ("average.keras", average)):
            kept.save(run / "new.keras")
            sync_file(run / "new.keras")
            os.replace(run / "new.keras", run / name)
        with (run / "history.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        sync_file(run / "history.jsonl")
        sync_directory(run)
        write_atomically(run / "state.json", json.dumps(state).encode(), READABLE)
    except OSError as error:
        (run / "new.keras").unlink(missing_ok=True)
        raise OSError(f"{run}: no checkpoint of epoch {epoch}: {error}") from error
