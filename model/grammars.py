"""Random grammars: synthetic families of machine-made labels, a new set each epoch.

A grammar is a function from a random generator to a label, itself drawn at random: an alphabet and a length, a walk
of a linear congruential generator, syllables, a Markov chain, words, a damaged benign label. None of them is the
algorithm, the seed or the word list of a named malware: they are the space such algorithms come from.
"""

import random
import tomllib
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

Grammar = Callable[[random.Random], str]  # -> one label, 4 to 60 characters

LETTERS = "abcdefghijklmnopqrstuvwxyz"
DIGITS = "0123456789"
HEX = DIGITS + "abcdef"
VOWELS = "aeiou"
CONSONANTS = "bcdfghjklmnpqrstvwxyz"
ONSETS = tuple(
    "b bl br c ch cl cr d dr f fl fr g gl gr h j k kl kr l m n p ph pl pr qu r s sc sh sk sl sm sn sp st str t th tr v "
    "w z".split()
)
CODAS = ("", "", "", *"b ck d f g k l ll m n nd ng nt p r rd rk rt s ss st t th x z".split())


@lru_cache(maxsize=1)
def word_lists() -> list[list[str]]:
    """Everyday words, a list a language."""
    return [words.split() for words in tomllib.loads((Path(__file__).parent / "words.toml").read_text()).values()]


def draw(rng: random.Random, labels: Sequence[str]) -> Grammar:
    """Draw a grammar; `labels` are benign ones, for its statistics and for edits."""
    return rng.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])[0](rng, labels)


def _length(rng: random.Random, low: int, high: int) -> Callable[[random.Random], int]:
    """A law of lengths within [low, high]: one length, or a range of them."""
    first = rng.randint(low, high)
    last = first if rng.random() < 0.45 else min(high, first + rng.randint(1, 12))
    return lambda r: r.randint(first, last)


def _alphabet(rng: random.Random, labels: Sequence[str]) -> Grammar:
    choice = rng.random()
    if choice < 0.5:
        alphabet = LETTERS
    elif choice < 0.7:
        alphabet = LETTERS + DIGITS
    elif choice < 0.85:
        alphabet = "".join(rng.sample(LETTERS, rng.randint(8, 25)))
    else:
        alphabet = "".join(rng.sample(LETTERS + DIGITS, rng.randint(10, 32)))
    length = _length(rng, 7 if len(alphabet) < 30 else 6, 30)
    weights = [rng.random() + 0.3 for _ in alphabet] if rng.random() < 0.25 else None
    return lambda r: "".join(r.choices(alphabet, weights, k=length(r)))


def _hex(rng: random.Random, labels: Sequence[str]) -> Grammar:
    length = _length(rng, 8, 40)
    head = "".join(rng.choices(LETTERS, k=rng.randint(1, 3))) if rng.random() < 0.3 else ""
    return lambda r: head + "".join(r.choices(HEX, k=length(r)))


def _congruential(rng: random.Random, labels: Sequence[str]) -> Grammar:
    """Letters by the low or high bits of a congruential walk, whose period and bias leave a trace."""
    modulus = rng.choice([2**16, 2**24, 2**31 - 1, 2**32, rng.randint(10_000, 10_000_000)])
    factor, step = rng.randrange(3, modulus, 2), rng.randrange(1, modulus, 2)
    alphabet = rng.choice([LETTERS, LETTERS, LETTERS[: rng.randint(16, 26)], LETTERS + DIGITS])
    shift, length = rng.choice([0, 0, 8, 16]), _length(rng, 7, 26)

    def make(r: random.Random) -> str:
        state, out = r.randrange(modulus), []
        for _ in range(length(r)):
            state = (state * factor + step) % modulus
            out.append(alphabet[(state >> shift) % len(alphabet)])
        return "".join(out)

    return make


def _alternating(rng: random.Random, labels: Sequence[str]) -> Grammar:
    """Consonants and vowels by a pattern, drawn evenly: spoken, but by nobody."""
    vowels = "".join(rng.sample(VOWELS + "y", rng.randint(3, 6)))
    consonants = "".join(rng.sample(CONSONANTS, rng.randint(8, 21)))
    pattern = rng.choice(["cv", "cvc", "vc", "cvcc", "cvv", "ccv", "cvcv"])
    length = _length(rng, 8, 22)

    def make(r: random.Random) -> str:
        start = r.randrange(len(pattern))
        return "".join(
            r.choice(vowels if pattern[(start + i) % len(pattern)] == "v" else consonants) for i in range(length(r))
        )

    return make


def _syllables(rng: random.Random, labels: Sequence[str]) -> Grammar:
    parts = [rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(rng.randint(20, 150))]
    low = rng.randint(3, 4)
    high = low + rng.randint(0, 3)
    return lambda r: "".join(r.choices(parts, k=r.randint(low, high)))


def _markov(rng: random.Random, labels: Sequence[str]) -> Grammar:
    """A chain of order 1 to 3 over a few benign labels: their sounds without their words."""
    order = rng.choice([1, 1, 2, 2, 3])
    following: dict[str, str] = {}
    for label in rng.choices(labels, k=rng.randint(60, 200)):
        padded = "^" * order + label
        for i in range(order, len(padded)):
            following[padded[i - order : i]] = following.get(padded[i - order : i], "") + padded[i]
    length = _length(rng, 9, 22)

    def make(r: random.Random) -> str:
        text, wanted = "^" * order, length(r)
        while len(text) < wanted + order:
            text += r.choice(following.get(text[-order:]) or LETTERS)
        return text[order:]

    return make


def _words(rng: random.Random, labels: Sequence[str]) -> Grammar:
    """Two to four words of one small list, with a joint, an affix, or cut short: many words make it unlikely."""
    words = rng.choice(word_lists())
    pool = rng.sample(words, min(len(words), rng.randint(20, 120)))
    count = rng.choice([2, 3, 3, 4])
    joint = rng.choice(["", "", "", "-"])
    cut = rng.choice([0, 0, 0, 3, 4])
    return lambda r: joint.join(word[: cut or None] for word in r.choices(pool, k=count))


def _affixed(rng: random.Random, labels: Sequence[str]) -> Grammar:
    """A fixed word or label with random characters behind or before it."""
    stem = rng.choice(rng.choice(word_lists()))
    alphabet = rng.choice([LETTERS, HEX, LETTERS + DIGITS])
    length, behind = _length(rng, 5, 14), rng.random() < 0.7
    joint = rng.choice(["", "", "-"])

    def make(r: random.Random) -> str:
        tail = "".join(r.choices(alphabet, k=length(r)))
        return stem + joint + tail if behind else tail + joint + stem

    return make


def _edited(rng: random.Random, labels: Sequence[str]) -> Grammar:
    """Benign labels with several characters replaced."""
    edits = rng.randint(2, 4)

    def make(r: random.Random) -> str:
        text = list(r.choice(labels))
        for _ in range(edits):
            text[r.randrange(len(text))] = r.choice(LETTERS)
        return "".join(text)

    return make


def _shuffled(rng: random.Random, labels: Sequence[str]) -> Grammar:
    """The characters of benign labels in another order: right letters, wrong neighbours."""

    def make(r: random.Random) -> str:
        text = r.choice(labels)
        while len(text) < 9:
            text += r.choice(labels)
        return "".join(r.sample(text, len(text)))[:24]

    return make


KINDS: tuple[tuple[Callable[[random.Random, Sequence[str]], Grammar], float], ...] = (
    (_alphabet, 0.34), (_hex, 0.11), (_congruential, 0.14), (_alternating, 0.09), (_syllables, 0.06),
    (_markov, 0.08), (_words, 0.06), (_affixed, 0.04), (_edited, 0.02), (_shuffled, 0.06),
)  # fmt: skip


def sample(rng: random.Random, labels: Sequence[str], grammars: int, each: int) -> list[str]:
    """`each` labels of each of `grammars` new grammars; those that could not be a DNS label are left out."""
    out = []
    for _ in range(grammars):
        grammar = draw(rng, labels)
        for _ in range(each):
            label = grammar(rng).strip("-")[:60]
            if len(label) >= 4:
                out.append(label)
    return out
