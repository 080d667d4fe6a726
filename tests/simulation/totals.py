"""Many worlds, one seed after another, on all cores: how much was played, and what is broken in it."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from multiprocessing import get_context

from simulation.checks import broken
from simulation.replay import check_i14, recorded
from simulation.scenarios import play
from simulation.world import History

BATCH = 3  # worlds that a process plays before it says how it went
MOST_BROKEN = 20  # seeds after which no more are played: there is enough to look at


@dataclass(slots=True)
class Totals:
    """What was played.

    Args:
        worlds: how many.
        calls: in all of them together.
        outages: by kind: the episodes of faults that struck at least one request.
        broken: by seed, the invariants that do not hold in its world, each with what was found.
    """

    worlds: int = 0
    calls: int = 0
    outages: Counter[str] = field(default_factory=Counter)
    broken: dict[int, dict[str, str]] = field(default_factory=dict)

    def add(self, other: Totals) -> None:
        """Add what was played elsewhere."""
        self.worlds += other.worlds
        self.calls += other.calls
        self.outages.update(other.outages)
        self.broken.update(other.broken)

    def report(self) -> str:
        """Say it in a few lines."""
        kinds = ", ".join(f"{kind} {number:,}" for kind, number in sorted(self.outages.items()))
        lines = [f"{self.worlds:,} worlds, {self.calls:,} calls, {self.outages.total():,} outages: {kinds}"]
        for seed, found in sorted(self.broken.items()):
            lines += [f"seed {seed} breaks {name}: {words}" for name, words in found.items()]
            lines.append(f"    {again(seed)}")
        lines.append(f"seeds that break an invariant: {', '.join(map(str, sorted(self.broken))) or 'none'}")
        return "\n".join(lines)


def again(seed: int) -> str:
    """Return the command that plays a world once more."""
    return f"python tests/simulation --seed {seed}"


def examine(seed: int) -> tuple[History, dict[str, str]]:
    """Play the world of a seed, and look for what is broken in it."""
    with recorded() as tapes:
        history = play(seed)
    found = broken(history)
    try:
        check_i14(tapes)
    except AssertionError as error:
        found["I14"] = str(error)
    return history, found


def play_range(first: int, worlds: int, enough: float = float("inf")) -> Totals:
    """Play the worlds of so many seeds, one after another, or only until there were enough outages."""
    totals = Totals()
    for seed in range(first, first + worlds):
        if totals.outages.total() >= enough or len(totals.broken) >= MOST_BROKEN:
            break
        history, found = examine(seed)
        totals.worlds += 1
        totals.calls += len(history.calls)
        totals.outages.update(
            one.kind if target != "store" else f"store {one.kind}"
            for target, episodes in history.episodes.items()
            for one in episodes
            if one.met
        )
        if found:
            totals.broken[seed] = found
    gc.collect()  # a world is full of cycles, and where many are played nobody else looks for them
    return totals


def play_outages(outages: int, first: int, processes: int | None = None) -> Iterator[Totals]:
    """Play worlds on all cores until there were so many outages; yield the totals so far, again and again.

    They are the same for the same arguments, however many processes there are.
    """
    processes = processes or os.cpu_count() or 1
    totals = Totals()
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=gc.disable) as pool:
        starts = count(first, BATCH)
        under_way = [pool.submit(play_range, next(starts), BATCH) for _ in range(2 * processes)]
        while totals.outages.total() < outages and len(totals.broken) < MOST_BROKEN:
            totals.add(under_way.pop(0).result())
            under_way.append(pool.submit(play_range, next(starts), BATCH))
            yield totals
        for rest in under_way:
            rest.cancel()
