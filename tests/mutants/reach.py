"""A plugin of pytest: notes which lines each test reaches, how long it takes, and whether it starts processes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from coverage import Coverage

_source = Path(os.environ["UNDERSTUDY_SHADOW"])
_rooms = [str(_source / "understudy" / room / "*") for room in os.environ["UNDERSTUDY_ROOMS"].split()]
_coverage = Coverage(data_file=None, include=_rooms, config_file=False, messages=False)
_coverage.start()
_starts = ("subprocess.Popen", "os.fork", "os.posix_spawn")
_started: list[str] = []
_processes: dict[str, bool] = {}
_seconds: dict[str, float] = {}


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if event in _starts:
        _started.append(event)


sys.addaudithook(_audit)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Note what is reached from a test's setup to the end of its cleanup, in whatever thread."""
    _started.clear()
    _coverage.switch_context(item.nodeid)
    try:
        return (yield)
    finally:
        _processes[item.nodeid] = bool(_started)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how long it took."""
    _seconds[report.nodeid] = _seconds.get(report.nodeid, 0.0) + report.duration


def pytest_sessionfinish() -> None:
    """Write it down."""
    _coverage.stop()
    lines: dict[str, dict[str, list[int]]] = {name: {} for name in _processes}
    data = _coverage.get_data()
    for path in sorted(data.measured_files()):
        module = ".".join(Path(path).relative_to(_source).with_suffix("").parts)
        for line, names in data.contexts_by_lineno(path).items():
            for name in filter(None, names):
                lines[name].setdefault(module, []).append(line)
    found = {
        name: {"lines": lines[name], "processes": _processes[name], "seconds": round(_seconds[name], 3)}
        for name in _processes
    }
    Path(os.environ["UNDERSTUDY_REACH"]).write_text(json.dumps(found), "utf-8")
