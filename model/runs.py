"""Which sizes and widths of rows a batch runs on: names of like length together, in sizes that waste little on padding.

What a run costs was measured for the released network on one core (AVX2): a fixed part, and for each row, padding
included, one proportional to its width plus what is done once a name. Only the ratios matter.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

ONCE = 20  # what a row costs beside its positions, in positions
START = 1600  # what a run costs before its first row, in positions, on a CPU
# On a GPU a run of any size is little more than the start of its kernels: split only what is too much for one.
START_GPU = 1 << 18


class Run(NamedTuple):
    """Rows `first` to `last` (excluded) of a batch sorted by width, on the graph of this size and width."""

    first: int
    last: int
    size: int
    width: int


class Runs:
    """Plans batches for graphs of these sizes and widths, both rising; `start` is the fixed part of a run's cost.

    Sizes up to `few` come in the two widest widths alone: there the fixed part outweighs what a narrow graph spares.
    """

    def __init__(self, sizes: Sequence[int], widths: Sequence[int], few: int = 0, start: int = START) -> None:
        self._sizes, self._widths, self._start = tuple(sizes), tuple(widths), start
        self._few = few
        self._sized = lru_cache(maxsize=16_384)(self._cheapest)

    @property
    def graphs(self) -> list[tuple[int, int]]:
        """Size and width of every graph that a plan may name."""
        return [(size, width) for size in self._sizes for width in self._widths if self.width(size, width) == width]

    def plan(self, counts: Sequence[int]) -> list[Run]:
        """The runs for a batch with so many rows of each width (the narrowest that holds the row), narrowest first."""
        # best[i]: cost and runs (width, sizes, rows) of all rows from width i on; a row may run wider than it needs
        best: list[tuple[int, list[tuple[int, tuple[int, ...], int]]]] = [(0, [])]
        for low in reversed(range(len(counts))):
            found: list[tuple[int, list[tuple[int, tuple[int, ...], int]]]] = []
            for high in range(low, len(counts)):
                rows = sum(counts[low : high + 1])
                cost, sizes = self._sized(rows, self._widths[high])
                rest = best[len(counts) - 1 - high]
                found.append((cost + rest[0], [(self._widths[high], sizes, rows), *rest[1]]))
            best.append(min(found, key=lambda each: each[0]))
        runs, first = [], 0
        for width, sizes, rows in best[-1][1]:
            end = first + rows
            for size in sizes:
                last = min(first + size, end)
                runs.append(Run(first, last, size, self.width(size, width)))
                first = last
        return runs

    def _cheapest(self, rows: int, width: int) -> tuple[int, tuple[int, ...]]:
        """Cost and sizes, largest first, for this many rows of one width."""
        if rows == 0:
            return 0, ()
        largest = self._sizes[-1]
        if rows > largest:
            full = (rows - 1) // largest
            cost, sizes = self._sized(rows - full * largest, width)
            return full * self._cost(largest, width) + cost, (largest,) * full + sizes
        cover = next(size for size in self._sizes if size >= rows)
        found: list[tuple[int, tuple[int, ...]]] = [(self._cost(cover, width), (cover,))]
        below = [size for size in self._sizes if size < rows]
        if below:
            cost, sizes = self._sized(rows - below[-1], width)
            found.append((self._cost(below[-1], width) + cost, (below[-1], *sizes)))
        return min(found, key=lambda each: each[0])

    def _cost(self, size: int, width: int) -> int:
        return self._start + size * (ONCE + self.width(size, width))

    def width(self, size: int, width: int) -> int:
        """Of the graph of this size that takes rows of this width."""
        return max(width, self._widths[-2:][0]) if size <= self._few else width
