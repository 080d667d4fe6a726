"""Those who ask: the real factory, and what a program without it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Protocol, cast

from simulation.healthy.records import Call, Played
from simulation.healthy.vendors import Vendor
from simulation.world import VirtualLoop
from understudy import Failure, Finish, LLMFactory, LLMResponse, Message, Policy, Request, StreamInterrupted, Text
from understudy.events import BreakerChanged, Event
from understudy.execution.call import Runtime
from understudy.execution.extensions import Extensions
from understudy.limits import Limits

# What the vendors' SDKs do by themselves: openai 3.57.0, _constants.py and _base_client.py; anthropic 2.14.0 likewise.
RETRIES = 2
FIRST_DELAY, LONGEST_DELAY, JITTER = 0.5, 8.0, 0.25
PATIENCE = 600.0  # seconds until the vendor sends anything
LONGEST_HINT = 120.0

PROMPT = "Why is the sky blue?"


class Client(Protocol):
    """Somebody who asks."""

    async def ask(self, call: Call, *, streaming: bool) -> None:
        """Ask once, and write down in `call` who answered."""


class Naive:
    """A program that calls a vendor through its SDK, and then perhaps the next one.

    Args:
        vendors: whom it asks, in this order.
        loop: the clock.
        draw: gives the random numbers.
        deadline: seconds for a whole call; None for no limit.
    """

    def __init__(self, vendors: Sequence[Vendor], loop: VirtualLoop, draw: Random, deadline: float | None) -> None:
        self._vendors = vendors
        self._loop = loop
        self._draw = draw
        self._deadline = deadline
        self._request = Request(messages=(Message("user", (Text(PROMPT),)),))

    async def ask(self, call: Call, *, streaming: bool) -> None:
        """Ask one vendor after another, until one has answered, or has begun to and broken off."""
        attempt = self._read if streaming else self._get
        try:
            async with asyncio.timeout(self._deadline):
                for vendor in self._vendors:
                    if await self._insist(vendor, attempt, call):
                        return
        except TimeoutError:
            call.why = "the deadline passed"

    async def _insist(self, vendor: Vendor, attempt: Callable[[Vendor], Any], call: Call) -> bool:
        for retry in range(RETRIES + 1):
            try:
                whole = await attempt(vendor)
            except (Failure, _TooLong) as error:
                call.why = type(error).__name__
                if retry < RETRIES:
                    await asyncio.sleep(self._delay(retry, error))
                continue
            if whole:
                call.by = vendor.name
            else:
                call.why = "broken off"
            return True
        return False

    async def _get(self, vendor: Vendor) -> bool:
        try:
            async with asyncio.timeout(PATIENCE) as timeout:
                await vendor.agenerate(self._request)
        except TimeoutError:
            if not timeout.expired():
                raise
            raise _TooLong from None
        return True

    async def _read(self, vendor: Vendor) -> bool:
        """Read a stream to its end; False where it breaks off after something was handed out."""
        begun = False
        try:
            async with asyncio.timeout(PATIENCE) as timeout:
                async for event in vendor.astream(self._request):
                    timeout.reschedule(self._loop.now + PATIENCE)
                    begun = begun or bool(getattr(event, "text", ""))
        except (Failure, TimeoutError) as error:
            if begun:
                return False
            if isinstance(error, Failure) or not timeout.expired():
                raise
            raise _TooLong from None
        return True

    def _delay(self, retry: int, error: Exception) -> float:
        hint = getattr(error, "retry_after", None)
        if hint is not None and 0 < hint <= LONGEST_HINT:
            return float(hint)
        return min(FIRST_DELAY * 2.0**retry, LONGEST_DELAY) * (1.0 - JITTER * self._draw.random())


class _TooLong(Exception):
    """The SDK's own timeout."""


class Listener:
    """Stands where a factory has its extensions, and writes down what becomes of the breakers."""

    listens = True

    def __init__(self, loop: VirtualLoop, played: Played) -> None:
        self._loop = loop
        self._played = played

    def prepare_request(self, request: Request, provider_name: str) -> Request:
        return request

    def check_response(self, request: Request, response: LLMResponse) -> None:
        """Take every answer."""

    def tell(self, event: Event) -> None:
        if isinstance(event, BreakerChanged):
            self._played.breaker.append((self._loop.now, event.target, event.state))


class Understudy:
    """A program with one factory.

    Args:
        vendors: the route, primary first.
        loop: the clock.
        draw: gives the random numbers.
        policy: the factory's.
        limits: the factory's.
        options: what each call is given.
        played: where it is written down what becomes of the breakers.
    """

    def __init__(
        self,
        vendors: Sequence[Vendor],
        loop: VirtualLoop,
        draw: Random,
        policy: Policy,
        limits: Mapping[str, Limits],
        options: Mapping[str, Any],
        played: Played,
    ) -> None:
        def sleep(seconds: float) -> None:
            raise NotImplementedError("everything here happens on an event loop")

        self._options = dict(options)
        self._factory = LLMFactory(
            vendors[0],
            vendors[1:],
            settings={},
            policy=policy,
            extensions=[],
            limits=limits,
            runtime=Runtime(lambda: loop.now, sleep, asyncio.sleep, draw.random),
        )
        self._factory._extensions = cast(Extensions, Listener(loop, played))

    async def ask(self, call: Call, *, streaming: bool) -> None:
        """Ask the factory."""
        options: Any = self._options
        try:
            if not streaming:
                response = await self._factory.agenerate_content(PROMPT, **options)
            else:
                async for event in self._factory.astream_content(PROMPT, **options):
                    if isinstance(event, Finish):
                        response = event.response
        except StreamInterrupted as error:
            call.why = f"broken off: {error}"
            return
        call.by = response.provider_name if response.success else ""
        call.why = response.error or ""
