"""What a stream of 1,000 pieces costs: through the factory alone, and beside the raw anthropic SDK.

In the first table the provider does nothing but yield 1,000 pieces, so what is added is the factory's own. In the
second the same server sends 1,000 pieces at once to the raw SDK, read once event by event and once with the SDK's own
helper, and to the factory with the claude plugin, which is compared with the first. No aim is set for either table.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import anthropic
from _measure import (
    HEADS,
    MICROSECOND,
    aexhaust,
    beside,
    compare,
    difference,
    exhaust,
    isolate,
    repeated,
    repeated_async,
    show,
    spread,
)
from _sides import MAX_TOKENS, MESSAGES, PROMPT, async_claude_client, claude_client, factory
from _upstream import CHUNKS, CLAUDE, upstream

from understudy import ChatProvider, Finish, LLMFactory, LLMResponse, Message, Request, StreamEvent, TextDelta

CALLS = 3
SECONDS = 12.0  # for each of the two comparisons
PIECES = [f"word {number} " for number in range(CHUNKS)]
ANSWER = LLMResponse(True, "".join(PIECES), "pieces")


class Pieces(ChatProvider):
    """Yields pieces, each as soon as it is asked for."""

    def get_provider_name(self) -> str:
        return "pieces"

    def generate(self, request: Request) -> LLMResponse:
        return ANSWER

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        for piece in PIECES:
            yield TextDelta(piece)
        yield Finish(ANSWER)

    async def astream(self, request: Request) -> AsyncIterator[StreamEvent]:
        for piece in PIECES:
            yield TextDelta(piece)
        yield Finish(ANSWER)


def read_events(client: anthropic.Anthropic) -> int:
    """Read the raw events of a stream, and count the characters of its text."""
    events = client.messages.create(model=CLAUDE, max_tokens=MAX_TOKENS, messages=MESSAGES, stream=True)
    return sum(
        len(event.delta.text)
        for event in events
        if event.type == "content_block_delta" and event.delta.type == "text_delta"
    )


async def async_read_events(client: anthropic.AsyncAnthropic) -> int:
    """Read the raw events of a stream, and count the characters of its text."""
    length = 0
    events = await client.messages.create(model=CLAUDE, max_tokens=MAX_TOKENS, messages=MESSAGES, stream=True)
    async for event in events:
        if event.type == "content_block_delta" and event.delta.type == "text_delta":
            length += len(event.delta.text)
    return length


def read_helper(client: anthropic.Anthropic) -> int:
    """Read a stream's text with the SDK's own helper, which puts the message together, too; count its characters."""
    with client.messages.stream(model=CLAUDE, max_tokens=MAX_TOKENS, messages=MESSAGES) as stream:
        return sum(map(len, stream.text_stream))


async def async_read_helper(client: anthropic.AsyncAnthropic) -> int:
    """Read a stream's text with the SDK's own helper, which puts the message together, too; count its characters."""
    async with client.messages.stream(model=CLAUDE, max_tokens=MAX_TOKENS, messages=MESSAGES) as stream:
        return sum([len(text) async for text in stream.text_stream])


def read(factory: LLMFactory) -> int:
    """Read a stream's text through the factory, and count its characters."""
    return sum(len(event.text) for event in factory.stream_content(PROMPT) if isinstance(event, TextDelta))


async def async_read(factory: LLMFactory) -> int:
    """Read a stream's text through the factory, and count its characters."""
    events = factory.astream_content(PROMPT)
    return sum([len(event.text) async for event in events if isinstance(event, TextDelta)])


def factory_alone(runner: asyncio.Runner) -> list[list[str]]:
    """Measure the factory over a provider that does nothing but yield pieces."""
    provider = Pieces()
    over = LLMFactory(provider, [])
    request = Request(messages=(Message.user(PROMPT),))
    turns = {
        "stream": repeated(lambda: exhaust(over.stream_content(PROMPT)), CALLS),
        "stream alone": repeated(lambda: exhaust(provider.stream(request)), CALLS),
        "async stream": repeated_async(runner, lambda: aexhaust(over.astream_content(PROMPT)), CALLS),
        "async stream alone": repeated_async(runner, lambda: aexhaust(provider.astream(request)), CALLS),
    }
    timings = compare(turns, calls=CALLS, seconds=SECONDS / 2)
    rows = []
    for name in ("stream", "async stream"):
        cpu = timings[name].cpu
        added = difference(cpu, timings[f"{name} alone"].cpu)
        rows.append([name, *spread(cpu, MICROSECOND), f"{added / MICROSECOND:.1f}"])
    return rows


def over_sdk(runner: asyncio.Runner, url: str) -> list[list[str]]:
    """Measure the factory with the claude plugin beside the raw SDK, both over the upstream."""
    ours, client, async_client = factory("claude", [], url, url), claude_client(url), async_claude_client(url)

    def turn(call: Callable[[], object]) -> Callable[[], object]:
        return repeated(call, CALLS)

    def async_turn(call: Callable[[], Awaitable[object]]) -> Callable[[], object]:
        return repeated_async(runner, call, CALLS)

    turns = {
        "raw create(stream=True)": turn(lambda: read_events(client)),
        "raw stream()": turn(lambda: read_helper(client)),
        "factory": turn(lambda: read(ours)),
    }
    async_turns = {
        "async raw create(stream=True)": async_turn(lambda: async_read_events(async_client)),
        "async raw stream()": async_turn(lambda: async_read_helper(async_client)),
        "async factory": async_turn(lambda: async_read(ours)),
    }
    rows = []
    for contenders in (turns, async_turns):
        timings = compare(contenders, calls=CALLS, seconds=SECONDS)
        *raw, last = contenders
        rows += beside({name: timings[name] for name in raw}, last, timings[last], "")
    client.close()
    runner.run(async_client.close())
    runner.run(ours.aclose())
    return rows


def main() -> None:
    """Measure, and print the tables."""
    isolate()
    with asyncio.Runner() as runner:
        alone = factory_alone(runner)
        with upstream() as url:
            compared = over_sdk(runner, url)
    heads = ["", "CPU least", "median", "9 of 10", "added"]
    show(f"Over a provider that yields {CHUNKS} pieces, in microseconds a stream", heads, alone)
    show(f"The factory over the raw SDK, {CHUNKS} pieces, in microseconds a stream", HEADS, compared)


if __name__ == "__main__":
    main()
