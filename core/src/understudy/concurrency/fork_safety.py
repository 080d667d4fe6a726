"""Objects that begin anew in a forked process, where of all threads only the one that forked is left.

A lock that another thread held at that moment would stay locked for ever, and what another thread would have counted
down stays counted.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakValueDictionary


class BeginsAnew(Protocol):
    """Has locks, or counts what is under way."""

    def begin_anew(self) -> None:
        """Make all locks anew, and forget what other threads were doing; called in a forked process, by nobody else."""
        ...


def begin_anew_in_child(one: BeginsAnew) -> None:
    """Have an object begin anew in every process that is forked from here while it exists."""
    _known[id(one)] = one


def _begin_anew() -> None:
    for one in list(_known.values()):
        one.begin_anew()


_known: WeakValueDictionary[int, BeginsAnew] = WeakValueDictionary()  # by id: somebody's own store may have no hash

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
