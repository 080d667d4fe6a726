"""The record of a call: who was asked, why, the outcome, how long it took and how long the waits were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.masking import conceal
from understudy_cli import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from understudy import Attempt

STYLES = {"succeeded": "green", "failed": "red", "skipped": "yellow", "cancelled": "yellow"}


def table_of(attempts: Sequence[Attempt], *, paid: bool = True) -> Table:
    """Make the table of a call's attempts; columns without any value are left out.

    Args:
        attempts: the record.
        paid: whether any of them is charged.
    """
    costs = [attempt.cost if paid else None for attempt in attempts]
    columns = {
        "asked": [output.words(one.target) for one in attempts],
        "outcome": [output.words(_outcome(one), STYLES[one.outcome]) for one in attempts],
        ">seconds": [output.words(f"{one.seconds:.2f}" if one.number else "-") for one in attempts],
        ">waited": [output.words(f"{one.wait:.2f}" if one.wait else "-") for one in attempts],
        "circuit": [output.words(one.breaker) for one in attempts],
        ">cost": [output.words(output.dollars(cost)) for cost in costs],
        "why": [output.words(_reason(one)) for one in attempts],
    }
    if all(one.breaker == "closed" for one in attempts):
        del columns["circuit"]
    if not any(costs):
        del columns[">cost"]
    made = output.table(*columns)
    for row in zip(*columns.values(), strict=True):
        made.add_row(*row)
    return made


def as_json(attempt: Attempt) -> dict[str, Any]:
    """Turn an attempt into values that JSON can hold."""
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
        "breaker": attempt.breaker,
        "decision": attempt.decision or None,
        "cost": attempt.cost,
    }


def _reason(attempt: Attempt) -> str:
    if attempt.failure is not None and not attempt.number:
        return attempt.failure.brief
    return f"{attempt.reason}; {attempt.decision}" if attempt.decision else attempt.reason


def _outcome(attempt: Attempt) -> str:
    failure = attempt.failure
    if failure is None or attempt.outcome == "skipped":
        return "answered" if attempt.outcome == "succeeded" else attempt.outcome
    return failure.brief + (f" ({failure.status})" if failure.status else "")
