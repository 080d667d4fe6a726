"""What was measured, and what is made of it: medians, quartiles, ratios within a round."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

What = Literal["cpu", "wall"]


class Turn(NamedTuple):
    """What one turn of one contestant cost.

    Args:
        cpu: seconds of CPU a call, user and system, all threads of the process.
        wall: seconds a call: those of the turn, divided by its calls.
        peak: most bytes that the process held, or None where the system does not tell.
    """

    cpu: float
    wall: float
    peak: int | None


class Spread(NamedTuple):
    """A median and its quartiles."""

    low: float
    median: float
    high: float


@dataclass
class Cell:
    """One row of one contestant: its turns by round, or why there are none."""

    turns: dict[int, Turn] = field(default_factory=dict)
    missing: str = ""

    def spread(self, what: What) -> Spread:
        """Return the median and the quartiles over the rounds."""
        return spread([getattr(turn, what) for turn in self.turns.values()])

    def peak(self) -> float | None:
        """Return the median of the peaks, in bytes."""
        peaks = [turn.peak for turn in self.turns.values() if turn.peak is not None]
        return statistics.median(peaks) if peaks else None

    def over(self, other: Cell, what: What) -> Spread | None:
        """Return how many times as much this took as the other: ratios within a round, then their spread."""
        both = [number for number in self.turns if number in other.turns]
        if not both:
            return None
        return spread([getattr(self.turns[number], what) / getattr(other.turns[number], what) for number in both])


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the quartiles; of a single value, three times itself."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    return Spread(*statistics.quantiles(values, n=4, method="inclusive"))
