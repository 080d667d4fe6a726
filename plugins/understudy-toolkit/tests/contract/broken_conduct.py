"""Providers that break a rule each: of capabilities, of their life, and of what they do when the vendor fails."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

from parrot import Json, Parrot

from understudy import (
    Capabilities,
    Failure,
    Finish,
    LLMResponse,
    Part,
    Request,
    StreamEvent,
    StreamInterrupted,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
)
from understudy.errors import InvalidRequest, MalformedResponse, RateLimited, ServerError, Timeout
from understudy_toolkit.conformance import asking


class Deaf(Parrot):
    def say(self, part: Part) -> Json | None:
        return {"result": part.call_id} if isinstance(part, ToolResult) else super().say(part)


class Blind(Parrot):
    def say(self, part: Part) -> Json | None:
        said = super().say(part)
        return None if said is not None and "image" in said else said


class Illiterate(Parrot):
    def say(self, part: Part) -> Json | None:
        said = super().say(part)
        return None if said is not None and "file" in said else said


class Clumsy(Parrot):
    def stream(self, request: Request) -> Iterator[StreamEvent]:
        for event in super().stream(request):
            yield replace(event, arguments=event.arguments[:5]) if isinstance(event, ToolCallDelta) else event


class Jealous(Parrot):
    def say(self, part: Part) -> Json | None:
        if isinstance(part, ToolCall) and part.id != "c1":
            raise InvalidRequest("never heard of that call", provider=self.name)
        return super().say(part)


class Repeating(Parrot):
    def generate(self, request: Request) -> LLMResponse:
        response = super().generate(request)
        begun = request.messages[-1].text if request.messages[-1].role == "assistant" else ""
        return replace(response, content=begun + response.content, parts=()) if begun else response


class Brooding(Parrot):
    def stream(self, request: Request) -> Iterator[StreamEvent]:
        return (event for event in super().stream(request) if not isinstance(event, ThinkingDelta))


class NothingLacking(Capabilities):
    def lacking(self, request: Request) -> str | None:
        return None


class Greedy(Parrot):
    capabilities = NothingLacking(tools=True, files=True, output_schema=True, thinking=True, streaming=True)


class Oblivious(Parrot):
    def say(self, part: Part) -> Json | None:
        return None if isinstance(part, Thinking) else super().say(part)


class Hoarding(Parrot):
    def stream(self, request: Request) -> Iterator[StreamEvent]:
        yield from list(super().stream(request))


class Stubborn(Parrot):
    async def agenerate(self, request: Request) -> LLMResponse:
        return self.generate(request)


class Drowsy(Parrot):
    async def astream(self, request: Request) -> AsyncIterator[StreamEvent]:
        async for event in super().astream(request):
            time.sleep(0.08)
            yield event


# ---- life ----


class Gathering(Parrot):
    text = ""

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        self.text = ""
        for event in super().stream(request):
            self.text += event.text if isinstance(event, TextDelta) else ""
            if isinstance(event, Finish):
                event = Finish(replace(event.response, content=self.text, parts=()))
            yield event


class Solitary(Parrot):
    loop: asyncio.AbstractEventLoop | None = None

    async def agenerate(self, request: Request) -> LLMResponse:
        if self.loop is not None and self.loop is not asyncio.get_running_loop():
            raise ServerError("busy on another event loop")
        self.loop = asyncio.get_running_loop()
        try:
            return await super().agenerate(request)
        finally:
            self.loop = None


class Hopping(Parrot):
    pass


class Hurrying(Parrot):
    def stream(self, request: Request) -> Iterator[StreamEvent]:
        until = time.monotonic() + self.patience(request)
        for event in super().stream(request):
            if time.monotonic() > until:
                raise Timeout("the stream took too long")
            yield event


class Confused(Parrot):
    def generate(self, request: Request) -> LLMResponse:
        self.asked = request
        time.sleep(0.01)
        return replace(super().generate(request), content=self.asked.prompt, parts=())

    async def agenerate(self, request: Request) -> LLMResponse:
        return replace(await super().agenerate(request), content=request.prompt, parts=())


class Muddled(Parrot):
    def generate(self, request: Request) -> LLMResponse:
        return replace(super().generate(request), content=request.prompt, parts=())

    async def agenerate(self, request: Request) -> LLMResponse:
        self.asked = request
        response = await super().agenerate(request)
        return replace(response, content=self.asked.prompt, parts=())


class Ajar(Parrot):
    closed = False

    async def aclose(self) -> None:
        self.closed = True

    async def agenerate(self, request: Request) -> LLMResponse:
        if self.closed:
            raise ServerError("the client is closed")
        return await super().agenerate(request)


class Unstoppable(Parrot):
    def stream(self, request: Request) -> Iterator[StreamEvent]:
        return iter(list(super().stream(request)))


class Monogamous(Parrot):
    loop: asyncio.AbstractEventLoop | None = None

    async def agenerate(self, request: Request) -> LLMResponse:
        self.loop = self.loop or asyncio.get_running_loop()
        if self.loop is not asyncio.get_running_loop():
            raise RuntimeError("Event loop is closed")
        return await super().agenerate(request)


class Clinging(Parrot):
    kept: ClassVar[list[object]] = []  # collected, they would be closed

    @contextmanager
    def post(self, request: Request, stream: bool) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(self.url.netloc, timeout=self.patience(request))
        connection.request("POST", "/chat", self.body(request, stream), {**self.headers(), "connection": "keep-alive"})
        reply = connection.getresponse()
        self.kept += [connection, reply]
        yield reply


class Finished(Parrot):
    closed = False

    def close(self) -> None:
        self.closed = True

    def generate(self, request: Request) -> LLMResponse:
        if self.closed:
            raise ServerError("the client is closed")
        return super().generate(request)


class Threaded(Parrot):
    def generate(self, request: Request) -> LLMResponse:
        threading.Thread(target=time.sleep, args=(asking.PATIENCE + 1,), daemon=True).start()
        return super().generate(request)


# ---- failures ----


class Insistent(Parrot):
    def generate(self, request: Request) -> LLMResponse:
        try:
            return super().generate(request)
        except (RateLimited, ServerError):
            return super().generate(request)


class Sulking(Parrot):
    hurt = False

    def generate(self, request: Request) -> LLMResponse:
        if self.hurt:
            raise ServerError("not after what you did")
        try:
            return super().generate(request)
        except Failure:
            self.hurt = True
            raise


class Sweeping(Parrot):
    def failure(self, status: int, headers: Mapping[str, str], content: bytes) -> Failure:
        failure = super().failure(status, headers, content)
        return ServerError(failure.message, provider=self.name, retry_after=failure.retry_after)


class Hintless(Parrot):
    def failure(self, status: int, headers: Mapping[str, str], content: bytes) -> Failure:
        return super().failure(status, {}, content)


class Patient(Parrot):
    def patience(self, request: Request) -> float:
        return max(0.9, super().patience(request))


class Raising(Parrot):
    def patience(self, request: Request) -> float:
        return max(2.0, super().patience(request))


class Endlessly(Parrot):
    def patience(self, request: Request) -> float:
        return 600.0


class Bottomless(Parrot):
    def parse(self, content: bytes) -> Any:
        try:
            return json.loads(content)
        except ValueError:
            return super().parse(content)


class Wandering(Parrot):
    def generate(self, request: Request) -> LLMResponse:
        try:
            return super().generate(request)
        except Failure as failure:
            if failure.status == 307:
                return super().generate(request)
            raise


class Telling(Parrot):
    def failure(self, status: int, headers: Mapping[str, str], content: bytes) -> Failure:
        failure = super().failure(status, headers, content)
        failure.__cause__ = RuntimeError(f"the request had {self.headers()}")
        return failure


class Raw(Parrot):
    def generate(self, request: Request) -> LLMResponse:
        try:
            return super().generate(request)
        except MalformedResponse as failure:
            raise RuntimeError(str(failure)) from None


class Contented(Parrot):
    def stream(self, request: Request) -> Iterator[StreamEvent]:
        text = ""
        try:
            for event in super().stream(request):
                text += event.text if isinstance(event, TextDelta) else ""
                yield event
        except StreamInterrupted:
            yield Finish(LLMResponse(True, text, self.name))


class Absent(Parrot):
    def stream(self, request: Request) -> Iterator[StreamEvent]:
        try:
            yield from super().stream(request)
        except StreamInterrupted as failure:
            failure.partial = ""
            raise


class Lingering(Parrot):
    kept: ClassVar[list[object]] = []  # collected, they would be closed

    async def hang_up(self, writer: asyncio.StreamWriter) -> None:
        self.kept.append(writer)


class Abrupt(Parrot):
    def generate_content(self, prompt: str, temperature: float = 0.0, max_tokens: int = 1024) -> LLMResponse:
        response = super().generate_content(prompt, temperature, max_tokens)
        response.raise_for_failure()
        return response


class Overriding(Parrot):
    async def astream(self, request: Request) -> AsyncIterator[StreamEvent]:
        async for event in super().astream(request):
            yield event
