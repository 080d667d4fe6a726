"""Reset after fork: only the thread that forked survives in the child process.

A lock that another thread held at that moment would stay locked for ever, and a counter that another thread would have
decremented would stay as it is.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakValueDictionary


class BeginsAnew(Protocol):
    """Has locks, or counts operations in progress."""

    def begin_anew(self) -> None:
        """Recreate all locks, and forget what other threads were doing; called only in a forked process."""
        ...


def begin_anew_in_child(one: BeginsAnew) -> None:
    """Reset an object in every process that is forked from this one while the object exists."""
    _known[id(one)] = one


def _begin_anew() -> None:
    for one in list(_known.values()):
        one.begin_anew()


_known: WeakValueDictionary[int, BeginsAnew] = WeakValueDictionary()  # by id: a custom store may not be hashable

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
