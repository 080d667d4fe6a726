"""The record of a call: who was asked, why, what came of it, how long it took and how long was waited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy import conceal
from understudy_cli import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from understudy import Attempt

STYLES = {"succeeded": "green", "failed": "red", "skipped": "yellow", "cancelled": "yellow"}


def table_of(attempts: Sequence[Attempt]) -> Table:
    """Make the table of a call's attempts."""
    made = output.table("asked", "outcome", ">seconds", ">waited", "why")
    for attempt in attempts:
        asked = attempt.number > 0
        made.add_row(
            output.words(attempt.target),
            output.words(_outcome(attempt), STYLES[attempt.outcome]),
            output.words(f"{attempt.seconds:.2f}" if asked else "-"),
            output.words(f"{attempt.wait:.2f}" if attempt.wait else "-"),
            output.words(attempt.reason if asked or attempt.failure is None else attempt.failure.brief),
        )
    return made


def as_json(attempt: Attempt) -> dict[str, Any]:
    """Turn an attempt into what JSON can say."""
    failure = attempt.failure
    return {
        "target": attempt.target,
        "provider": attempt.provider,
        "model": attempt.model,
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "number": attempt.number,
        "seconds": round(attempt.seconds, 3),
        "wait": round(attempt.wait, 3),
        "failure": type(failure).__name__ if failure else None,
        "message": conceal(str(failure)) if failure else None,
        "status": failure.status if failure else None,
        "request_id": attempt.request_id,
    }


def _outcome(attempt: Attempt) -> str:
    failure = attempt.failure
    if failure is None or attempt.outcome == "skipped":
        return "answered" if attempt.outcome == "succeeded" else attempt.outcome
    return failure.brief + (f" ({failure.status})" if failure.status else "")
