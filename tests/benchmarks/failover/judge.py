"""What a result is worth: whether what the caller was told is true, and how two results compare."""

from replies import text_of
from scenarios import Result, Scenario

PRIMARY, BACKUP = text_of("primary"), text_of("backup")
UNTRUE = ("EMPTY", "CUT", "MIXED", "OTHER")  # reported as success
SAME = 0.15  # seconds within which two results are alike: the machine does other things too
SAME_AMONG_MANY = 0.5  # seconds, where many calls are made and the machine has something to compute


def outcome(text: str, failure: str | None, restarts: int) -> str:
    """Return what the caller saw, in a word or two; capitals for a success that is none."""
    if failure:
        return f"{failure} after part" if text else failure
    if text in (PRIMARY, BACKUP):
        return "restarted" if restarts else "answer"
    if not text:
        return "EMPTY"
    if PRIMARY.startswith(text) or BACKUP.startswith(text):
        return "CUT"
    return "MIXED" if text.endswith(BACKUP) else "OTHER"


def outcomes(result: Result) -> list[str]:
    """Return what every caller saw."""
    return [outcome(answer.text, answer.failure, answer.restarts) for answer in result.answers]


def is_wanted(scenario: Scenario, word: str) -> bool:
    """Whether an outcome is what a caller can best have: the caller's own fault told, anything else answered."""
    if scenario.fault == "400":
        return word not in ("answer", *UNTRUE)
    return word in ("answer", "restarted")


def worth(scenario: Scenario, result: Result) -> tuple[int, int, int]:
    """Return how many untruths were told, how many callers did not get what they want, and what it cost in vain.

    Less is better. In vain are requests that met the primary's fault, those to the backup for a fault of the caller's,
    and answers of the backup where the primary would have had one when asked again, or waited for.
    """
    words = outcomes(result)
    untruths = sum(word in UNTRUE for word in words)
    if scenario.kind == "recovery":
        return untruths, 0, 0
    served = sum(is_wanted(scenario, word) for word in words)
    in_vain = result.backup if scenario.fault == "400" or scenario.of_use else result.faulty
    return untruths, scenario.callers - served, in_vain


def better(scenario: Scenario, other: Result, ours: Result) -> list[str]:
    """Return in what another's result is better than ours."""
    if other.missing or ours.missing:
        return []
    if ours.learned and other.learned is False and scenario.kind == "recovery":
        return ["asked at once, as it was never left alone"]
    reasons = []
    (untruths, unserved, in_vain), mine = worth(scenario, other), worth(scenario, ours)
    if untruths < mine[0]:
        reasons.append("fewer untruths")
    if unserved < mine[1] and untruths <= mine[0]:
        reasons.append("more callers served")
    what = "answers of the backup" if scenario.of_use else "requests in vain"
    if in_vain < mine[2] and (untruths, unserved) <= mine[:2]:
        reasons.append(f"{in_vain} {what} instead of {mine[2]}")
    if _much_less(scenario, other.seconds, ours.seconds) and (untruths, unserved) <= mine[:2]:
        reasons.append(f"{other.seconds:.1f} s instead of {ours.seconds:.1f} s")
    if reasons and _much_less(scenario, ours.seconds, other.seconds):
        reasons.append("but later")
    if reasons and in_vain > mine[2]:
        reasons.append(f"but {in_vain} {what} instead of {mine[2]}")
    return reasons


def _much_less(scenario: Scenario, seconds: float, others: float) -> bool:
    same = SAME if scenario.callers == 1 else SAME_AMONG_MANY
    return seconds < others - max(same, 0.05 * others)
