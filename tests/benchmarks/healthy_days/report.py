"""The tables: healthy days, days with a fault, and the recipes, a line a client."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import date
from math import isinf

from simulation.healthy.days import FAULTS
from simulation.healthy.measures import Row

Results = Mapping[tuple[str, str, str], Row]  # by world or recipe, day, client
HEALTHY, RECIPES = "healthy", "recipes"  # days that are no faults

HEAD = (
    "client",
    "answered %",
    "by the primary %",
    "wrong cuts %",
    "wasted tokens %",
    "opened",
    "cooled",
    "requests a call",
    "p50 s",
    "p95 s",
    "p99 s",
)
FAULT_HEAD = (
    "world",
    "client",
    "answered in it %",
    "p50 s",
    "p95 s",
    "requests to the sick vendor a call",
    "used again after s",
    "by the primary, all day %",
    "answered, all day %",
)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown whose columns stand below each other."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [head, *rows]]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def seconds(value: float, digits: int = 1) -> str:
    """Return seconds; infinite ones are those of calls that were never answered."""
    return "never" if isinf(value) else f"{value:.{digits}f}"


def healthy_line(row: Row) -> list[str]:
    """Return the cells of a healthy day."""
    return [
        f"{row.share(row.answered):.2f}",
        f"{row.share(row.by_primary):.2f}",
        f"{row.share(row.cuts):.2f}",
        f"{row.wasted_share:.1f}",
        str(row.opened),
        str(row.cooled),
        f"{row.requests / row.calls:.3f}",
        *(seconds(value) for value in (row.p50, row.p95, row.p99)),
    ]


def fault_line(row: Row) -> list[str]:
    """Return the cells of a day with a fault."""
    fault = row.fault
    assert fault is not None
    return [
        f"{100 * fault.answered / max(fault.calls, 1):.1f}",
        seconds(fault.p50),
        seconds(fault.p95, 0),
        f"{fault.asked / max(fault.calls, 1):.3f}",
        seconds(fault.back, 0),
        f"{row.share(row.by_primary):.1f}",
        f"{row.share(row.answered):.2f}",
    ]


def healthy(results: Results, day: str, what: str) -> str:
    """Return the table of all worlds, or recipes, on days without a fault."""
    lines, before = [], ""
    for (name, found, client), row in results.items():
        if found == day:
            calls = f"{name}, {row.calls:,} calls" if name != before else ""
            lines.append([calls, client, *healthy_line(row)])
            before = name
    return table([what, *HEAD], lines) if lines else ""


def faulty(results: Results, fault: str) -> str:
    """Return the table of all worlds with one fault."""
    lines, before = [], ""
    for (name, found, client), row in results.items():
        if found == fault and row.fault is not None:
            calls = f"{name}, {row.fault.calls:,} calls in it" if name != before else ""
            lines.append([calls, client, *fault_line(row)])
            before = name
    return table(FAULT_HEAD, lines) if lines else ""


def page(results: Results, seeds: Sequence[int]) -> str:
    """Return all of it, as Markdown."""
    played = f"seed {seeds[0]}" if len(seeds) == 1 else f"the seeds {', '.join(map(str, seeds))} together"
    parts = [f"Played on {date.today()} with Python {platform.python_version()}, {played}."]
    sections = [("## Healthy days", healthy(results, HEALTHY, "world"))]
    sections += [(f"## Ten minutes: {fault}", faulty(results, fault)) for fault in FAULTS]
    sections += [("## The recipes on a healthy day", healthy(results, RECIPES, "recipe"))]
    for heading, text in sections:
        if text:
            parts += [heading, text]
    return "\n\n".join(parts)
