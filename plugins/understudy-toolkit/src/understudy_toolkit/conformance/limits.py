"""The time that a rule may take: one that hangs fails, and the next one runs. Needs no pytest."""

from __future__ import annotations

import functools
import sys
import threading
import traceback
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, TypeVar, cast

Rule = TypeVar("Rule", bound=Callable[..., None])


def limited(rule: Rule) -> Rule:
    """Let a rule fail once it has taken longer than its class's `time_limit`."""

    @functools.wraps(rule)
    def run(self: Any, **arguments: Any) -> None:
        __tracebackhide__ = True
        within(self.time_limit, functools.partial(rule, self, **arguments))

    return cast(Rule, run)


def within(seconds: float, work: Callable[[], object]) -> None:
    """Do work in a thread, and wait for its end.

    Args:
        seconds: how long it is waited for.
        work: what is done; whatever it raises is raised here.

    Raises:
        AssertionError: it has not ended; the message says where it is.
    """
    __tracebackhide__ = True
    raised: list[BaseException] = []

    def work_and_tell() -> None:
        try:
            work()
        except BaseException as error:  # pytest's skips are not Exceptions
            raised.append(error)

    thread = threading.Thread(target=copy_context().run, args=(work_and_tell,), name="understudy-rule", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        frame = sys._current_frames().get(thread.ident or 0)
        place = "".join(traceback.format_stack(frame)[-6:]) if frame else "it has just ended"
        raise AssertionError(
            f"expected this rule to end within {seconds:g} s, found it waiting for the provider; pass request.timeout "
            f"to whatever waits there:\n{place}"
        )
    if raised:
        raise raised[0]
