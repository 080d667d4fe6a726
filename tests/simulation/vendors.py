"""The simulated vendors: what each of them answers, given what is wrong with it just now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from random import Random

from simulation.faults import Episode, current
from simulation.world import CURRENT, History, VirtualLoop, Visit
from understudy import (
    Capabilities,
    ChatProvider,
    Failure,
    Finish,
    FinishReason,
    LLMResponse,
    Policy,
    Request,
    StreamEvent,
    TextDelta,
    Usage,
)
from understudy.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    ContentBlocked,
    EmptyResponse,
    InvalidRequest,
    MalformedResponse,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    RequestTooLarge,
    ServerError,
)
from understudy.health.store import Claim, Lease
from understudy.masking import register_secret
from understudy.provider import Pace
from understudy.response import Heartbeat

SECRET = "simulated-key-0123456789"  # stands in some failures' words, as it does where a vendor repeats a header
NEVER = 36_000.0  # seconds: a vendor that hangs gives up itself after these
UNKNOWN = "", Lease(True), Claim(0, Policy(), 0.0)  # where the store gave no lease
BAD = "(bad)"  # the callers' own check refuses a text in which this stands
STARVED = {"starved": 1, "starving": 3}  # prompts that want more room, and how often a vendor asks for it

register_secret(SECRET)


@dataclass(slots=True)
class Reply:
    """What a vendor is going to do.

    Args:
        steps: the pieces of the answer, each after so many more seconds.
        after: seconds from the last piece to the end.
        failure: how it ends, where not well.
        finish: why the model stopped.
        ends: whether a stream says that it ends.
        silent: whether it gives no sign of life.
    """

    steps: list[tuple[float, str]] = field(default_factory=list)
    after: float = 0.0
    failure: Failure | None = None
    finish: FinishReason = FinishReason.STOP
    ends: bool = True
    silent: bool = False


class Vendor(ChatProvider):
    """One simulated vendor.

    Args:
        name: its name.
        loop: the world's clock.
        history: where its visitors are written down.
        draw: gives the random numbers.
        episodes: what goes wrong with it, one after another.
    """

    def __init__(self, name: str, loop: VirtualLoop, history: History, draw: Random, episodes: list[Episode]) -> None:
        self.name = name
        self.episodes = episodes
        self.default_model = f"{name}-1"
        self.credential = f"account of {name}"
        self.capabilities = Capabilities(
            streaming=True, native_async=True, keeps_deadline=True, prefill=draw.random() < 0.5
        )
        self.small = draw.random() < 0.5  # refuses what is larger than its quota, or has a field that others know
        beat = draw.choice((None, None, 3.0, 8.0))  # seconds between its signs of life
        self.own_pace = Pace(heartbeat=beat, thinks=draw.random() < 0.2)
        self.latency = 0.2 + draw.random()
        self._loop = loop
        self._history = history
        self._draw = draw
        self._quota: tuple[Episode | None, float, float] = None, 0.0, 0.0
        self._next = 0  # the episode that is on or comes next

    def get_provider_name(self) -> str:
        return self.name

    def generate(self, request: Request) -> LLMResponse:
        raise NotImplementedError("everything here happens on an event loop")

    def pace(self, request: Request) -> Pace:
        return self.own_pace

    @property
    def slowest(self) -> float:
        """The most seconds that it takes while it is sound."""
        return 1.5 * self.latency + 6 * 0.3

    async def agenerate(self, request: Request) -> LLMResponse:
        visit = self._enter(request, streaming=False)
        try:
            reply = self._reply(visit)
            seconds = reply.after
            for gap, piece in reply.steps:
                seconds += gap
                visit.text += piece
            await asyncio.sleep(seconds)
            return self._end(visit, reply)
        finally:
            self._leave(visit)

    async def astream(self, request: Request) -> AsyncIterator[StreamEvent]:
        visit = self._enter(request, streaming=True)
        try:
            reply = self._reply(visit)
            for gap, piece in reply.steps:
                async for sign in self._signs(visit, gap, reply.silent):
                    yield sign
                visit.text += piece
                visit.signs.append(self._loop.now)
                if piece.strip() or visit.pieces:
                    visit.pieces.append(self._loop.now)
                yield TextDelta(piece)
            async for sign in self._signs(visit, reply.after, reply.silent):
                yield sign
            if not reply.ends:
                visit.outcome = "failed"
                return
            response = self._end(visit, reply)
            visit.ended = self._loop.now
            yield Finish(response)
        finally:
            self._leave(visit)

    async def _signs(self, visit: Visit, seconds: float, silent: bool) -> AsyncIterator[StreamEvent]:
        """Let time pass, with signs of life where the vendor gives some."""
        beat = self.own_pace.heartbeat
        while beat is not None and not silent and seconds > beat:
            await asyncio.sleep(beat)
            seconds -= beat
            visit.signs.append(self._loop.now)
            yield Heartbeat()
        if seconds:
            await asyncio.sleep(seconds)

    def _enter(self, request: Request, *, streaming: bool) -> Visit:
        call = CURRENT.get()
        store, lease, claim = call.lease.get(self.name, UNKNOWN)
        visit = Visit(call.number, self.name, self._loop.now, streaming, store, lease, claim)
        visit.adapted, visit.thinks = request.adaptation is not None, self.own_pace.thinks
        visit.beat = self.own_pace.heartbeat
        call.visits.append(visit)
        self._history.visits.append(visit)
        return visit

    def _end(self, visit: Visit, reply: Reply) -> LLMResponse:
        if reply.failure is not None:
            visit.outcome, visit.failure = "failed", reply.failure
            raise reply.failure
        visit.outcome = "answered"
        usage = Usage(input_tokens=10, output_tokens=len(visit.text) // 4)
        return LLMResponse(
            True, visit.text, self.name, model=self.default_model, finish_reason=reply.finish, usage=usage
        )

    def _leave(self, visit: Visit) -> None:
        if visit.outcome == "under way":
            visit.outcome = "left"
        if visit.ended > self._loop.now:
            visit.ended = self._loop.now

    # ---- what it does ----

    def _reply(self, visit: Visit) -> Reply:
        now, call = visit.began, CURRENT.get()
        while self._next < len(self.episodes) and self.episodes[self._next].end <= now:
            self._next += 1
        wrong = current(self.episodes[self._next : self._next + 1], now)
        if wrong is not None:
            reply = FAULTS[wrong.kind](self, wrong, visit)
            if reply is not None:
                wrong.met += 1
                return reply
        asked = sum(other.vendor == self.name for other in call.visits)  # this one included
        if asked <= STARVED.get(call.prompt, 0) and now < self._history.healed:
            return Reply(after=0.1, failure=EmptyResponse("it thought", adaptation="with more room"))
        if call.prompt == "adaptable" and not visit.adapted:
            words = "without that field"
            return Reply(after=0.01, failure=RequestRefused("no such field here", status=400, adaptation=words))
        if (reason := self._fault_of_the_prompt(call.prompt)) is not None:
            return Reply(after=0.1, failure=reason)
        return self._until_an_outage(self._answer(visit), now)

    def _fault_of_the_prompt(self, prompt: str) -> Failure | None:
        if prompt == "invalid":
            return InvalidRequest(f"no such field, asked with {SECRET}")
        if prompt == "poison" and self._loop.now < self._history.healed:
            return ServerError("this prompt breaks the server")
        if prompt == "blocked":
            return ContentBlocked("not that")
        if prompt == "refused" and self.small:
            return RequestRefused(f"no such field here, asked with {SECRET}", status=400)
        return RequestTooLarge("larger than the quota") if prompt == "large" and self.small else None

    def _answer(self, visit: Visit, mark: str = "") -> Reply:
        draw = self._draw
        first = self.latency * (0.5 + draw.random())
        words = [f"{self.name}, call {visit.call}, visit {len(self._history.visits)}{mark}."]
        words += [f" word {number}" for number in range(draw.choice((0, 0, 1, 2, 4)))]
        steps = [
            (first if number == 0 else 0.3 * draw.choice((0, draw.random())), word) for number, word in enumerate(words)
        ]
        if draw.random() < 0.1:
            steps.insert(0, (0.0, "\n"))  # white space is not yet an answer
        return Reply(steps, 0.3 * draw.random())

    def _until_an_outage(self, reply: Reply, now: float) -> Reply:
        """An outage cuts what is under way."""
        following = next((one for one in self.episodes[self._next : self._next + 2] if one.begin > now), None)
        if following is None or following.kind != "outage" or following.begin > now + 30:
            return reply
        kept: list[tuple[float, str]] = []
        for gap, piece in reply.steps:
            if now + gap >= following.begin:
                break
            kept.append((gap, piece))
            now += gap
        else:
            if now + reply.after < following.begin:
                return reply
        following.met += 1
        return Reply(kept, following.begin - now, ConnectionFailed("reset in the middle of the answer"))

    # ---- what is wrong ----

    def _outage(self, wrong: Episode, visit: Visit) -> Reply:
        kind = self._draw.choice((ServerError, ConnectionFailed, Overloaded))
        seconds = 0.5 * self._draw.random() ** 4
        hint = 30 * self._draw.random() ** 3 if wrong.hinted and self._draw.random() < 0.3 else None
        return Reply(after=seconds, failure=kind(f"down since {wrong.begin:g}, asked with {SECRET}", retry_after=hint))

    def _gateway(self, wrong: Episode, visit: Visit) -> Reply:
        """Somebody before it waits for a while, and says then that nothing came."""
        return Reply(after=30 * wrong.strength, failure=ServerError("no answer from behind the gateway"), silent=True)

    def _brownout(self, wrong: Episode, visit: Visit) -> Reply | None:
        return self._outage(wrong, visit) if self._draw.random() < wrong.strength else None

    def _hang(self, wrong: Episode, visit: Visit) -> Reply:
        return Reply(after=NEVER, failure=ConnectionFailed("closed after hours"), silent=True)

    def _stalled(self, wrong: Episode, visit: Visit) -> Reply:
        """It says now and then that it is at work, and nothing comes of it; or the answer stops in the middle."""
        reply = self._answer(visit)
        kept = reply.steps[: self._draw.randrange(len(reply.steps) + 1)]
        return Reply(kept, NEVER, ConnectionFailed("closed after hours"), silent=wrong.hinted)

    def _slow(self, wrong: Episode, visit: Visit) -> Reply:
        reply = self._answer(visit)
        gap, first = reply.steps[0]
        reply.steps[0] = (gap + 30 * wrong.strength, first)
        return reply

    def _dribble(self, wrong: Episode, visit: Visit) -> Reply:
        words = self._answer(visit).steps
        return Reply([*words, *((25 * wrong.strength, ".") for _ in range(5))])

    def _refilling_quota(self, wrong: Episode, visit: Visit) -> Reply | None:
        """A bucket that fills slowly: so many requests at once, and then as many as drip in."""
        capacity, rate = 1 + 9 * (1 - wrong.strength), 0.02 + 0.5 * (1 - wrong.strength)
        episode, tokens, since = self._quota
        tokens = capacity if episode is not wrong else min(capacity, tokens + (visit.began - since) * rate)
        enough = tokens >= 1
        self._quota = wrong, tokens - 1 if enough else tokens, visit.began
        if enough:
            return None
        longer = 10 if self._draw.random() < 0.1 else 1  # some vendors say more than is needed
        hint = longer * (1 - tokens) / rate if wrong.hinted else None
        return Reply(after=0.05, failure=RateLimited("slow down", retry_after=hint))

    def _exhausted(self, wrong: Episode, visit: Visit) -> Reply:
        return Reply(after=0.05, failure=QuotaExhausted("no credit"))

    def _cut(self, wrong: Episode, visit: Visit) -> Reply:
        reply = self._answer(visit)
        kept = reply.steps[: self._draw.randrange(len(reply.steps) + 1)]
        return Reply(kept, 0.1, ConnectionFailed("closed in the middle of the answer"), ends=not wrong.hinted)

    def _empty(self, wrong: Episode, visit: Visit) -> Reply:
        return Reply([(0.1, "\n")] if wrong.hinted else [], 0.1)

    def _malformed(self, wrong: Episode, visit: Visit) -> Reply:
        return Reply(after=0.2, failure=MalformedResponse("expected JSON, found a page"))

    def _rejected(self, wrong: Episode, visit: Visit) -> Reply:
        reply = self._answer(visit, BAD)
        if wrong.hinted:
            reply.finish = FinishReason.LENGTH
        return reply

    def _locked(self, wrong: Episode, visit: Visit) -> Reply:
        return Reply(after=0.1, failure=AuthenticationFailed(f"no such key: {SECRET}"))


FAULTS: dict[str, Callable[[Vendor, Episode, Visit], Reply | None]] = {
    "outage": Vendor._outage,
    "brownout": Vendor._brownout,
    "hang": Vendor._hang,
    "gateway": Vendor._gateway,
    "stalled": Vendor._stalled,
    "slow": Vendor._slow,
    "dribble": Vendor._dribble,
    "quota": Vendor._refilling_quota,
    "exhausted": Vendor._exhausted,
    "cut": Vendor._cut,
    "empty": Vendor._empty,
    "malformed": Vendor._malformed,
    "rejected": Vendor._rejected,
    "locked": Vendor._locked,
}
