"""The guard of the contract: a method of the same name switches a rule off only with a stated reason."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Test = TypeVar("Test", bound=Callable[..., Any])

_REASON = "__understudy_overrides__"
_REFUSED = "__understudy_refused__"


def overrides(reason: str) -> Callable[[Test], Test]:
    """Say why a test replaces one of the contract's.

        @overrides(reason="the vendor has no errors before the first token")
        def test_a_failure_asks_once(self, ...): ...

    Args:
        reason: a sentence; it is shown at the end of the test run.

    Raises:
        ValueError: the reason is empty.
    """
    if not isinstance(reason, str) or not reason.strip():
        raise ValueError(f"expected @overrides(reason=...) with a sentence that says why, found {reason!r}")

    def mark(test: Test) -> Test:
        setattr(test, _REASON, reason.strip())
        return test

    return mark


def stated(cls: type, names: Mapping[str, object]) -> dict[str, str]:
    """Return the reason of each standard test that a class overrides with one."""
    found = {name: getattr(inspect.getattr_static(cls, name), _REASON, None) for name in names}
    return {name: reason for name, reason in found.items() if reason is not None}


def guard(cls: type, standard: Mapping[str, object]) -> None:
    """Replace every standard test that a class overrides without a reason with a failing one.

    Args:
        cls: the class that was just made.
        standard: the contract's own tests by name.
    """
    for name, original in standard.items():
        found = inspect.getattr_static(cls, name)
        if found is not original and not hasattr(found, _REASON) and not hasattr(found, _REFUSED):
            setattr(cls, name, _refuse(cls.__name__, name))


def _refuse(owner: str, name: str) -> Callable[[object], None]:
    def refused(self: object) -> None:
        raise AssertionError(
            f"expected {owner} to leave {name} as the contract has it, found it overridden without a reason; "
            "take it away, or write `@overrides(reason=...)` above it (from understudy_toolkit.conformance import "
            "overrides)"
        )

    refused.__name__ = name
    setattr(refused, _REFUSED, True)  # a subclass inherits it
    refused.__doc__ = f"Stands for {name}."
    return refused
