"""Those who answer: each as its kind does, when its weather is fair and when it is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from random import Random

from simulation.healthy.box import SLOWEST, Box
from simulation.healthy.days import SLOWER, Day, Weather, blip, forecast, is_within, soon, trouble
from simulation.healthy.kinds import GAP, GAP_SPREAD, PIECE, Answer, Kind, lognormal
from simulation.healthy.records import CURRENT, NEVER, Visit
from simulation.world import BEGINNING, VirtualLoop
from understudy import (
    Capabilities,
    ChatProvider,
    Failure,
    Finish,
    FinishReason,
    LLMResponse,
    Request,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    Usage,
)
from understudy.errors import RateLimited
from understudy.provider import Pace
from understudy.response import Heartbeat

INPUT_TOKENS = 500  # of every prompt: an assumption
THOUGHTS = 0.8  # of a thinking model's time, until which its pieces are thoughts: an assumption
BUCKET = 10.0  # seconds of the full rate that may come at once: an assumption
WORD = "word "


class Bucket:
    """A vendor's limit of requests: so many a second, and those of some seconds at once.

    Args:
        rate: requests a second.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = self._left = max(BUCKET * rate, 20.0)
        self._since = 0.0

    def take(self, now: float) -> float:
        """Take one request out; return 0.0, or the seconds until there is one, where there is none."""
        self._left = min(self._most, self._left + (now - self._since) * self._rate)
        self._since = now
        if self._left < 1.0:
            return (1.0 - self._left) / self._rate
        self._left -= 1.0
        return 0.0


class Vendor(ChatProvider):
    """One vendor.

    Args:
        name: its name.
        kind: how it answers.
        loop: the clock.
        seed: of the day.
        day: what is wrong with it besides its weather, where it is the primary.
        weather: the small things.
        rate: requests a second that it allows; None for any number.
        visits: where its visits are written down.
    """

    def __init__(
        self,
        name: str,
        kind: Kind,
        loop: VirtualLoop,
        seed: int,
        day: Day,
        weather: Weather,
        rate: float | None,
        visits: list[Visit],
    ) -> None:
        self.name = name
        self.default_model = f"{name}-1"
        self.credential = f"account of {name}"
        self.capabilities = Capabilities(streaming=True, native_async=True, keeps_deadline=True, thinking=kind.thinks)
        self.kind = kind
        self._loop = loop
        self._seed = seed
        self._day = day
        self._weather = weather
        self._forecast = forecast(f"{seed} {name}", weather, day.length + 600.0)
        self._bucket = None if rate is None else Bucket(rate)
        self._box = Box(loop, seed) if kind.local else None
        self._visits = visits
        self.is_over = False  # the day, so that nobody has left who is still there

    def get_provider_name(self) -> str:
        return self.name

    def generate(self, request: Request) -> LLMResponse:
        raise NotImplementedError("everything here happens on an event loop")

    def pace(self, request: Request) -> Pace:
        loading = 0.0 if self._box is None or self._box.is_loaded else SLOWEST
        kind = self.kind
        return Pace(thinks=kind.thinks, heartbeat=kind.heartbeat, loading=loading, local=kind.local)

    async def agenerate(self, request: Request) -> LLMResponse:
        visit, answer, failure, _ = self._enter(streaming=False)
        try:
            await self._fail(visit, failure)
            async with self._place(visit):
                self._begin(visit, answer)
                await asyncio.sleep(answer.seconds)
            return self._end(visit)
        finally:
            self._leave(visit)

    async def astream(self, request: Request) -> AsyncIterator[StreamEvent]:
        visit, answer, failure, draw = self._enter(streaming=True)
        longest = self.kind.heartbeat or NEVER
        try:
            await self._fail(visit, failure)
            async with self._place(visit):
                self._begin(visit, answer)
                for gap, event in self._pieces(answer, draw):
                    while gap > longest:
                        await asyncio.sleep(longest)
                        gap -= longest
                        yield Heartbeat()
                    await asyncio.sleep(gap)
                    yield event
            yield Finish(self._end(visit))
        finally:
            self._leave(visit)

    # ---- one request ----

    def _enter(self, *, streaming: bool) -> tuple[Visit, Answer, tuple[Failure | None, float], Random]:
        call, at = CURRENT.get(), self._loop.now
        draw = Random(f"{self._seed} {self.name} {call.number} {call.visit(self.name)}")
        answer = self.kind.answer(draw, call.chance())
        now = at - BEGINNING
        fault = self._day.fault_at(now)
        self._slow_down(answer, now, fault)
        failure = self._failure(draw, now, fault)
        visit = Visit(call.number, self.name, at, streaming, failure[0] is None, bool(fault), answer.tokens)
        call.visits.append(visit)
        self._visits.append(visit)
        return visit, answer, failure, draw

    def _slow_down(self, answer: Answer, now: float, fault: str) -> None:
        times = self._weather.slower if is_within(self._forecast.slow, now) else 1.0
        times *= SLOWER if fault == "brown-out" else 1.0
        answer.times = times
        answer.first *= times
        answer.seconds *= times

    def _failure(self, draw: Random, now: float, fault: str) -> tuple[Failure | None, float]:
        weather = self._weather
        after, hinted, chance = soon(draw), draw.random() < 0.5, draw.random()
        free_in = 0.0 if self._bucket is None else self._bucket.take(now)
        failure, seconds = trouble(draw, fault, weather.burst_limited)
        if failure is not None:
            return failure, seconds
        if free_in:
            return RateLimited("too many requests", retry_after=free_in if hinted else None), after
        burst = is_within(self._forecast.bursts, now)
        if chance < (weather.burst_errors if burst else weather.errors):
            return blip(draw, weather.burst_limited if burst else weather.limited), after
        return None, 0.0

    async def _fail(self, visit: Visit, failure: tuple[Failure | None, float]) -> None:
        error, seconds = failure
        if error is not None:
            await asyncio.sleep(seconds)
            visit.outcome = "failed"
            raise error

    def _place(self, visit: Visit) -> AbstractAsyncContextManager[None]:
        return nullcontext() if self._box is None else self._box.place(visit.call)

    def _begin(self, visit: Visit, answer: Answer) -> None:
        now = self._loop.now
        # Thoughts are written from the beginning on, whether somebody sees them or not.
        visit.works_from = now + (0.0 if self.kind.thinks else answer.first)
        visit.works_until = now + answer.seconds
        visit.whole = not visit.streaming and self._box is None  # one's own machine stops when nobody listens

    def _pieces(self, answer: Answer, draw: Random) -> Iterator[tuple[float, StreamEvent]]:
        """Yield the pieces of a stream, each after so many more seconds."""
        thinks, gap, now = self.kind.thinks, answer.first, answer.first
        if self.kind.heartbeat:
            yield answer.accepted, Heartbeat()
            gap -= answer.accepted
        while now < answer.seconds:
            yield gap, ThinkingDelta(WORD) if thinks and now < THOUGHTS * answer.seconds else TextDelta(WORD)
            gap = answer.times * lognormal(draw, GAP, GAP_SPREAD) if thinks else PIECE * answer.times
            gap = min(gap, answer.seconds - now) or PIECE
            now += gap
        yield gap, TextDelta(WORD)

    def _end(self, visit: Visit) -> LLMResponse:
        visit.outcome, visit.ended = "answered", self._loop.now
        usage = Usage(input_tokens=INPUT_TOKENS, output_tokens=visit.tokens)
        return LLMResponse(
            True, WORD, self.name, model=self.default_model, finish_reason=FinishReason.STOP, usage=usage
        )

    def _leave(self, visit: Visit) -> None:
        if visit.ended != NEVER:
            return
        visit.ended = self._loop.now
        if visit.outcome == "under way" and not self.is_over:
            visit.outcome = "left"
