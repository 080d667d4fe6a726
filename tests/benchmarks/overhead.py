"""What a call through the factory costs by itself: CPU time over a provider that does nothing.

Aims: at most 25 microseconds for a call, 60 for one on an event loop, 40 for a call with everything on. `added` is what
is left without the time of the provider itself. A stream has one piece and its end. `three methods` is a provider class
with nothing but those. `everything` is the policy eager (breaker, cooldown, budget, deadline) with limits of requests,
tokens and slots, and with max_concurrent_calls. `in the background` is a call of a provider that does not keep the
deadline by itself: it runs on an event loop in another thread.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from _measure import (
    MICROSECOND,
    aexhaust,
    compare,
    difference,
    exhaust,
    isolate,
    repeated,
    repeated_async,
    show,
    spread,
)

from understudy import (
    Capabilities,
    ChatProvider,
    Finish,
    Limits,
    LLMFactory,
    LLMProvider,
    LLMResponse,
    Message,
    Policy,
    Request,
    StreamEvent,
    TextDelta,
)

CALLS = 300
SECONDS = 10.0
PROMPT = "Why is the sky blue?"
ANSWER = LLMResponse(True, "Because.", "nothing")
AIMS = {"call": "aim <= 25", "call, eager, everything": "aim <= 40", "async call": "aim <= 60"}
LIMITS = {"nothing": Limits(requests_per_minute=10**9, tokens_per_minute=10**12, concurrent=100)}


class Nothing(ChatProvider):
    """Answers at once."""

    capabilities = Capabilities(keeps_deadline=True)

    def get_provider_name(self) -> str:
        return "nothing"

    def generate(self, request: Request) -> LLMResponse:
        return ANSWER

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        yield TextDelta("Because.")
        yield Finish(ANSWER)

    async def agenerate(self, request: Request) -> LLMResponse:
        return ANSWER

    async def astream(self, request: Request) -> AsyncIterator[StreamEvent]:
        yield TextDelta("Because.")
        yield Finish(ANSWER)


class KeepsNoDeadline(Nothing):
    """Answers at once, and does not say that it always does."""

    capabilities = Capabilities()


class ThreeMethods(LLMProvider):
    """Answers at once, with the three methods that are enough for a provider."""

    def generate_content(self, prompt: str, temperature: float = 0.0, max_tokens: int = 1024) -> LLMResponse:
        return ANSWER

    def get_provider_name(self) -> str:
        return "three methods"

    def is_available(self) -> bool:
        return True


def main() -> None:
    """Measure, and print the table."""
    isolate()
    provider = Nothing()
    factory, plain = LLMFactory(provider, []), LLMFactory(ThreeMethods(), [])
    eager, waited = LLMFactory(provider, [], policy="eager"), LLMFactory(KeepsNoDeadline(), [], policy="eager")
    everything = LLMFactory(provider, [], policy=Policy.eager(max_concurrent_calls=100), limits=LIMITS)
    request = Request(messages=(Message.user(PROMPT),))
    with asyncio.Runner() as runner:

        def asynchronous(call: Callable[[], Awaitable[object]]) -> Callable[[], object]:
            return repeated_async(runner, call, CALLS)

        turns = {
            "call": repeated(lambda: factory.generate_content(PROMPT), CALLS),
            "call, eager": repeated(lambda: eager.generate_content(PROMPT), CALLS),
            "call, eager, everything": repeated(lambda: everything.generate_content(PROMPT), CALLS),
            "call, eager, in the background": repeated(lambda: waited.generate_content(PROMPT), CALLS),
            "call, three methods": repeated(lambda: plain.generate_content(PROMPT), CALLS),
            "async call": asynchronous(lambda: factory.agenerate_content(PROMPT)),
            "stream": repeated(lambda: exhaust(factory.stream_content(PROMPT)), CALLS),
            "async stream": asynchronous(lambda: aexhaust(factory.astream_content(PROMPT))),
        }
        alone = {
            "call": repeated(lambda: provider.generate(request), CALLS),
            "async call": asynchronous(lambda: provider.agenerate(request)),
            "stream": repeated(lambda: exhaust(provider.stream(request)), CALLS),
            "async stream": asynchronous(lambda: aexhaust(provider.astream(request))),
        }
        alone |= {name: alone["call"] for name in turns if name.startswith("call,")}
        named_alone = {f"{name} without": turn for name, turn in alone.items()}
        timings = compare({**turns, **named_alone}, calls=CALLS, seconds=SECONDS)
    rows = []
    for name in turns:
        with_factory, without = timings[name].cpu, timings[f"{name} without"].cpu
        added = f"{difference(with_factory, without) / MICROSECOND:.1f}"
        rows.append([name, *spread(with_factory, MICROSECOND), added, AIMS.get(name, "")])
    show(
        f"Over a provider that does nothing, CPU in microseconds a call ({len(with_factory)} rounds of {CALLS} calls)",
        ["", "least", "median", "9 of 10", "added", "aim"],
        rows,
    )


if __name__ == "__main__":
    main()
