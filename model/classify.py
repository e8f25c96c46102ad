"""Offline classification: names in, one line each out, in input order, in flat memory."""

import codecs
import json
import select
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from queue import Queue
from typing import IO, Any, NamedTuple

from model.explain import explain
from model.scorer import Scorer
from verdicts.names import BadName, ineligible, strip_service, typed
from verdicts.policy import Policy, Verdict, decide

CHUNK = 32_768  # names scored together at most
BLOCK = 1 << 16  # octets read at once
WAITING = 16  # blocks read ahead
LONGEST = 4096  # octets of a line that are looked at; the longest name has 1,012 in presentation form


class Judged(NamedTuple):
    """A name as it came, as it was judged, and its verdict (None: it is no domain name)."""

    name: str
    qname: str
    verdict: Verdict | None


def judge(chunk: Sequence[str], scorer: Scorer) -> Iterator[Judged]:
    """Judge these names together, with a model alone, no lists."""
    policy, thresholds = Policy(), scorer.artifact.thresholds()
    qnames = [_normalised(name) for name in chunk]
    reasons = [None if qname is None else ineligible(strip_service(qname)) for qname in qnames]
    asked = [q for q, reason in zip(qnames, reasons, strict=True) if q is not None and reason is None]
    scores = iter(scorer(scorer.encoding(asked)).tolist())
    for name, qname, reason in zip(chunk, qnames, reasons, strict=True):
        if qname is None:
            yield Judged(name, "", None)
        elif reason is not None:
            yield Judged(name, qname, decide(policy, thresholds, None, reason))
        else:
            generated, score = next(scores)
            yield Judged(name, qname, decide(policy, thresholds, None, None, generated, score))


def arriving(stream: IO[bytes]) -> Iterator[list[str]]:
    """The names of a stream, one a line, as they come: few at once where lines trickle, many where they pour.

    Blank lines are passed over, blanks around a name taken off, and the mark of UTF-8 before the first. Octets that are
    no UTF-8 are written as `\\DDD`. Of a line without end only the beginning is kept. A thread reads ahead, within a
    bound; `stream` must be unbuffered, for a buffer that the thread holds ends Python with an abort. Raises OSError,
    after the whole lines before it, where the stream cannot be read to its end.
    """
    blocks: Queue[bytes] = Queue(WAITING)
    failed: list[OSError] = []
    threading.Thread(target=_read, args=(stream, blocks, failed), daemon=True).start()
    rest, more, mark = b"", True, codecs.BOM_UTF8
    while more:
        read = [blocks.get()]
        while read[-1] and not blocks.empty():
            read.append(blocks.get())
        more = bool(read[-1])
        *lines, rest = (rest + b"".join(read)).split(b"\n")
        rest = rest[:LONGEST]
        if not more and not failed:
            lines.append(rest)
        if lines:
            lines[0], mark = lines[0].removeprefix(mark), b""
        names = [as_text(name) for line in lines if (name := line.strip())]
        for start in range(0, len(names), CHUNK):
            yield names[start : start + CHUNK]
    if failed:
        raise failed[0]


def _read(stream: IO[bytes], blocks: Queue[bytes], failed: list[OSError]) -> None:
    """Hand over what comes, and an empty block at the end; why it ended early, into `failed`."""
    block = b"more"
    while block:
        try:
            block = stream.read(BLOCK)
            while block is None:  # whoever has the other end made it one that does not wait
                select.select([stream], [], [])
                block = stream.read(BLOCK)
        except OSError as error:
            failed.append(error)
            block = b""
        except ValueError:  # it was closed
            block = b""
        blocks.put(block)


def as_text(name: bytes) -> str:
    """A name's octets as text, those that are no UTF-8 as `\\DDD`."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return "".join(chr(octet) if octet < 0x80 else f"\\{octet:03d}" for octet in name)


def as_line(judged: Judged) -> str:
    """Name, label, score, generated, separated by tabs; what cannot be printed is escaped; no name: malformed."""
    verdict = judged.verdict
    name = judged.name if judged.name.isprintable() else "".join(map(_printable, judged.name))
    if verdict is None:
        return f"{name}\tmalformed\t0\t0"
    return f"{name}\t{verdict.label}\t{verdict.score:.6g}\t{verdict.generated:.6g}"


def as_json(judged: Judged, scorer: Scorer, explained: bool) -> str:
    """One JSON object: the above, with tier and rule, and the explanation where it is asked for."""
    verdict = judged.verdict
    if verdict is None:
        return json.dumps({"name": judged.name, "label": "malformed", "rule": "malformed"})
    found: dict[str, Any] = {
        "name": judged.name, "label": verdict.label, "score": verdict.score, "generated": verdict.generated,
        "tier": verdict.tier, "rule": verdict.rule,
    }  # fmt: skip
    if explained and verdict.source == "model":
        found["explanation"] = explain(scorer, judged.qname)
    return json.dumps(found)


def as_picture(explanation: dict[str, Any]) -> str:
    """The explanation for a terminal: below the name a mark for each character that raised (+) or lowered (-) it."""
    weights = [character["weight"] for character in explanation["characters"]]
    strongest = max((abs(weight) for weight in weights), default=0) or 1.0
    marks = "".join(_mark(weight / strongest) for weight in weights)
    nearest = explanation["nearest"]
    family = f"; nearest family {nearest['family']} ({nearest['share']:.0%})" if nearest else ""
    return f"  {explanation['name']}\n  {marks}\n  head {explanation['head']}, tier {explanation['tier']}{family}"


def _mark(share: float) -> str:
    if share >= 0.33:
        return "#" if share >= 0.66 else "+"
    return "=" if share <= -0.66 else "-" if share <= -0.33 else " "


def _printable(character: str) -> str:
    """The character, or its octets as they are written in a name."""
    if character.isprintable():
        return character
    return "".join(f"\\{octet:03d}" for octet in character.encode("utf-8", "surrogatepass"))


def _normalised(name: str) -> str | None:
    with suppress(BadName):
        return typed(name)
    return None
