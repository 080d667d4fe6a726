"""What the benchmarks share: rounds in which everybody has a turn, and the table of what came out.

The machine is never quiet, so nothing is measured alone: in every round each contender makes its calls once, the
order turns from round to round, and ratios are taken within a round before their median is. CPU time (of this process,
all its threads) says what the code costs; wall time holds the waiting too. The minimum is the cost when nothing
disturbed; the median and the tenth that was slowest tell how much did.
"""

import asyncio
import gc
import itertools
import os
import statistics
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

WARM_UP = 3  # turns whose time does not count: imports, connections and caches are made in them
FEWEST_ROUNDS = 3
MICROSECOND = 1e-6  # seconds
MILLISECOND = 1e-3


@dataclass
class Timing:
    """Seconds per call, one entry a round."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)


def compare(turns: Mapping[str, Callable[[], object]], *, calls: int, seconds: float) -> dict[str, Timing]:
    """Measure contenders side by side.

    Args:
        turns: for each contender a function that makes `calls` calls.
        calls: how many calls one turn makes.
        seconds: how long to go on, the warming up not counted; a few rounds are played in any case.
    """
    timings = {name: Timing() for name in turns}
    for turn in turns.values():
        for _ in range(WARM_UP):
            turn()
    gc.collect()
    gc.freeze()  # collecting below is about what the turns leave behind, not about all that was ever imported
    names = list(turns)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(timings[names[0]].cpu) < FEWEST_ROUNDS:
        for name in names:
            gc.collect()  # nobody pays for what the one before left behind
            cpu, wall = time.process_time(), time.perf_counter()
            turns[name]()
            timings[name].cpu.append((time.process_time() - cpu) / calls)
            timings[name].wall.append((time.perf_counter() - wall) / calls)
        names.append(names.pop(0))
    gc.unfreeze()
    return timings


def repeated(call: Callable[[], object], calls: int) -> Callable[[], object]:
    """Return a turn that makes so many calls."""

    def turn() -> None:
        for _ in itertools.repeat(None, calls):
            call()

    return turn


def repeated_async(runner: asyncio.Runner, call: Callable[[], Awaitable[object]], calls: int) -> Callable[[], object]:
    """Return a turn that makes so many calls, one after the other, on the runner's event loop."""

    async def batch() -> None:
        for _ in itertools.repeat(None, calls):
            await call()

    return lambda: runner.run(batch())


def exhaust(events: Iterable[object]) -> None:
    """Take a stream to its end."""
    for _ in events:
        pass


async def aexhaust(events: AsyncIterable[object]) -> None:
    """Take a stream to its end, on the running event loop."""
    async for _ in events:
        pass


def ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """Return how many times as much one contender took as the other: the median of the rounds."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def difference(one: Sequence[float], other: Sequence[float]) -> float:
    """Return how much more one contender took than the other: the median of the rounds."""
    return statistics.median(a - b for a, b in zip(one, other, strict=True))


def spread(values: Sequence[float], unit: float) -> list[str]:
    """Return the minimum, the median and the value that a tenth of the rounds exceeded, in a unit of seconds."""
    ordered = sorted(values)
    slow = ordered[min(len(ordered) - 1, len(ordered) * 9 // 10)]
    return [f"{value / unit:.1f}" for value in (ordered[0], statistics.median(ordered), slow)]


HEADS = ["", "CPU least", "median", "9 of 10", "wall least", "median", "CPU more", "(of leasts)", "wall more", "aim"]


def beside(raw: Mapping[str, Timing], name: str, ours: Timing, aim: str, unit: float = MICROSECOND) -> list[list[str]]:
    """Return the lines of a table headed HEADS that compare the factory with raw SDK calls, the first of them."""
    first = next(iter(raw.values()))
    more = [
        ratio(ours.cpu, first.cpu) - 1,
        min(ours.cpu) / min(first.cpu) - 1,
        ratio(ours.wall, first.wall) - 1,
    ]
    return [
        *([label, *spread(t.cpu, unit), *spread(t.wall, unit)[:2], "", "", "", ""] for label, t in raw.items()),
        [name, *spread(ours.cpu, unit), *spread(ours.wall, unit)[:2], *(f"{m:+.1%}" for m in more), aim],
    ]


def show(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column flush left, the others flush right."""
    widths = [max(len(line[column]) for line in (heads, *rows)) for column in range(len(heads))]
    print(f"\n{title}")
    for line in (heads, ["-" * width for width in widths], *rows):
        _, *others = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join([line[0].ljust(widths[0]), *others]).rstrip())


def isolate() -> None:
    """Keep what the environment says about vendors and proxies away from the SDKs; for this process only.

    NO_PROXY goes, too: with it the raw SDKs would compare every URL with it.
    """
    for name in list(os.environ):
        if name.startswith(("ANTHROPIC_", "CLAUDE_", "GEMINI_", "GOOGLE_", "LLM_")) or name.lower().endswith("_proxy"):
            del os.environ[name]
