"""Those who ask: programs with a factory each, whose callers come, read, lose patience, or die in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, cast

from simulation.stores import Book, WatchedBudget, WatchedHedges
from simulation.vendors import BAD, Vendor
from simulation.world import CURRENT, CallRecord, History, VirtualLoop
from understudy import Finish, LLMFactory, LLMResponse, Policy, Request
from understudy.errors import ResponseRejected
from understudy.events import Event
from understudy.execution.call import Execution, Runtime
from understudy.execution.extensions import Extensions
from understudy.health.shared import GuardedStore
from understudy.limits import Limits

PROMPTS = (
    *("plain",) * 82,
    *("refused",) * 3,
    *("adaptable",) * 2,
    *("invalid",) * 3,
    *("poison",) * 2,
    *("large",) * 3,
    *("blocked",) * 2,
    *("starved",) * 2,
    "starving",
)
SHORT, LONG = 1024, 4000  # tokens; whole answers of the latter are asked for as streams
OPTIONS = {  # of a call, for a policy's number
    "max_retries": "max_retries",
    "retry_delay": "retry_delay",
    "attempt_timeout": "timeout",
    "deadline": "deadline",
}


class Listener:
    """Stands where a factory has its extensions: writes down every event for its call, and refuses bad answers."""

    listens = True

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def prepare_request(self, request: Request, provider_name: str) -> Request:
        return request

    def check_response(self, request: Request, response: LLMResponse) -> None:
        if BAD in response.content:
            raise ResponseRejected("bad")

    def tell(self, event: Event) -> None:
        CURRENT.get().told.append((self._clock(), replace(event, call="")))  # which differs in each process


@dataclass(frozen=True, slots=True)
class Manners:
    """How callers behave: shares from 0 to 1.

    Args:
        streaming: those who want a stream.
        leaving: those who cancel.
        stopping: those of a stream who read only its first pieces.
        dying: those whose process dies, so that the health store never hears of them again.
        overriding: those with numbers of their own.
        long: those who want a long answer.
        prompts: what they ask.
    """

    streaming: float = 0.5
    leaving: float = 0.06
    stopping: float = 0.04
    dying: float = 0.01
    overriding: float = 0.1
    long: float = 0.3
    prompts: Sequence[str] = PROMPTS


class Factory(LLMFactory):
    """The real factory, whose calls say what it made of them."""

    def _perform(self, *arguments: Any) -> Execution:
        performance = super()._perform(*arguments)
        record = CURRENT.get()
        record.used, record.performance = performance.policy, performance
        return performance


class Client:
    """One program.

    Args:
        number: which one, from 0.
        loop: the world's clock.
        history: where its calls are written down.
        draw: gives the random numbers.
        vendors: the route, primary first.
        policy: the factory's numbers.
        limits: the factory's limits.
        book: the health store.
        manners: how its callers behave.
    """

    def __init__(
        self,
        number: int,
        loop: VirtualLoop,
        history: History,
        draw: Random,
        vendors: Sequence[Vendor],
        policy: Policy,
        limits: Mapping[str, Limits],
        book: Book,
        manners: Manners,
    ) -> None:
        self.number = number
        self.policy = policy
        self.tasks: set[asyncio.Task[None]] = set()
        self._loop = loop
        self._history = history
        self._draw = draw
        self._book = book
        self._manners = manners

        def sleep(seconds: float) -> None:
            raise NotImplementedError("everything here happens on an event loop")

        self.factory = Factory(
            vendors[0],
            vendors[1:],
            settings={},
            policy=policy,
            extensions=[],
            limits=limits,
            health_store=book,
            runtime=Runtime(lambda: loop.now, sleep, asyncio.sleep, draw.random),
        )
        self.factory._extensions = cast(Extensions, Listener(lambda: loop.now))
        self.admission = self.factory._admission
        store = self.admission.store
        if isinstance(store, GuardedStore):
            store._local = Book(loop, history, Random(draw.random()), name=f"client {number}")
        self.admission.retries = WatchedBudget(policy.retry_budget, policy.retry_reserve, loop)
        self.admission.hedges = WatchedHedges(policy.hedge_share, loop)

    async def arrivals(self, rate: float, until: float) -> None:
        """Have callers come at random, so many a second in the mean, until that time."""
        while True:
            await asyncio.sleep(self._draw.expovariate(rate))
            if self._loop.now >= until:
                return
            self.arrive()

    def arrive(self, prompt: str | None = None, **changes: Any) -> CallRecord:
        """Have a caller come now, with a prompt and with numbers for this call alone, or with what comes to mind."""
        draw, manners = self._draw, self._manners
        if not changes and draw.random() < manners.overriding:
            changes = self._own_numbers()
        record = CallRecord(
            number=len(self._history.calls),
            client=self.number,
            policy=replace(self.policy, **changes) if changes else self.policy,
            streaming=draw.random() < manners.streaming,
            prompt=prompt or draw.choice(manners.prompts),
            max_tokens=LONG if draw.random() < manners.long else SHORT,
            arrived=self._loop.now,
        )
        self._history.calls.append(record)
        most = draw.randrange(1, 4) if record.streaming and draw.random() < manners.stopping else 0
        task = self._loop.create_task(self._live(record, changes, most))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        if draw.random() < manners.leaving and not most:
            self._loop.call_later(20 * draw.random() ** 2, task.cancel)
        elif draw.random() < manners.dying:
            self._loop.call_later(5 * draw.random(), self._die, record, task)
        return record

    def _own_numbers(self) -> dict[str, Any]:
        draw = self._draw
        return draw.choice(
            (
                {"max_retries": draw.randrange(3)},
                {"retry_delay": draw.choice((0.0, 1.0))},
                {"attempt_timeout": 3.0},
                {"deadline": 5.0 + 20 * draw.random()},
            )
        )

    async def _live(self, record: CallRecord, changes: dict[str, Any], most: int) -> None:
        CURRENT.set(record)
        known = {OPTIONS[name]: value for name, value in changes.items() if name in OPTIONS}
        options: Any = known if len(known) == len(changes) else {"policy": record.policy}
        options = {"max_tokens": record.max_tokens, **options}
        try:
            if not record.streaming:
                record.response = await self.factory.agenerate_content(record.prompt, **options)
                return
            stream: Any = self.factory.astream_content(record.prompt, **options)
            async for event in stream:
                record.pieces.append((self._loop.now, event))
                if type(event) is Finish:
                    record.response = event.response
                elif len(record.pieces) == most:
                    record.left = True
                    await stream.aclose()
                    return
        except asyncio.CancelledError:
            record.left = True
        except Exception as error:
            record.error = error
        finally:
            record.ended = self._loop.now
            record.open = [visit.vendor for visit in record.visits if visit.outcome == "under way"]
            if record.performance is not None:
                record.route = tuple(target.label for target in record.performance.targets)
                record.performance = None

    def _die(self, record: CallRecord, task: asyncio.Task[None]) -> None:
        record.died = True
        self._book.forgetful.add(record.number)
        task.cancel()
