"""For the tests of all packages: what is the same wherever they run."""

from __future__ import annotations

import gc
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """What a model refused in one test is not known in the next: other servers come to have the same address."""
    yield
    if "understudy_toolkit.refused" in sys.modules:
        sys.modules["understudy_toolkit.refused"].forget()


@pytest.hookimpl(trylast=True)  # the one that prints is made first
def pytest_configure(config: pytest.Config) -> None:
    """Only where somebody reads along: the workers of pytest-xdist report to whoever started them."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal:
        config.pluginmanager.register(Progress(terminal))


class Progress:
    """Names each failing test when it fails and, after many tests, says which packages' took how long.

    Args:
        terminal: where pytest prints.
    """

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self.terminal = terminal
        self.began = time.perf_counter()
        self.collected: float | None = None  # seconds until the first test began
        self.seconds: defaultdict[str, float] = defaultdict(float)  # by package, of all workers together

    def pytest_runtest_logstart(self) -> None:
        """The first test begins."""
        if self.collected is None:
            self.collected = time.perf_counter() - self.began

    @pytest.hookimpl(trylast=True)  # after its letter
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test was set up, has run or was cleaned up."""
        self.seconds[package_of(report.nodeid)] += report.duration
        if report.failed:
            self.terminal.write_line(f"FAILED {report.nodeid} ({report.when})", red=True)

    def pytest_terminal_summary(self) -> None:
        """All is over."""
        if len(self.seconds) > 1 and self.collected is not None:
            longest_first = sorted(self.seconds, key=lambda name: -self.seconds[name])
            self.terminal.section("what took the time")
            self.terminal.write_line(f"{self.collected:5.0f} s  until the first test began")
            for name in longest_first:
                self.terminal.write_line(f"{self.seconds[name]:5.0f} s  {name}, over all workers")


def package_of(nodeid: str) -> str:
    """Return the folder that a test's package is in, or `tests` for what crosses packages."""
    parts = PurePosixPath(nodeid.partition("::")[0]).parts
    return parts[1] if parts[0] == "plugins" else parts[0]


def pytest_sessionfinish() -> None:
    """Look for garbage once more, and then leave it: in all the SDKs each further look takes a quarter of a second."""
    gc.collect()
    gc.freeze()
