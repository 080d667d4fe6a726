"""The page: who costs how much, first as multiples of the raw SDK, then every row in full."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from contestants import REFERENCE, TENSORZERO, Contestant
from figures import Cell, Spread, What
from rows import Row

MEGABYTE = 2**20
MILLISECONDS = 1000.0
NOBODY = Cell()

INTRODUCTION = """\
# What a call costs on each lane

One local upstream that speaks OpenAI's chat completions, and everybody asks it the same. The raw OpenAI SDK is what the
others are compared with. Understudy plays four times: on each of its two lanes, `sdk` (OpenAI's own SDK) and `http`
(without it), with each of its two presets. Other libraries play beside it, each in an environment of its own. All but
the raw SDK have a primary and a backup, as their users would. All of this page is written by the command that measures.

```sh
python3 noxfile.py lanes
python3 noxfile.py lanes understudy-http tensorzero --rows sync,async,stream --rounds 5
```

The first plays everything and writes this page; the second plays some rows with some contestants and only prints;
`--list` names them. The calls go to 127.0.0.1 alone.

## How to read it

* **CPU** is user and system time of the whole process with all its threads, for one call. The upstream is a process of
  its own, and in nobody's figures. **Wall** is the time of a turn divided by its calls: for calls that are under way at
  once it is no latency, but what each adds.
* Each contestant is a process that stays. In each round, every row has one turn of every contestant, one after the
  other, and the round after begins with another one. A multiple is taken **within a round**, between two turns that
  stood close together, and the median and the quartiles are those of the rounds.
* Before its first turn in a row, a contestant makes a few calls that do not count. A *cold answer* is a process of its
  own, from its start until it has the answer, the time of the interpreter included; modules are compiled already.
* The peak is the most memory that the process held in that turn. A process has played all rows before, and holds what
  they left: it says what the rows cost together rather than one of them. That of a cold answer is that answer's alone.
* Nobody retries. Where a call fails over, everybody asks the primary in every call: it is counted at the upstream, and
  a contestant that did not is left out of the row. Understudy's circuit breaker would soon leave such a primary out,
  and is switched off there.
* The upstream answers at once, so that what stands here is the cost of the library alone. A real model takes seconds;
  beside that, no wall time on this page matters. CPU matters where many calls share a machine."""


@dataclass
class Played:
    """All that was measured.

    Args:
        rows: what was played.
        contestants: who played.
        rounds: how many rounds were played.
        is_cut: whether the last of them was ended early.
        cells: by key of the row and of the contestant.
        versions: of each contestant's distributions.
        absent: why a contestant has no environment.
    """

    rows: Sequence[Row]
    contestants: Sequence[Contestant]
    rounds: int = 0
    is_cut: bool = False
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def cell(self, row: Row, contestant: Contestant) -> Cell:
        """Return what was measured of one row of one contestant."""
        return self.cells.get((row.key, contestant.key), NOBODY)

    @property
    def present(self) -> list[Contestant]:
        """Who has an environment."""
        return [one for one in self.contestants if one.key not in self.absent]


def page(played: Played) -> str:
    """Return all of it, as Markdown."""
    parts = [INTRODUCTION, machine(played)]
    parts += ["## CPU per call, as multiples of the raw SDK", multiples(played, "cpu")]
    parts += ["## Wall time per call, as multiples of the raw SDK", multiples(played, "wall")]
    if TENSORZERO in played.present and any(one.is_ours for one in played.present):
        parts += ["## Beside TensorZero: CPU", beside(played, TENSORZERO, "cpu")]
        parts += ["## Beside TensorZero: wall", beside(played, TENSORZERO, "wall")]
    if any(one.is_ours for one in played.present) and len(played.present) > 1:
        parts += ["## Where Understudy is behind", behind(played)]
    parts += ["## Peak memory", peaks(played), "## Every row in full"]
    for row in played.rows:
        parts += [f"### {row.title.capitalize()}", f"{row.about.capitalize()}. {_calls(row)}", in_full(played, row)]
    parts += ["## Who took part", settings(played)]
    return "\n\n".join(parts)


def machine(played: Played) -> str:
    """Return when and on what it was measured."""
    processor = _processor()
    system = f"{platform.system()} on {platform.machine()} with {os.cpu_count()} cores{processor}"
    how = f"in {played.rounds} rounds{', the last of them in part' if played.is_cut else ''}"
    return f"Measured on {date.today()} with Python {platform.python_version()} on {system}, {how}."


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return ""
    return next((f" ({line.partition(':')[2].strip()})" for line in lines if line.startswith("model name")), "")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown whose columns stand below each other."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [head, *rows]]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def multiples(played: Played, what: What) -> str:
    """Return a line a row and a column a contestant: the raw SDK in milliseconds, the others as its multiples."""
    others = [one for one in played.present if one is not REFERENCE]
    lines = []
    for row in played.rows:
        raw = played.cell(row, REFERENCE)
        first = f"{_figure(raw.spread(what).median * MILLISECONDS)} ms" if raw.turns else "-"
        ratios = [played.cell(row, one).over(raw, what) for one in others]
        lines.append([row.title, first, *(f"{ratio.median:.2f}" if ratio else "-" for ratio in ratios)])
    return table(["", REFERENCE.name, *(one.name for one in others)], lines)


def beside(played: Played, other: Contestant, what: What) -> str:
    """Return Understudy's multiples of one other contestant, with their quartiles."""
    ours = [one for one in played.present if one.is_ours]
    lines = []
    for row in played.rows:
        theirs = played.cell(row, other)
        first = f"{_figure(theirs.spread(what).median * MILLISECONDS)} ms" if theirs.turns else "-"
        lines.append([row.title, first, *(_ratio(played.cell(row, one).over(theirs, what)) for one in ours)])
    return table(["", other.name, *(one.name for one in ours)], lines)


def behind(played: Played) -> str:
    """Return, for each of ours, in which rows who takes less CPU or less time."""
    lines = [
        "In these rows the other takes less, by the median of the ratios within a round. Where a multiple is in "
        "brackets, its quartiles lie on both sides of 1: there the two cannot be told apart. Of the lanes of "
        "Understudy, each is compared with the others' libraries, not with the other lane."
    ]
    for one in (
        one for one in played.present if one.is_ours and any(played.cell(row, one).turns for row in played.rows)
    ):
        lines.append(f"* **{one.name}**")
        for what in ("cpu", "wall"):
            for other in (other for other in played.present if not other.is_ours):
                found = [
                    f"{row.title} {_multiple(ratio)}"
                    for row in played.rows
                    if (ratio := played.cell(row, one).over(played.cell(row, other), what)) and ratio.median > 1
                ]
                if found:
                    lines.append(f"  * {'CPU' if what == 'cpu' else 'wall'}, {other.name}: {', '.join(found)}")
        if lines[-1].startswith("* "):
            lines[-1] += ": nowhere"
    return "\n".join([lines[0], "", *lines[1:]])


def peaks(played: Played) -> str:
    """Return the median peak of each row and contestant, in megabytes."""
    lines = []
    for row in played.rows:
        found = [played.cell(row, one).peak() for one in played.present]
        lines.append([row.title, *("-" if peak is None else f"{peak / MEGABYTE:.0f}" for peak in found)])
    return table(["MB", *(one.name for one in played.present)], lines)


def in_full(played: Played, row: Row) -> str:
    """Return all figures of a row."""
    raw, lines = played.cell(row, REFERENCE), []
    for one in played.present:
        cell = played.cell(row, one)
        if cell.missing or not cell.turns:
            lines.append([one.name, *(["-"] * 4)])
            continue
        figures = []
        for what in ("cpu", "wall"):
            figures += [_spread(cell.spread(what)), _ratio(cell.over(raw, what))]
        lines.append([one.name, *figures])
    head = ["", "CPU, ms (quartiles)", "times the raw SDK's", "wall, ms (quartiles)", "times the raw SDK's"]
    missing = [f"* {one.name}: {cell.missing}" for one in played.present if (cell := played.cell(row, one)).missing]
    return "\n\n".join([table(head, lines), *(["\n".join(missing)] if missing else [])])


def settings(played: Played) -> str:
    """Return who took part, in which version and how set up."""
    lines = []
    for one in played.contestants:
        installed = ", ".join(f"{name} {version}" for name, version in played.versions.get(one.key, {}).items())
        told = f"did not take part: {played.absent[one.key]}" if one.key in played.absent else one.settings
        lines.append(f"* **{one.name}**{f' ({installed})' if installed else ''}: {told}")
    return "\n".join(lines)


def _calls(row: Row) -> str:
    return "One process a turn." if row.cold else f"{row.calls} calls a turn."


def _figure(value: float) -> str:
    """Return a number with three digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _spread(found: Spread) -> str:
    low, median, high = (_figure(value * MILLISECONDS) for value in found)
    return f"{median} ({low} to {high})"


def _ratio(found: Spread | None) -> str:
    return f"{found.median:.2f} ({found.low:.2f} to {found.high:.2f})" if found else "-"


def _multiple(found: Spread) -> str:
    return f"({found.median:.2f})" if found.low < 1 else f"{found.median:.2f}"
