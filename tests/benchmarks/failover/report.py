"""The tables: one line a scenario and one column a library, then every cell in full, then who is better than we."""

from collections import Counter
from collections.abc import Sequence

from judge import UNTRUE, better, is_wanted, outcomes
from libraries import COLUMNS, LIBRARIES, OURS, TIMEOUT, Library, Variant
from scenarios import SCENARIOS, Result, Scenario

Results = dict[tuple[str, str, str], Result]  # by scenario, library, variant
QUICK = 0.1  # seconds below which the machine's own unrest is larger than what is measured


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown whose columns stand below each other."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [head, *rows]]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def seconds_of(scenario: Scenario, result: Result) -> str:
    """Return the seconds as they are shown."""
    if result.given_up:
        return f">{scenario.bound:.0f} s"
    return "<0.1 s" if result.seconds < QUICK else f"{result.seconds:.1f} s"


def summary(scenario: Scenario, result: Result) -> str:
    """Return the outcome in a word: nothing where every caller got what can be got."""
    words = outcomes(result)
    untrue = Counter(word for word in words if word in UNTRUE)
    if untrue:
        word, number = untrue.most_common(1)[0]
        return f"{word}!" if scenario.callers == 1 else f"{number} {word}!"
    if scenario.kind == "recovery":
        return f"{result.calls} calls" if result.calls != 1 else "1 call"
    wanted = sum(is_wanted(scenario, word) for word in words)
    if scenario.callers > 1:
        return "" if wanted == scenario.callers else f"{wanted}/{scenario.callers}"
    if result.given_up:
        return ""
    if scenario.fault == "400":
        return "" if wanted else "hidden"
    return {"answer": "", "restarted": "restart"}.get(words[0], "broken" if "part" in words[0] else "error")


def cell(scenario: Scenario, result: Result | None) -> str:
    """Return a cell of the first table: requests to primary + backup, seconds, outcome."""
    if result is None:
        return ""
    if result.missing:
        return result.missing
    primary = "-" if scenario.fault == "refused" else str(result.primary)
    counts = "" if scenario.kind == "recovery" else f"{primary}+{result.backup} "
    return f"{counts}{seconds_of(scenario, result)} {summary(scenario, result)}".strip()


def overview(column: str, scenarios: Sequence[Scenario], libraries: Sequence[Library], results: Results) -> str:
    """Return the table of one half: all as they come, or all tuned."""
    variants = [(library, next(v for v in library.variants if v.column == column)) for library in libraries]
    head = [column, *(_name(library, variant) for library, variant in variants)]
    rows = []
    for scenario in scenarios:
        found = [results.get((scenario.key, library.name, variant.name)) for library, variant in variants]
        rows.append([scenario.title, *(cell(scenario, result) for result in found)])
    return table(head, rows)


def details(scenarios: Sequence[Scenario], results: Results) -> str:
    """Return the table with a line for every cell."""
    rows = []
    for scenario in scenarios:
        for library in LIBRARIES:
            for variant in library.variants:
                result = results.get((scenario.key, library.name, variant.name))
                if result is None:
                    continue
                told = result.missing or _told(scenario, result)
                primary = "-" if scenario.fault == "refused" else str(result.primary)
                figures = [primary, str(result.backup), seconds_of(scenario, result)]
                rows.append(
                    [
                        scenario.title.strip(),
                        library.name,
                        variant.name,
                        *(figures if not result.missing else ["", "", ""]),
                        told,
                    ]
                )
    return table(["the primary", "library", "variant", "primary", "backup", "seconds", "the caller is told"], rows)


def _told(scenario: Scenario, result: Result) -> str:
    counted = Counter(outcomes(result))
    words = [word if scenario.callers == 1 else f"{number} {word}" for word, number in counted.most_common()]
    if scenario.kind == "recovery":
        words = [f"primary again after {result.calls} calls" if not result.given_up else "primary not asked again"]
    elif result.given_up:
        words.append("nothing" if scenario.callers == 1 else f"{scenario.callers - len(result.answers)} nothing")
    if scenario.kind in ("herd", "recovery"):
        words.append("had left the primary alone" if result.learned else "never left the primary alone")
    if scenario.stream and result.answers and result.answers[0].finish not in (None, "stop"):
        words.append(f"finish reason {result.answers[0].finish}")
    elif scenario.stream and "CUT" in counted:
        words.append("finish reason stop, which the primary had not sent")
    return ", ".join(words)


def shortcomings(scenarios: Sequence[Scenario], results: Results) -> str:
    """Return where a peer, in whichever variant, is better than the eager preset; computed, not chosen."""
    lines = []
    for scenario in scenarios:
        ours = results.get((scenario.key, OURS.name, OURS.variants[1].name))
        found: dict[str, list[str]] = {}
        for (key, name, variant), result in sorted(results.items()):
            if ours is None or key != scenario.key or name == OURS.name:
                continue
            if reasons := better(scenario, result, ours):
                found.setdefault("; ".join(reasons), []).append(f"{name} ({variant})")
        lines += [f"* {scenario.title.strip()}: {', '.join(who)}: {why}." for why, who in found.items()]
    return "\n".join(lines) or "* Nowhere in this run."


def settings(libraries: Sequence[Library], versions: dict[str, dict[str, str]]) -> str:
    """Return who took part, in which version and how set up."""
    lines = []
    for library in libraries:
        installed = ", ".join(f"{name} {version}" for name, version in versions.get(library.name, {}).items())
        lines.append(f"* **{library.name}** ({installed or 'not installed'})")
        lines += [f"  * {variant.name}: {variant.settings}" for variant in library.variants]
    return "\n".join(lines)


def page(results: Results, versions: dict[str, dict[str, str]], missing: dict[str, str]) -> str:
    """Return all of it, as Markdown."""
    scenarios = [scenario for scenario in SCENARIOS if any(key == scenario.key for key, _, _ in results)]
    libraries = [library for library in LIBRARIES if any(name == library.name for _, name, _ in results)]
    parts = []
    for column in COLUMNS:
        parts += [f"## {column.capitalize()}", overview(column, scenarios, libraries, results)]
    parts += ["## Where a peer does better than `eager`", shortcomings(scenarios, results)]
    parts += [f"## Who took part, with a timeout of {TIMEOUT:g} s", settings(libraries, versions)]
    if missing:
        parts.append("\n".join(f"* {name} did not take part: {why}" for name, why in missing.items()))
    return "\n\n".join([*parts, "## Every cell in full", details(scenarios, results)])


def _name(library: Library, variant: Variant) -> str:
    return f"{library.name} {variant.name}" if library is OURS else library.name
