"""The vendors that the sandbox stands in for: each is one module of pure functions.

A new vendor is a module that has the members of :class:`Vendor` and a line in :data:`VENDORS`; the server, the
schedule and the faults are shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

from understudy_sandbox.exchange import Frame, RecordedRequest, Reply
from understudy_sandbox.vendors import anthropic, cohere, gemini, ollama, openai


class Vendor(Protocol):
    """What the server asks of a vendor. Every function is pure: no I/O, no clock, no memory."""

    @property
    def NAME(self) -> str:
        """The provider's name, as in ``LLM_PRIMARY_PROVIDER``."""

    @property
    def TITLE(self) -> str:
        """What people call the vendor's model."""

    def environment(self, url: str) -> dict[str, str]:
        """The variables that point the provider's plugin at ``url``, with a key that is obviously no key."""

    def wants_stream(self, path: str, query: Mapping[str, str], body: Any) -> bool:
        """Whether this request asks for a stream."""

    def reply_without_model(self, request: RecordedRequest) -> Reply | None:
        """The reply to a request that no model sees: listings, and what the vendor's own checks turn away."""

    def reply(self, request: RecordedRequest, scripted: str | Mapping[str, Any] | None) -> Reply:
        """The healthy reply: the scripted text or whole JSON body, else the stand-in's own answer."""

    def contentless(self, request: RecordedRequest, kind: str) -> Reply:
        """A reply with HTTP 200 and no content: "empty", "out_of_tokens", "blocked" or "blocked_prompt"."""

    def failure(self, request: RecordedRequest, kind: str, options: Mapping[str, Any]) -> Reply:
        """The vendor's HTTP error for a kind of ``faults.FAILURES``, or for "status" with its ``code``."""

    def error_body(self, request: RecordedRequest, kind: str) -> Reply:
        """The vendor's error as the plain body of an HTTP 200."""

    def error_frame(self, request: RecordedRequest, kind: str, before: int) -> Frame:
        """The vendor's error inside a stream that began with HTTP 200; ``before`` counts the frames that came."""

    def null_stream(self, request: RecordedRequest) -> Reply:
        """A stream, framed as the vendor frames it, with nothing in it but the JSON object ``{}``."""

    def with_heartbeats(self, request: RecordedRequest, stream: Reply, place: int, count: int) -> Reply:
        """The stream with so many of the vendor's heartbeats before the frame at ``place``; as it is, without any."""

    def while_loading(self, request: RecordedRequest) -> Reply | None:
        """The reply to a request that waits for no model while one is being loaded; None for one that does."""


VENDORS: Mapping[str, Vendor] = MappingProxyType(
    {vendor.NAME: vendor for vendor in (gemini, anthropic, openai, cohere, ollama)}
)
