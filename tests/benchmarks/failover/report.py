"""The tables: one line a scenario and one column a library, then who is better than we, then every cell in full."""

import os
import platform
from collections import Counter
from collections.abc import Sequence
from datetime import date

from judge import UNTRUE, better, is_wanted, outcomes
from libraries import COLUMNS, LIBRARIES, OURS, TIMEOUT, Library, Variant
from scenarios import BURST, SCENARIOS, Result, Scenario

from understudy import Policy

Results = dict[tuple[str, str, str], Result]  # by scenario, library, variant
Versions = dict[str, dict[str, str]]  # by library and distribution
SPACE = "\N{NO-BREAK SPACE}"  # within the words of a cell; between them a narrow column breaks
SHORT = 16  # letters that a column always has room for
QUICK = 0.1  # seconds below which the machine's own unrest is larger than what is measured


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown whose columns stand below each other."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [head, *rows]]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def two_lines(title: str) -> str:
    """Return a title that a narrow column breaks once at most, in the middle."""
    spaces = [place for place, letter in enumerate(title) if letter == " " and title[:place].strip()]
    if len(title) < SHORT or not spaces:
        return title.replace(" ", SPACE)
    middle = min(spaces, key=lambda place: abs(2 * place - len(title)))
    return f"{title[:middle].replace(' ', SPACE)} {title[middle + 1 :].replace(' ', SPACE)}"


def seconds_of(scenario: Scenario, result: Result, quick: str = "<0.1 s") -> str:
    """Return the seconds as they are shown."""
    if result.given_up:
        return f">{scenario.bound:.0f} s"
    return quick if result.seconds < QUICK else f"{result.seconds:.1f} s"


def summary(scenario: Scenario, result: Result) -> str:
    """Return the outcome in a word: nothing where every caller got what can be got."""
    words = outcomes(result)
    untrue = Counter(word for word in words if word in UNTRUE)
    if untrue:
        word, number = untrue.most_common(1)[0]
        return f"**{word}!**" if scenario.callers == 1 else f"**{number} {word}!**"
    wanted = sum(is_wanted(scenario, word) for word in words)
    if scenario.callers > 1:
        return "" if wanted == scenario.callers else f"{wanted}/{scenario.callers}"
    if result.given_up:
        return ""
    if wanted and scenario.fault == "400":
        return ""
    return {"answer": "", "restarted": "restart"}.get(words[0], "broken" if "part" in words[0] else "error")


def cell(scenario: Scenario, result: Result | None) -> str:
    """Return a cell of the first table: requests to primary + backup, seconds, outcome."""
    if result is None:
        return ""
    if result.missing:
        return result.missing
    if scenario.kind == "recovery":
        return seconds_of(scenario, result) if result.learned else "never left it"
    primary = "-" if scenario.fault == "refused" else str(result.primary)
    words = [f"{primary}+{result.backup}", seconds_of(scenario, result, quick=""), summary(scenario, result)]
    return " ".join(word.replace(" ", SPACE) for word in words if word)


def overview(column: str, scenarios: Sequence[Scenario], libraries: Sequence[Library], results: Results) -> str:
    """Return one table: all as they come, or all tuned."""
    shown = [(library, variant) for library in libraries for variant in library.variants if column in variant.columns]
    head = ["the primary", *(_name(library, variant) for library, variant in shown)]
    rows = []
    for scenario in scenarios:
        found = [results.get((scenario.key, library.name, variant.name)) for library, variant in shown]
        rows.append([two_lines(scenario.title), *(cell(scenario, result) for result in found)])
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


def shortcomings(variant: Variant, scenarios: Sequence[Scenario], results: Results) -> str:
    """Return in how many rows no peer, in whichever variant, is better than ours, and where one is; computed."""
    lines = []
    best = 0
    for scenario in scenarios:
        ours = results[scenario.key, OURS.name, variant.name]
        found: dict[str, list[str]] = {}
        for (key, name, other), result in sorted(results.items()):
            if key == scenario.key and name != OURS.name and (reasons := better(scenario, result, ours)):
                found.setdefault("; ".join(reasons), []).append(f"{name} ({other})")
        best += not found
        lines += [f"* {scenario.title.strip()}: {', '.join(who)}: {why}." for why, who in found.items()]
    first = f"In {best} of {len(scenarios)} rows no peer, as it comes or tuned, does better than `{variant.name}`."
    return "\n\n".join([first, *(["Elsewhere:", "\n".join(lines)] if lines else [])])


def haste(policy: Policy) -> str:
    """Return why one preset is not the quickest to leave a primary alone."""
    return (
        "Why `eager` asks a primary that fails fast once more, and does not leave a dead one alone sooner: most "
        "failures of a vendor that is well are gone half a second later, as in the row *500 once, then well*, and "
        "nobody can know which kind a failure is. Where the primary stays dead, that costs the first calls a request "
        "and a moment. Its "
        f"circuit breaker opens after {policy.breaker_failures} failed attempts in a row, or when "
        f"{policy.breaker_rate:.0%} of at least as many within {policy.breaker_window:g} s failed, and stays open for "
        f"{policy.breaker_open:g} s at first. Two failures in a row happen on an ordinary day, and a breaker that "
        f"opens on them takes a provider away that is well: the row *{BURST.title}* shows what that costs. Where the "
        "backup is as good as the primary, a few numbers give the haste: `eager tuned`."
    )


def settings(libraries: Sequence[Library], versions: Versions) -> str:
    """Return who took part, in which version and how set up."""
    lines = []
    for library in libraries:
        installed = ", ".join(f"{name} {version}" for name, version in versions.get(library.name, {}).items())
        lines.append(f"* **{library.name}** ({installed or 'not installed'})")
        lines += [f"  * {variant.name}: {variant.settings}" for variant in library.variants]
        lines.append(f"  * {library.remarks}")
    return "\n".join(lines)


def machine() -> str:
    """Return when and on what it was measured."""
    system = f"{platform.system()} on {platform.machine()} with {os.cpu_count()} cores"
    return f"Measured on {date.today()} with Python {platform.python_version()} on {system}."


def page(results: Results, versions: Versions, missing: dict[str, str]) -> str:
    """Return all of it, as Markdown."""
    scenarios = [scenario for scenario in SCENARIOS if any(key == scenario.key for key, _, _ in results)]
    libraries = [library for library in LIBRARIES if any(name == library.name for _, name, _ in results)]
    parts = [
        f"{machine()} Every library has a timeout of {TIMEOUT:g} s for a request, but in the rows *thinks for 75 s* "
        "and *no timeout set*: there it has none but its own, and may answer with 16,000 tokens."
    ]
    for column in COLUMNS:
        parts += [f"## {column.capitalize()}", overview(column, scenarios, libraries, results)]
    if OURS in libraries and len(libraries) > 1:
        parts.append("## Where a peer does better")
        for variant in OURS.variants[1:]:
            parts += [f"### Than `{variant.name}`", shortcomings(variant, scenarios, results)]
            parts += [haste(Policy.eager())] if variant.name == "eager" else []
    parts += ["## Who took part", settings(libraries, versions)]
    if missing:
        parts.append("\n".join(f"* {name} did not take part: {why}" for name, why in missing.items()))
    parts += ["## Every cell in full", "<details>", "<summary>Open the table</summary>", details(scenarios, results)]
    return "\n\n".join([*parts, "</details>"])


def _name(library: Library, variant: Variant) -> str:
    return f"{library.name} {variant.name}" if library is OURS else library.name
