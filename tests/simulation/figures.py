"""One outage in figures: what each policy does to its callers and to the dead primary, under a virtual clock.

    python tests/simulation/figures.py           prints the tables
    python tests/simulation/figures.py --write   writes them into docs/circuit-breaker.md

The same seed gives the same tables.
"""

from __future__ import annotations

import re
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from simulation.classic import back_within, load, lost, outage, peak, waits  # only now it can be found
from simulation.mutations import without
from understudy import Policy
from understudy.engine.call_state import CallState

PAGE = Path(__file__).resolve().parents[2] / "docs/circuit-breaker.md"
BEGIN, END = (f"<!-- written by the simulation: {edge} -->\n" for edge in ("begin", "end"))
SEED = 1
UNBOUND: dict[str, Any] = {"breaker": False, "retry_budget": 1.0, "retry_reserve": 1000.0}
OUTAGES = {
    "waits alone: no breaker, no budget": Policy.patient(**UNBOUND),
    "the same waits, with full jitter": Policy.patient(**UNBOUND, jitter="full"),
    "`patient`": Policy.patient(),
    "`eager`": Policy.eager(),
}
HANGS = {
    "waits alone: no breaker, no budget": {**UNBOUND, "max_retries": 0},
    "`patient`": {},
}


def outages() -> str:
    """Play the outage that everybody knows under each policy."""
    rows = []
    for name, policy in OUTAGES.items():
        history = outage(policy, seed=SEED)
        seconds = median(waits(history))
        figures = load(history), seconds, peak(history), back_within(history)
        rows.append([name, *(f"{figure:.3g}" for figure in figures)])
    return table(["", "load", "wait", "peak", "back"], rows)


def hangs() -> str:
    """Let the primary hang for as long as the whole call may take, with and without a share of it for each target."""
    rows = []
    for name, changes in HANGS.items():
        policy = Policy.patient(**changes, deadline=60.0, attempt_timeout=60.0)
        row = [name]
        for sliced in (False, True):
            with nullcontext() if sliced else unsliced():
                row.append(f"{lost(outage(policy, seed=SEED, kind='hang')):.1%}")
        rows.append(row)
    return table(["deadline 60 s", "all time for the first target", "a share for each"], rows)


def unsliced() -> AbstractContextManager[None]:
    """Give each target all the time that is left, for as long as this lasts."""
    return without(CallState, "share_of", "others += 1", "pass")


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def figures() -> str:
    """Return both tables, with what they say."""
    return f"""
{outages()}
Five calls a second, for five minutes of an outage of the primary, beside a healthy backup. *Load*: requests to the
dead primary for each call; *wait*: the median of the seconds that a call took; *peak*: requests to the primary in its
busiest 10 seconds after the outage, for each that comes on average; *back*: seconds until the primary answers again.

{hangs()}
Calls that got no answer while the primary hung and the backup was healthy.
"""


def main() -> None:
    """Print the tables, or write them where they are shown."""
    text = figures()
    if "--write" not in sys.argv[1:]:
        print(text)
        return
    page = PAGE.read_text("utf-8")
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        sys.exit(f"expected {BEGIN.strip()} and {END.strip()} once in {PAGE.name}")
    written = re.sub(
        f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: BEGIN + text + "\n" + END, page, flags=re.DOTALL
    )
    PAGE.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
