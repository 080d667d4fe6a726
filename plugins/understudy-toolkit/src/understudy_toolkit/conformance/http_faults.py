"""Faults for a provider whose SDK talks HTTP: a local server stands in for the vendor."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import ClassVar, TypeAlias

import pytest

from understudy_toolkit.conformance.fault_server import FaultServer, ReceivedRequest, Reply
from understudy_toolkit.conformance.faults import HINT
from understudy_toolkit.conformance.setup import ContractSetup

PAGE = "<!DOCTYPE html><html><head><title>Oops</title></head><body><h1>Something is wrong</h1></body></html>\n"

# The faults that are an HTTP error, by the status that vendors use for them.
STATUSES: Mapping[str, int] = {
    "rate_limited": 429,
    "rate_limited_with_hint": 429,
    "quota_exhausted": 402,
    "overloaded": 503,
    "server_error": 500,
    "gateway_timeout": 504,
    "authentication_failed": 401,
    "repeated_key": 401,
    "permission_denied": 403,
    "model_not_found": 404,
    "context_too_long": 413,
    "invalid_request": 400,
}
Answer: TypeAlias = Callable[[ReceivedRequest], Reply]
TRAVELS = ("reset", "cut_at_once", "cut", "stream_end", "stall", "stall_at_once", "dribble", "black_hole")
TOO_DEEP = "[" * 200_000


class HTTPFaults(ContractSetup):
    """Stands before ProviderContract in the bases of a conformance class, and arranges every fault.

        class TestParrot(HTTPFaults, ProviderContract):
            name = "parrot"
            settings = {"PARROT_API_KEY": "not-a-real-key"}
            key = "PARROT_API_KEY"
            url_setting = "PARROT_BASE_URL"
            answer = Reply({"text": "Hello, dear audience."})
            streamed_answer = Reply.events({"delta": "Hello, "}, {"delta": "dear "}, {"delta": "audience."}, "[DONE]")

    Attributes:
        url_setting: the setting that holds the vendor's address; it must be named, or environment() be overridden.
        answer: the vendor's healthy reply.
        streamed_answer: the same as a stream, in pieces, the end marker in the last; None where there are no streams.
            Its first half must hold some text.
        replies: the vendor's other replies, whole and as a stream, by the kinds of `reply(kind)`: "tool_call" (of
            get_weather), "json", "thinking", "continuation", "length". One is needed for each capability that is on.
        errors: the vendor's own replies for some faults, by their kind, where need be whole and as a stream; "blocked"
            and "empty" are arranged only where they stand here. All others are an HTTP status with `error_body`.
    """

    url_setting: ClassVar[str]
    answer: ClassVar[Reply]
    streamed_answer: ClassVar[Reply | None] = None
    replies: ClassVar[Mapping[str, Reply | tuple[Reply, Reply]]] = {}
    errors: ClassVar[Mapping[str, Reply | tuple[Reply, Reply]]] = {}

    server: FaultServer

    # ---- what may be overridden ----

    def error_body(self, status: int, message: str) -> Mapping[str, object]:
        """Return the body of the vendor's errors."""
        return {"error": {"code": status, "message": message}}

    def wants_stream(self, request: ReceivedRequest) -> bool:
        """Return whether a request asks for a stream: {"stream": true} in its body, or "stream" in its path."""
        body = request.json
        return (isinstance(body, Mapping) and body.get("stream") is True) or "stream" in request.path.lower()

    # ---- what the contract asks for ----

    @pytest.fixture
    def vendor(self) -> Iterator[None]:
        """Start the server, and stop it."""
        with FaultServer(self._healthy("text")) as self.server:
            yield

    def environment(self) -> Mapping[str, str | None]:
        """Return the settings, with the server's address among them."""
        return {**self.settings, self.url_setting: self.server.url + self.url_path}

    def request_count(self) -> int:
        """Return how many requests have come."""
        return len(self.server.requests)

    def open_connections(self) -> int:
        """Return how many connections are open."""
        return self.server.open_connections

    def connection_count(self) -> int:
        """Return how many connections were opened."""
        return self.server.connection_count

    def received_headers(self) -> Mapping[str, str] | None:
        """Return the headers of the last request."""
        return self.server.requests[-1].headers if self.server.requests else None

    def received(self) -> str | None:
        """Return the last request, path and body."""
        if not self.server.requests:
            return None
        last = self.server.requests[-1]
        return f"{last.path}\n{last.body.decode('utf-8', 'replace')}"

    def reply(self, kind: str) -> None:
        """Answer in this way from now on."""
        self.server.fault = None
        self.server.answer = self._healthy(kind)

    def label(self, content_type: str) -> None:
        """Answer under this content type from now on."""
        healthy = self._healthy("text")
        self.server.fault = None
        self.server.answer = lambda request: replace(healthy(request), content_type=content_type)

    def tell_apart(self, word: str) -> None:
        """Answer callers with their number instead of this word, where the answer has it once."""
        healthy, written = self._healthy("text"), word.encode()
        if self.answer.content.count(written) == 1:
            self.server.answer = lambda request: _numbered(healthy(request), written, request)

    def fault(self, kind: str) -> None:
        """Let the server do this from now on."""
        self.server.fault = kind if kind in TRAVELS else None
        if kind == "refused":
            self.server.refuse()
        elif kind in TRAVELS:
            self.server.answer = self._healthy("text")
        else:
            reply = self._faulty(kind)
            self.server.answer = reply if callable(reply) else lambda request: reply

    # ---- replies ----

    def _healthy(self, kind: str) -> Answer:
        found = (self.answer, self.streamed_answer or self.answer) if kind == "text" else self.replies.get(kind)
        if found is None and kind == "length":
            raise NotImplementedError('there is no reply "length" in `replies`')
        if found is None:
            pytest.fail(
                f'expected a reply "{kind}" in `replies` of {type(self).__name__}, since the provider says that it can '
                "do that, found none; add the vendor's reply, or switch the capability off",
                pytrace=False,
            )
        return self._by_request(found)

    def _by_request(self, found: Reply | tuple[Reply, Reply]) -> Answer:
        whole, streamed = found if isinstance(found, tuple) else (found, found)
        return lambda request: streamed if self.wants_stream(request) else whole

    def _faulty(self, kind: str) -> Reply | Answer:
        if kind in self.errors:
            return self._by_request(self.errors[kind])
        if kind in STATUSES:
            said = f"no such key: {self.secret()}" if kind == "repeated_key" else f"the vendor's words for {kind}"
            hint = {"retry-after": f"{HINT:g}"} if kind == "rate_limited_with_hint" else {}
            return Reply(dict(self.error_body(STATUSES[kind], said)), STATUSES[kind], headers=hint)
        if kind == "redirected":
            return Reply(b"", 307, "text/plain", {"location": f"{self.server.url}/elsewhere"})
        if kind in ("html", "bad_gateway"):
            return Reply(PAGE, 200 if kind == "html" else 502, "text/html; charset=utf-8")
        if kind in ("malformed", "too_deep", "null_object", "empty_body"):
            healthy = self._healthy("text")
            return lambda request: _spoil(healthy(request), kind)
        raise NotImplementedError(f'there is no reply "{kind}" in `errors`')


def _numbered(reply: Reply, word: bytes, request: ReceivedRequest) -> Reply:
    found = re.search(rb"\(caller (\d+)\)", request.body)
    if found is None:
        return reply
    number = found[1].rjust(len(word), b"0")
    pieces = tuple(piece.replace(word, number) for piece in reply.pieces)
    return replace(reply, body=reply.content.replace(word, number), pieces=pieces, content_type=reply.written)


def _spoil(reply: Reply, kind: str) -> Reply:
    written = reply.content_type or "application/json"
    if kind == "empty_body":
        return Reply(b"", 200, written)
    if not reply.pieces:
        if kind == "too_deep":
            return Reply(TOO_DEEP, 200, written)
        return Reply(b"{}" if kind == "null_object" else reply.halves[0], 200, written)
    first = reply.pieces[0]
    start = b"data: " if first.startswith(b"data:") else b""
    end = first[len(first.rstrip()) :]
    if kind == "null_object":
        return replace(reply, pieces=(start + b"{}" + end,))
    if kind == "too_deep":
        return replace(reply, pieces=(start + TOO_DEEP.encode() + end,))
    middle = len(reply.pieces) // 2
    broken = reply.pieces[middle].rstrip()
    return replace(
        reply, pieces=(*reply.pieces[:middle], broken[: len(broken) * 2 // 3] + end, *reply.pieces[middle + 1 :])
    )
