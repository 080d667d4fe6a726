"""A plugin of pytest: runs the tests that are named in a file, in that order, and none for long.

A test that ends never, since a mistake lets it loop, ends the process after a while. Which test failed is written
beside the list.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mutants.shadow import DOES_NOT_END

LONGEST = 120.0  # seconds for a test; none of the core's takes more than a few, and the machine may be busy
MEMORY = 6 << 30  # bytes

_names = Path(os.environ["UNDERSTUDY_CHOSEN"])
_failed = _names.with_name("failed")

if sys.platform != "win32":
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep those that are named."""
    place = {name: number for number, name in enumerate(_names.read_text("utf-8").splitlines())}
    items[:] = sorted((item for item in items if item.nodeid in place), key=lambda item: place[item.nodeid])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """End the process where a test does not end."""
    _failed.write_text(f"{item.nodeid}{DOES_NOT_END}", "utf-8")
    faulthandler.dump_traceback_later(LONGEST, exit=True)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()
        _failed.unlink(missing_ok=True)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Name the test that failed."""
    if report.failed:
        _failed.with_name("failing").write_text(report.nodeid, "utf-8")
