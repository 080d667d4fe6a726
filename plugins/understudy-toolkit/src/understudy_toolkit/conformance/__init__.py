"""The suite that certifies a provider: everything that Understudy relies on, with a healthy and a failing vendor.

A provider's tests are one class. It finds the provider by its entry-point name and certifies it, in two parts: what a
healthy answer looks like, and what happens when the vendor fails.

    from understudy_toolkit.conformance import ProviderContract

    class TestParrot(ProviderContract):
        name = "parrot"
        settings = {"PARROT_API_KEY": "not-a-real-key"}
        key = "PARROT_API_KEY"
        sdk = ("parrot_sdk",)

The second part needs a stand-in for the vendor that fails. For an SDK that talks HTTP that is `HTTPFaults`:
it is given the vendor's healthy replies, and makes everything of FAULTS out of them, on a socket:

    from understudy_toolkit.conformance import HTTPFaults, ProviderContract, Reply

    class TestParrot(HTTPFaults, ProviderContract):
        name = "parrot"
        settings = {"PARROT_API_KEY": "not-a-real-key"}
        key = "PARROT_API_KEY"
        url_setting = "PARROT_BASE_URL"
        answer = Reply({"text": "Hello, dear audience."})
        streamed_answer = Reply.events({"delta": "Hello, "}, {"delta": "dear "}, {"delta": "audience."}, "[DONE]")

For the wire formats that understudy-sandbox speaks it is `SandboxFaults`; the settings are the stand-in's own:

    from understudy_sandbox.conformance import SandboxFaults

    class TestClaude(SandboxFaults, ProviderContract):
        name = "claude"
        stand_in = "claude"
        key = "ANTHROPIC_API_KEY"

For anything else, override `fault(kind)`: arrange what FAULTS[kind].says, and raise NotImplementedError for what cannot
be arranged; `reply(kind)` is its counterpart for health. `request_count()` and `open_connections()` let the contract
count on the socket, and `received()` lets it see what was sent. What an author states besides (the variables of model
and address, what the answer costs, what the SDK reads by itself: ContractSetup has the list) is checked as well.

What does not apply is skipped with its reason: a capability that is off, a fault that cannot be arranged, what a class
of three methods has no place for. The end of the run has a paragraph for each provider, with its skips. A test of your
own that replaces one of the contract's fails, unless it is marked `@overrides(reason=...)`.

pytest is needed for ProviderContract, ContractSetup and HTTPFaults alone (`pip install "understudy-toolkit[testing]"`).
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy_toolkit.conformance.contract import ProviderContract
    from understudy_toolkit.conformance.fault_server import FaultServer, ReceivedRequest, Reply
    from understudy_toolkit.conformance.faults import FAULTS, HINT, Fault
    from understudy_toolkit.conformance.guard import overrides
    from understudy_toolkit.conformance.http_faults import HTTPFaults
    from understudy_toolkit.conformance.setup import ContractSetup

__all__ = [
    "FAULTS",
    "HINT",
    "ContractSetup",
    "Fault",
    "FaultServer",
    "HTTPFaults",
    "ProviderContract",
    "ReceivedRequest",
    "Reply",
    "overrides",
]

# Imported at first use: some of them need pytest, and the others must work without it.
_HOMES = {
    "FAULTS": "faults",
    "HINT": "faults",
    "ContractSetup": "setup",
    "Fault": "faults",
    "FaultServer": "fault_server",
    "HTTPFaults": "http_faults",
    "ProviderContract": "contract",
    "ReceivedRequest": "fault_server",
    "Reply": "fault_server",
    "overrides": "guard",
}
_OF_PYTEST = ("contract", "http_faults", "setup")
_RULES = (
    "answer_rules",
    "capability_rules",
    "failure_rules",
    "identity_rules",
    "life_rules",
    "process_rules",
    "settings_rules",
    "setup",
)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'understudy_toolkit.conformance' has no attribute {name!r}")
    if home in _OF_PYTEST:
        _prepare_pytest(name)
    value = getattr(import_module(f"understudy_toolkit.conformance.{home}"), name)
    globals()[name] = value
    return value


def _prepare_pytest(name: str) -> None:
    """Let pytest rewrite the asserts of the rules before they are imported, so that a failure shows the values."""
    if find_spec("pytest") is None:
        raise ModuleNotFoundError(
            f"understudy_toolkit.conformance.{name} needs pytest, and found none: "
            'pip install "understudy-toolkit[testing]"'
        )
    import pytest

    modules = [f"understudy_toolkit.conformance.{module}" for module in _RULES]
    pytest.register_assert_rewrite(*(module for module in modules if module not in sys.modules))
