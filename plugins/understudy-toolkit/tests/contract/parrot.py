"""A provider of the full contract that speaks HTTP with the standard library, and the vendor's healthy replies."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies

from understudy import (
    Capabilities,
    ChatProvider,
    Failure,
    Finish,
    FinishReason,
    Image,
    LLMResponse,
    Part,
    Request,
    Settings,
    StreamEvent,
    StreamInterrupted,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
    hookimpl,
)
from understudy.classify import classify_exception, classify_status, parse_retry_after
from understudy.errors import (
    ConnectionFailed,
    ContentBlocked,
    EmptyResponse,
    MalformedResponse,
    ProviderUnavailable,
    Timeout,
)
from understudy.provider import structured_output
from understudy_toolkit.clients import is_this_machine
from understudy_toolkit.conformance import Reply

Json = dict[str, Any]
REASONS = {"end": FinishReason.STOP, "length": FinishReason.LENGTH, "calls": FinishReason.TOOL_CALLS}


class Parrot(ChatProvider):
    """Keeps every rule."""

    capabilities = Capabilities(
        tools=True,
        images=True,
        files=True,
        output_schema=True,
        thinking=True,
        streaming=True,
        native_async=True,
        prefill=True,
    )
    name = "parrot"

    def __init__(self, settings: Settings) -> None:
        self.key = settings.api_key("PARROT_API_KEY")
        self.credential = settings.credential(self.key)
        self.unavailable = None if self.key or not settings.needs_key else settings.missing("PARROT_API_KEY")
        self.url = urlsplit(settings.base_url("PARROT_BASE_URL", default="http://127.0.0.1:9"))
        self.default_model = settings.model("PARROT_MODEL", default="ara-1")

    def get_provider_name(self) -> str:
        return self.name

    def unavailable_reason(self) -> str | None:
        return self.unavailable

    # ---- the four calls ----

    def generate(self, request: Request) -> LLMResponse:
        with self.failures(), self.post(request, False) as reply:
            until, content = time.monotonic() + self.patience(request), b""
            while piece := reply.read1(65536):
                content += piece
                if time.monotonic() > until:
                    raise Timeout("too slow")
            return self.answer(self.parse(content), request)

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        with self.failures(), self.post(request, True) as reply:
            reader = Reader(self, request)
            while line := reply.readline():
                yield from reader.feed(line)
            yield reader.finish()

    async def agenerate(self, request: Request) -> LLMResponse:
        with self.failures():
            async with asyncio.timeout(self.patience(request)):
                content = b"".join([piece async for piece in self.apost(request, False)])
            return self.answer(self.parse(content), request)

    async def astream(self, request: Request) -> AsyncIterator[StreamEvent]:
        with self.failures():
            reader, pieces = Reader(self, request), self.apost(request, True)
            try:
                while True:
                    async with asyncio.timeout(self.patience(request)):
                        piece = await anext(pieces, None)
                    if piece is None:
                        break
                    for line in piece.splitlines():
                        for event in reader.feed(line):
                            yield event
                yield reader.finish()
            finally:
                await pieces.aclose()  # type: ignore[attr-defined]  # it is a generator

    # ---- HTTP ----

    def route(self) -> tuple[SplitResult, str]:
        """Return who is connected to, and what is asked for there."""
        path = f"{self.url.path.rstrip('/')}/chat"
        proxy = None if is_this_machine(self.url.geturl()) else getproxies().get(self.url.scheme)
        return (self.url, path) if proxy is None else (urlsplit(proxy), f"http://{self.url.netloc}{path}")

    def patience(self, request: Request) -> float:
        return request.timeout or 60.0

    @contextmanager
    def post(self, request: Request, stream: bool) -> Iterator[http.client.HTTPResponse]:
        peer, path = self.route()
        connection = http.client.HTTPConnection(peer.netloc, timeout=self.patience(request))
        try:
            connection.request("POST", path, self.body(request, stream), self.headers())
            reply = connection.getresponse()
            if reply.status != 200:
                raise self.failure(reply.status, dict(reply.headers), reply.read())
            self.look_at(dict(reply.headers))
            yield reply
            reply.close()
        finally:
            connection.close()

    async def apost(self, request: Request, stream: bool) -> AsyncIterator[bytes]:
        peer, path = self.route()
        reader, writer = await asyncio.open_connection(peer.hostname, peer.port)
        try:
            body = self.body(request, stream)
            lines = [f"{name}: {value}" for name, value in {**self.headers(), "content-length": len(body)}.items()]
            writer.write("\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""]).encode() + body)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            status = int(head[0].split()[1])
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            if status != 200:
                raise self.failure(status, headers, await reader.read(int(headers["content-length"])))
            self.look_at(headers)
            if "content-length" in headers:
                yield await reader.readexactly(int(headers["content-length"]))
            else:
                while size := int(await reader.readline() or "x", 16):
                    yield (await reader.readexactly(size + 2))[:-2]
        finally:
            await self.hang_up(writer)

    def look_at(self, headers: Mapping[str, str]) -> None:
        """Look at the headers of a good reply."""

    async def hang_up(self, writer: asyncio.StreamWriter) -> None:
        writer.close()

    def headers(self) -> dict[str, str]:
        if self.unavailable is not None:
            raise ProviderUnavailable(self.unavailable, provider=self.name)
        signed = {} if self.key is None else {"authorization": f"Bearer {self.key.reveal()}"}
        return {"host": self.url.netloc, "connection": "close", **signed}

    # ---- translation ----

    def body(self, request: Request, stream: bool) -> bytes:
        own = request.options.get(self.name, {})
        turns = [{"role": m.role, "parts": [p for part in m.parts if (p := self.say(part))]} for m in request.messages]
        document = {
            "model": request.model or self.default_model,
            "system": request.system,
            "temperature": request.temperature,
            "max_tokens": request.max_tokens,
            "stop": list(request.stop),
            "turns": turns,
            "tools": [{"name": tool.name, "parameters": dict(tool.parameters)} for tool in request.tools],
            "schema": request.output_schema,
            "stream": stream,
            **own,
        }
        return json.dumps(document).encode()

    def say(self, part: Part) -> Json | None:
        if isinstance(part, Text):
            return {"text": part.text}
        if isinstance(part, Thinking):
            own = part.provider_data.get(self.name)
            return {"thought": dict(own)} if own else None
        if isinstance(part, ToolCall):
            return {"call": part.id, "name": part.name, "arguments": dict(part.arguments)}
        if isinstance(part, ToolResult):
            return {"result": part.call_id, "text": part.text}
        return {"image" if isinstance(part, Image) else "file": base64.b64encode(part.data or b"").decode()}

    def parse(self, content: bytes) -> Any:
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise MalformedResponse(f"expected JSON, found {content!r:.80}") from None

    def answer(self, body: Any, request: Request) -> LLMResponse:
        if not isinstance(body, Mapping) or "stop" not in body:
            raise MalformedResponse(f"expected an answer, found {body!r:.80}")
        if body["stop"] == "blocked":
            raise ContentBlocked("the bird refuses")
        text, calls, thought = body.get("text", ""), body.get("calls", []), body.get("thought")
        if not text and not calls:
            raise EmptyResponse("the bird says nothing")
        parts: list[Part] = [Thinking(thought["text"], {self.name: dict(thought)})] if thought else []
        parts += [Text(text)] if text else []
        parts += [ToolCall(id=call["id"], name=call["name"], arguments=call["arguments"]) for call in calls]
        reason = REASONS[body["stop"]]
        return LLMResponse(
            True,
            text,
            self.name,
            model=self.default_model,
            finish_reason=reason,
            usage=Usage(input_tokens=body["in"], output_tokens=body["out"]),
            parts=tuple(parts),
            structured=structured_output(request, text, reason),
        )

    def failure(self, status: int, headers: Mapping[str, str], content: bytes) -> Failure:
        kind = classify_status(status)
        return kind(content.decode(), provider=self.name, status=status, retry_after=parse_retry_after(headers))

    @contextmanager
    def failures(self) -> Iterator[None]:
        try:
            yield
        except Failure as failure:
            failure.model = failure.model or self.default_model
            raise
        except (http.client.HTTPException, EOFError, ValueError) as error:
            raise ConnectionFailed(f"{type(error).__name__}: {error}", provider=self.name) from error
        except Exception as error:
            raise classify_exception(error) from error


class Reader:
    """Puts a stream's events together."""

    def __init__(self, provider: Parrot, request: Request) -> None:
        self.provider, self.request, self.text = provider, request, ""
        self.whole: Json | None = None
        self.ended = False

    def feed(self, line: bytes) -> Iterator[StreamEvent]:
        data = line.removeprefix(b"data: ").strip()
        if data == b"[DONE]":
            self.ended = True
        elif data:
            event = self.provider.parse(data)
            if "delta" in event:
                self.text += event["delta"]
                yield TextDelta(event["delta"])
            elif "thought" in event:
                yield ThinkingDelta(event["thought"])
            elif "call" in event:
                yield ToolCallDelta(0, event["id"], event["call"], event["arguments"])
            elif "whole" in event:
                self.whole = event["whole"]

    def finish(self) -> Finish:
        if not self.ended or self.whole is None:
            raise StreamInterrupted("no end marker", partial=self.text)
        return Finish(self.provider.answer(self.whole, self.request))


def both(whole: Json, *events: Json) -> tuple[Reply, Reply]:
    """Make an answer, plain and as a stream."""
    counted = {**whole, "in": 3, "out": 4}
    return Reply(counted), Reply.events(*events, {"whole": counted}, "[DONE]")


COSTS = Usage(input_tokens=3, output_tokens=4)
WORDS = [{"delta": word} for word in ("Good ", "evening, ", "dear ", "audience.")]
ANSWER, STREAM = both({"text": "Good evening, dear audience.", "stop": "end"}, *WORDS)
THOUGHT = {"text": "Be kind.", "signature": "signature-of-the-thought"}
REPLIES = {
    "tool_call": both(
        {"calls": [{"id": "c1", "name": "get_weather", "arguments": {"city": "Oslo"}}], "stop": "calls"},
        {"call": "get_weather", "id": "c1", "arguments": '{"city": '},
        {"call": "get_weather", "id": "c1", "arguments": '"Oslo"}'},
    ),
    "json": both({"text": '{"city": "Oslo"}', "stop": "end"}, {"delta": '{"city": '}, {"delta": '"Oslo"}'}),
    "thinking": both(
        {"thought": THOUGHT, "text": "Hello.", "stop": "end"}, {"thought": "Be kind."}, {"delta": "Hello."}
    ),
    "continuation": both({"text": "dear audience.", "stop": "end"}, *WORDS[2:]),
    "length": both({"text": "Good evening,", "stop": "length"}, {"delta": "Good evening,"}),
}
ERRORS = {"blocked": both({"stop": "blocked"}), "empty": both({"stop": "end", "text": ""})}


@hookimpl
def understudy_provider(settings: Settings) -> Parrot:
    return Parrot(settings)
