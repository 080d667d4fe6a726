"""All invariants by their names, and the check of a whole history."""

from __future__ import annotations

from collections.abc import Callable

from simulation import invariants as one_call
from simulation import invariants_shared as shared
from simulation import invariants_targets as targets
from simulation import liveness
from simulation.world import History

Check = Callable[[History], None]
CHECKS: dict[str, Check] = {
    **{f"I{number}": getattr(one_call, f"check_i{number:02}") for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16)},
    **{f"I{number}": getattr(shared, f"check_i{number:02}") for number in (10, 11, 13, 17, 18, 20)},
    **{f"I{number}": getattr(liveness, f"check_i{number:02}") for number in (22, 24, 25)},
    "errors": one_call.check_errors,
    "switch first": one_call.check_switch_first,
    "quick": one_call.check_quick,
    "hints": one_call.check_hints,
    "times": liveness.check_times,
    "patience": liveness.check_patience,
    "generations": shared.check_generations,
    "opening": targets.check_opening,
    "limits": targets.check_limits,
    "refusals": targets.check_refusals,
    "hedges": shared.check_hedges,
    "beside": shared.check_beside,
}


def broken(history: History) -> dict[str, str]:
    """Return the invariants that do not hold, each with what was found."""
    found = {name: breaks(check, history) for name, check in CHECKS.items()}
    return {name: words for name, words in found.items() if words}


def breaks(check: Check, history: History) -> str:
    """Return what a check finds; nothing where the invariant holds."""
    try:
        check(history)
    except AssertionError as error:
        return str(error) or "it does not hold"
    return ""
