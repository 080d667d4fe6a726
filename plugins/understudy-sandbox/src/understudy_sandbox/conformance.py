"""The sandbox as the vendor of a conformance class: see understudy.testing. Needs pytest."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from understudy import Usage
from understudy_sandbox import faults
from understudy_sandbox.faults import Fault
from understudy_sandbox.sandbox import Sandbox, StandIn
from understudy_sandbox.vendors import VENDORS
from understudy_toolkit.conformance import HINT, ContractSetup

# The contract's faults that go by another name here, or need options.
_FAULTS: Mapping[str, Callable[[], Fault]] = {
    "rate_limited_with_hint": lambda: faults.rate_limited(retry_after=HINT),
    "gateway_timeout": faults.timeout,
    "bad_gateway": lambda: faults.html_page(502),
    "html": faults.html_page,
    "malformed": lambda: faults.malformed_json(after=1),
    "refused": faults.refuse,
    "cut_at_once": lambda: faults.cut(after=0),
    "stall_at_once": lambda: faults.stall(after=0),
    "too_deep": lambda: faults.status(200, TOO_DEEP, {"content-type": "application/json"}),
    "dribble": lambda: faults.dribble(0.1, size=10),
}

LONG = "on and on " * 6000
TOO_DEEP = "[" * 200_000

# Where each vendor's whole answer tells its tokens: of the question, of the answer, and of thinking.
_COUNTS: Mapping[str, tuple[str, str, str]] = {
    "claude": ("usage.input_tokens", "usage.output_tokens", "usage.output_tokens_details.thinking_tokens"),
    "openai": ("usage.prompt_tokens", "usage.completion_tokens", "usage.completion_tokens_details.reasoning_tokens"),
    "cohere": ("usage.tokens.input_tokens", "usage.tokens.output_tokens", "usage.tokens.reasoning_tokens"),
    "ollama": ("prompt_eval_count", "eval_count", ""),
    "gemini": (
        "usageMetadata.promptTokenCount",
        "usageMetadata.candidatesTokenCount",
        "usageMetadata.thoughtsTokenCount",
    ),
}
_THINKING_BESIDES = ("gemini",)  # where the answer's tokens are told without those of thinking


class SandboxFaults(ContractSetup):
    """Stands before ProviderContract in the bases of a conformance class, and arranges every fault.

        class TestClaude(SandboxFaults, ProviderContract):
            name = "claude"
            stand_in = "claude"
            key = "ANTHROPIC_API_KEY"

    The settings are the stand-in's own (Sandbox.environment() has them), with those of `settings` above them.

    Attributes:
        stand_in: which stand-in speaks the provider's wire format, by its name in the sandbox.
    """

    stand_in: ClassVar[str]
    reports_usage = True
    sandbox: Sandbox

    @pytest.fixture
    def vendor(self, sandbox: Sandbox, sandbox_environment: dict[str, str]) -> None:
        """The running sandbox, and an environment without keys and proxies of anybody's."""
        self.sandbox = sandbox

    @property
    def vendor_stand_in(self) -> StandIn:
        """The stand-in."""
        return self.sandbox[self.stand_in]

    def environment(self) -> Mapping[str, str | None]:
        """Return the stand-in's settings, with the class's own above them."""
        return {**VENDORS[self.stand_in].environment(self.vendor_stand_in.url), **self.settings}

    def fault(self, kind: str) -> None:
        """Let the stand-in do this from now on."""
        self.vendor_stand_in.heal()
        self.vendor_stand_in.always(self._fault(kind))

    def reply(self, kind: str) -> None:
        """Let the stand-in be healthy; it answers what it is asked, tool calls, JSON, thinking and limits included."""
        self.vendor_stand_in.heal()
        if kind == "length":  # longer than the answer and the room that a model which thinks is given besides
            self.vendor_stand_in.reply(LONG)

    def label(self, content_type: str) -> None:
        """Answer under this content type from now on."""
        self.vendor_stand_in.heal()
        self.vendor_stand_in.always(faults.wrong_content_type(content_type))

    def answer_usage(self) -> Usage | None:
        """Return what the stand-in's answer to the last request cost, which must not have asked for a stream."""
        stand_in = VENDORS[self.stand_in]
        told = json.loads(stand_in.reply(self.vendor_stand_in.requests[-1], None).body)
        question, answer, thinking = (_count(told, path) for path in _COUNTS[self.stand_in])
        whole = answer + thinking if self.stand_in in _THINKING_BESIDES else answer
        return Usage(input_tokens=question, output_tokens=whole, thinking_tokens=thinking)

    def request_count(self) -> int:
        """Return how many requests have come."""
        return self.vendor_stand_in.request_count

    def open_connections(self) -> int:
        """Return how many connections are open."""
        return self.vendor_stand_in.open_connections

    def connection_count(self) -> int:
        """Return how many connections were opened."""
        return self.vendor_stand_in.connection_count

    def received_headers(self) -> Mapping[str, str] | None:
        """Return the headers of the last request."""
        requests = self.vendor_stand_in.requests
        return requests[-1].headers if requests else None

    def received(self) -> str | None:
        """Return the last request, path and body."""
        requests = self.vendor_stand_in.requests
        return f"{requests[-1].path}\n{requests[-1].body.decode('utf-8', 'replace')}" if requests else None

    def _fault(self, kind: str) -> Fault:
        if kind == "redirected":
            return faults.status(307, "", {"location": f"{self.vendor_stand_in.url}/elsewhere"})
        if kind == "repeated_key":
            said = f"no such key: {self.secret()}"
            return faults.status(401, {"error": {"message": said, "code": 401}, "message": said})
        return _FAULTS[kind]() if kind in _FAULTS else faults.parse(kind)


def _count(told: Any, path: str) -> int:
    for name in path.split("."):
        told = told.get(name, {})
    return told if isinstance(told, int) else 0
