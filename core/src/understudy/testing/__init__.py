"""For tests of programs that use Understudy. Tests of providers use understudy_toolkit.conformance.

A program's tests switch the waiting off, and put a scripted provider on the route:

    from understudy.testing import no_waiting

    with no_waiting() as waits:          # a backoff of 135 seconds takes none
        response = factory.generate_content("hello")
    assert waits == [5, 10, 20, 40, 60]
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from understudy.execution.clock import waiting
from understudy.testing.scripted import ScriptedProvider, VirtualClock

__all__ = ["ScriptedProvider", "VirtualClock", "is_waiting", "no_waiting", "set_waiting"]


def set_waiting(enabled: bool) -> None:
    """Switch all waiting between retries on or off, in every thread and factory of this process.

    Args:
        enabled: False to continue at once where a call would wait; True, the default, to wait.
    """
    waiting.enabled = enabled
    waiting.skipped = []


def is_waiting() -> bool:
    """Return whether calls wait between retries."""
    return waiting.enabled


@contextmanager
def no_waiting() -> Iterator[list[float]]:
    """Switch waiting off inside a `with` block.

    Yields:
        The list of waits skipped, in seconds, in the order in which they were due; it grows as the calls go on.
    """
    before = waiting.enabled, waiting.skipped
    waiting.enabled, waiting.skipped = False, []
    try:
        yield waiting.skipped
    finally:
        waiting.enabled, waiting.skipped = before
