"""A plugin of pytest for the runs of this folder: what a class says is enough for it, and results as JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

results: dict[str, dict[str, str]] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drop what a class says that it can do without."""
    kept = [item for item in items if _is_wanted(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


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
    if "ask_stream" in values and wanted is not None and values["ask_stream"].name != "stream":
        return False
    breaks = getattr(owner, "breaks", item.originalname)
    return _home(owner, item.originalname) == _home(owner, breaks) and item.originalname not in getattr(
        owner, "without", ()
    )


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
