"""A plugin of pytest for the runs of this folder: what a class says is enough for it, and results as JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

results: dict[str, dict[str, str]] = {}


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str) -> list[pytest.Item] | None:
    """Leave out the rules that a class can do without, before they become thousands of tests."""
    owner = getattr(collector, "cls", None)
    if owner is None or not name.startswith("test_"):
        return None
    breaks = getattr(owner, "breaks", name)
    wanted = _home(owner, name) == _home(owner, breaks) and name not in getattr(owner, "without", ())
    return None if wanted else []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the ways and the faults that a class can do without."""
    items[:] = [item for item in items if _is_wanted(item)]


def _is_wanted(item: pytest.Item) -> bool:
    assert isinstance(item, pytest.Function)
    spec = getattr(item, "callspec", None)
    values = dict(spec.params) if spec is not None else {}
    owner = item.cls
    if "kind" in values and values["kind"] not in getattr(owner, "kinds", (values["kind"],)):
        return False
    way, wanted = values.get("ask"), getattr(owner, "ways", None)
    if way is not None and wanted is not None and way.name not in wanted:
        return False
    return "ask_stream" not in values or wanted is None or values["ask_stream"].name == "stream"


def _home(owner: type, test: str) -> type:
    """Return the class of rules that a test belongs to."""
    return next(rules for rules in reversed(owner.__mro__) if test in vars(rules))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep every result but the successful beginnings and ends."""
    if report.when == "call" or not report.passed:
        owner, _, test = report.nodeid.partition("::")[2].partition("::")
        results.setdefault(owner, {})[test] = report.outcome


def pytest_sessionfinish() -> None:
    """Write the results down."""
    Path(os.environ["REPORT"]).write_text(json.dumps(results), "utf-8")
