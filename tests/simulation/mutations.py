"""Takes a guard out of the code, for as long as a test lasts: the function is made anew from its source without it."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any
from unittest.mock import patch


@contextmanager
def without(owner: Any, name: str, guard: str, instead: str) -> Iterator[None]:
    """Put something else in the place of a guard.

    Args:
        owner: the module or class that has the function.
        name: the function's.
        guard: the piece of its source that guards.
        instead: what stands there meanwhile.

    Raises:
        LookupError: the function has no such piece, or several.
    """
    function = inspect.getattr_static(owner, name)
    if not isinstance(function, FunctionType):
        raise TypeError(f"expected a function {owner.__name__}.{name}, found {function!r}")
    source = textwrap.dedent(inspect.getsource(function))
    if source.count(guard) != 1:
        raise LookupError(f"expected {guard!r} once in {owner.__name__}.{name}, found it {source.count(guard)} times")
    filled: dict[str, Any] = {}
    changed = compile(
        f"from __future__ import annotations\n{source.replace(guard, instead)}", f"<{name} without>", "exec"
    )
    exec(changed, function.__globals__, filled)
    with patch.object(owner, name, filled[name]):
        yield
