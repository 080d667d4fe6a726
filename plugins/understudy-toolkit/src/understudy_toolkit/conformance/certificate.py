"""The summary at the end of a test run: which rules each provider keeps, and which do not apply to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

_PLUGIN = "understudy-certificate"


@dataclass(slots=True)
class Entry:
    """One provider's results so far."""

    name: str
    overridden: dict[str, str]
    outcomes: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)


class Certificate:
    """A plugin of pytest, registered by the first conformance test that runs."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def add(self, item: pytest.Item, name: str, overridden: Callable[[], dict[str, str]]) -> None:
        """Count the results of this test's class for a provider; its overrides are looked for once."""
        owner = _owner(item.nodeid)
        if owner not in self.entries:
            self.entries[owner] = Entry(name, overridden())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record one result."""
        entry = self.entries.get(_owner(report.nodeid))
        if entry is None or (report.when != "call" and report.passed):
            return
        if entry.outcomes.get(report.nodeid) != "failed":
            entry.outcomes[report.nodeid] = report.outcome
        if report.skipped and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            entry.skipped[reason] = entry.skipped.get(reason, 0) + 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write a paragraph for each provider."""
        terminalreporter.section("understudy contract")
        for entry in self.entries.values():
            outcomes = list(entry.outcomes.values())
            counts = [f"{outcomes.count(outcome)} {outcome}" for outcome in ("passed", "failed", "skipped")]
            terminalreporter.line(f"{entry.name}: {', '.join(counts)}")
            for reason, count in sorted(entry.skipped.items()):
                terminalreporter.line(f"  {count} skipped: {reason}")
            for test, reason in entry.overridden.items():
                terminalreporter.line(f"  {test} is overridden: {reason}")


def certificate(config: pytest.Config) -> Certificate:
    """Return the plugin of this run, and register it first if needed."""
    found = config.pluginmanager.get_plugin(_PLUGIN)
    if not isinstance(found, Certificate):
        found = Certificate()
        config.pluginmanager.register(found, _PLUGIN)
    return found


def _owner(nodeid: str) -> str:
    return nodeid.partition("[")[0].rpartition("::")[0]
