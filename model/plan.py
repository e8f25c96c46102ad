"""How a network is trained: the plan of a training, and those of its kinds."""

import math
from collections.abc import Sequence

import msgspec

from model.attention import Attention
from model.network import Shape
from model.sampling import GRAMMARS
from model.wide import BUCKETS, HEADS

SHARES = {"": 0.8, "malicious": 0.15, "generated": 0.05}  # of a new network's time: of its stages, by head


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to train. The learning rate rises for `warm_up` of the way, then falls along a cosine.

    The way ends after `epochs`, or, where `minutes` is more than 0, when that much time is spent.
    """

    epochs: int = 20
    minutes: float = 0.0
    blocks: int = 25  # of an epoch, 16,384 rows each
    batch_size: int = 1024
    rate: float = 3e-3
    floor: float = 0.01  # of the rate, at the end
    warm_up: float = 0.02
    decay: float = 0.02
    averaging: float = 0.1  # share of the way so far that the average of the weights, which is what is kept, spans
    grammars: int = GRAMMARS  # synthetic families, new each epoch; 0: none
    mining: float = 0.85  # from this share of the way on, hard benign names are drawn more often and compared with
    crossed: float = 0.0  # share of the rows that are crossed of two names, for teachers to tell of
    altered: bool = True  # whether some names have a character replaced, lose their suffix or get another
    teachers: list[str] = []  # versions, for the record
    head: str = ""  # of a trained network the wide part of this head alone is taught; all else stays as it is
    seed: int = 0
    shape: Shape = Shape(places=16, place_channels=80, dense=256)
    attention: Attention | None = None  # a teacher instead of a network of this shape
    reading: float = 0.25  # of a teacher's way, on which it learns what names look like


def reading(plan: Plan) -> Plan:
    """The plan for a teacher."""
    return msgspec.structs.replace(plan, rate=1e-3, mining=0.775, attention=Attention())


def tuning(plan: Plan) -> Plan:
    """The plan for going on from a trained network: short, at a fifth of the rate, with the hard benign names."""
    return msgspec.structs.replace(plan, epochs=3, rate=plan.rate / 5, warm_up=0.1, mining=0.0)


def alone(plan: Plan, head: str) -> Plan:
    """The plan for teaching a trained network the wide part of this head alone; it is given one if it has none."""
    had = plan.shape.worded if plan.shape.grams else []
    worded = [name for name in HEADS if name in (*had, head)]
    shape = msgspec.structs.replace(plan.shape, grams=plan.shape.grams or max(BUCKETS.values()), worded=worded)
    plan = msgspec.structs.replace(plan, epochs=10, rate=1e-2, mining=1.0, head=head, shape=shape)
    if head == "malicious":
        return plan
    # Random grammars have any form under any suffix, and an edited benign name looks random: beside them a form tells
    # little. In more and smaller steps families are known by heart.
    return msgspec.structs.replace(plan, epochs=4, batch_size=2048, grammars=0, altered=False)


def stages(plan: Plan) -> list[Plan]:
    """The plans of a new network, one after the other: the network itself by this plan, then the wide part of each
    head: each for its share of the minutes, or of epochs as many as suit this plan's."""
    found, whole = [plan], Plan().epochs
    for head in list(SHARES)[1:]:
        words = alone(msgspec.structs.replace(found[-1], teachers=[], crossed=0.0), head)
        epochs = max(1, round(words.epochs * plan.epochs / whole))
        found.append(msgspec.structs.replace(words, epochs=epochs, minutes=plan.minutes * SHARES[head]))
    return [msgspec.structs.replace(plan, minutes=plan.minutes * SHARES[""]), *found[1:]]


def distilling(plan: Plan, teachers: Sequence[str]) -> Plan:
    """The plan for learning from these versions: at half the rate, with crossed names."""
    return msgspec.structs.replace(plan, epochs=15, rate=plan.rate / 2, crossed=0.25, teachers=list(teachers))


def rate_at(plan: Plan, done: float) -> float:
    """The learning rate when the share `done` of all steps is done: a rise and a cosine, of a teacher two."""
    if plan.attention is not None:
        once = msgspec.structs.replace(plan, attention=None)
        if done < plan.reading:
            return rate_at(once, done / plan.reading)
        return rate_at(once, (done - plan.reading) / (1 - plan.reading)) / 2
    if done < plan.warm_up:
        return plan.rate * max(done, 1e-4) / plan.warm_up
    fall = (done - plan.warm_up) / (1 - plan.warm_up)
    return plan.rate * (plan.floor + (1 - plan.floor) * 0.5 * (1 + math.cos(math.pi * fall)))
