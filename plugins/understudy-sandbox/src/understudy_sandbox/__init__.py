"""Local stand-ins for the vendors' HTTP APIs, with faults on request.

Everything is loaded at first use: a test run that has this package installed and does not use it pays nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy_sandbox import faults as faults
    from understudy_sandbox.exchange import RecordedRequest as RecordedRequest
    from understudy_sandbox.faults import Fault as Fault
    from understudy_sandbox.sandbox import Sandbox as Sandbox
    from understudy_sandbox.sandbox import StandIn as StandIn

__all__ = ["Fault", "RecordedRequest", "Sandbox", "StandIn", "faults"]

_HOMES = {"Fault": "faults", "RecordedRequest": "exchange", "Sandbox": "sandbox", "StandIn": "sandbox"}


def __getattr__(name: str) -> Any:
    if name == "faults":
        return import_module("understudy_sandbox.faults")
    if name in _HOMES:
        return getattr(import_module(f"understudy_sandbox.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'understudy_sandbox' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
