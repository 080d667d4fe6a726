"""A provider that follows a script, and a clock that advances only during waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from copy import copy
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from understudy.errors import Failure
from understudy.execution.call import Runtime
from understudy.messages import Request, Text
from understudy.provider import Capabilities, ChatProvider
from understudy.response import Finish, FinishReason, LLMResponse, StreamEvent, TextDelta

T = TypeVar("T")
Line: TypeAlias = "str | LLMResponse | BaseException | tuple[str | BaseException, ...]"


class ScriptedProvider(ChatProvider):
    """Answers each request with the next line of its script, and records the requests.

    Args:
        name: the provider's name.
        script: what it does in turn: a text or an LLMResponse answers, an exception is raised; a tuple gives a
            stream piece by piece, an exception in it breaking the stream off there, and without one the stream
            ends as it should. The last line is repeated for ever.
        capabilities: the capabilities that it declares.
        unavailable: why it cannot be asked, or None.
        act: called with the request before each line, for example to move a clock.
    """

    def __init__(
        self,
        name: str,
        script: Iterable[Line] = ("Hello.",),
        *,
        capabilities: Capabilities | None = None,
        unavailable: str | None = None,
        act: Callable[[Request], None] | None = None,
    ) -> None:
        self.name = name
        self.script = list(script)
        self.capabilities = capabilities or Capabilities(streaming=True, native_async=True)
        self.unavailable = unavailable
        self.act = act
        self.requests: list[Request] = []
        self._lock = threading.Lock()

    def get_provider_name(self) -> str:
        """Return the name it was given."""
        return self.name

    def unavailable_reason(self) -> str | None:
        """Return the reason it was given, or None."""
        return self.unavailable

    def generate(self, request: Request) -> LLMResponse:
        """Play the next line as a whole answer."""
        line = self._next(request)
        if isinstance(line, tuple):
            for piece in line:
                if isinstance(piece, BaseException):
                    raise _fresh(piece)
            line = "".join(str(piece) for piece in line)
        return self._answer(line)

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """Play the next line as a stream."""
        line = self._next(request)
        pieces = line if isinstance(line, tuple) else (line,)
        text = ""
        for piece in pieces:
            if isinstance(piece, BaseException):
                raise _fresh(piece)
            if isinstance(piece, LLMResponse):
                yield TextDelta(piece.content)
                yield Finish(piece)
                return
            text += piece
            yield TextDelta(piece)
        yield Finish(self._answer(text))

    async def agenerate(self, request: Request) -> LLMResponse:
        """Play the next line as a whole answer."""
        return self.generate(request)

    async def astream(self, request: Request) -> AsyncIterator[StreamEvent]:
        """Play the next line as a stream."""
        for event in self.stream(request):
            yield event

    def _next(self, request: Request) -> Line:
        with self._lock:
            self.requests.append(request)
            line = self.script[min(len(self.requests), len(self.script)) - 1]
        if self.act is not None:
            self.act(request)
        return line

    def _answer(self, line: str | LLMResponse | BaseException) -> LLMResponse:
        if isinstance(line, BaseException):
            raise _fresh(line)
        if isinstance(line, LLMResponse):
            return line
        return LLMResponse(True, line, self.name, model="script", finish_reason=FinishReason.STOP, parts=(Text(line),))


def _fresh(error: BaseException) -> BaseException:
    """Copy a failure of the script, since the factory writes the provider and model into failures."""
    return copy(error) if isinstance(error, Failure) else error


@dataclass(slots=True)
class VirtualClock:
    """A clock that advances only during waits, for tests of what takes minutes.

        clock = VirtualClock()
        factory = LLMFactory("gemini", ["claude"], runtime=clock.runtime())
        response = clock.run(factory.agenerate_content("hello"))

    Args:
        now: seconds since its beginning.
        waits: every wait so far, in seconds.
    """

    now: float = 0.0
    waits: list[float] = field(default_factory=list)
    _running: bool = field(default=False, init=False, repr=False)

    def advance(self, seconds: float) -> None:
        """Advance the clock, as a slow provider would."""
        self.now += seconds

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on an event loop with this clock: its sleeps and timeouts take no time either.

        Returns:
            What the coroutine returns.
        """
        from understudy.testing.virtual_loop import VirtualLoop

        with asyncio.Runner(loop_factory=lambda: VirtualLoop(self)) as runner:
            self._running = True
            try:
                return runner.run(coroutine)
            finally:
                self._running = False

    def runtime(self, random: Callable[[], float] = lambda: 0.5) -> Runtime:
        """Return what LLMFactory takes as its runtime.

        Args:
            random: gives numbers from 0 to below 1, for jitter.
        """

        def sleep(seconds: float) -> None:
            self.waits.append(seconds)
            self.now += seconds

        async def async_sleep(seconds: float) -> None:
            if self._running:
                self.waits.append(seconds)
                await asyncio.sleep(seconds)
            else:
                sleep(seconds)

        return Runtime(lambda: self.now, sleep, async_sleep, random)
