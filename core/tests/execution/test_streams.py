"""Streams: the switch nobody sees, the break that is told, and cancellation."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy import (
    Capabilities,
    ChatProvider,
    Finish,
    LLMFactory,
    LLMProvider,
    LLMResponse,
    StreamInterrupted,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from understudy.errors import EmptyResponse, Overloaded, RateLimited, Timeout
from understudy.testing import ScriptedProvider, VirtualClock, no_waiting


def factory_of(primary, *fallbacks, **options):
    return LLMFactory(primary, fallbacks, settings={}, extensions=[], **options)


def collect(factory, how, **arguments):
    """Take a whole stream; return its events and the exception that ended it, if one did."""
    events = []

    async def take():
        async for event in factory.astream_content("hello", **arguments):
            events.append(event)

    try:
        if how == "async":
            asyncio.run(take())
        else:
            events.extend(iter_into(factory.stream_content("hello", **arguments), events))
    except StreamInterrupted as error:
        return events, error
    return events, None


def iter_into(stream, events):
    for event in stream:
        events.append(event)
    return ()


both = pytest.mark.parametrize("how", ["sync", "async"])


@both
@pytest.mark.parametrize("failure", [RateLimited("429"), Overloaded("first event"), Timeout("slow first token")])
def test_before_the_first_token_the_switch_is_invisible(how, failure):
    primary = ScriptedProvider("a", [(failure,)])
    with no_waiting():
        events, error = collect(factory_of(primary, ScriptedProvider("b", [("the ", "show")])), how)
    assert error is None
    assert [e.text for e in events[:-1]] == ["the ", "show"]
    response = events[-1].response
    assert (response.content, response.provider_name) == ("the show", "b")
    assert response.attempts[0].failure.summary == failure.summary


@both
def test_after_the_first_token_a_break_is_raised_with_the_part(how):
    fallback = ScriptedProvider("b")
    events, error = collect(factory_of(ScriptedProvider("a", [("half ", "an ", Overloaded("cut"))]), fallback), how)
    assert [e.text for e in events] == ["half ", "an "]
    assert error.partial == "half an "
    assert error.provider == "a"
    assert isinstance(error.__cause__, Overloaded)
    assert [a.outcome for a in error.attempts] == ["failed"]
    assert fallback.requests == []


@both
def test_white_space_alone_is_not_yet_a_token(how):
    primary = ScriptedProvider("a", [("\n", " ", Overloaded("cut"))])
    with no_waiting():
        events, error = collect(factory_of(primary, ScriptedProvider("b", [("\n\n", "fine")])), how)
    assert error is None
    assert [e.text for e in events[:-1]] == ["\n\n", "fine"]
    assert events[-1].response.content == "\n\nfine"


@both
def test_a_stream_without_its_end_marker_is_an_error(how):
    class Silent(ScriptedProvider):
        def stream(self, request):
            self.requests.append(request)
            yield from [TextDelta("half")][: 1 if len(self.requests) > 1 else 0]

        async def astream(self, request):
            for event in self.stream(request):
                yield event

    primary = Silent("a")
    with no_waiting() as waits:
        events, error = collect(factory_of(primary, ScriptedProvider("b")), how)
    assert waits == [5]  # nothing had come, so it was asked again
    assert [e.text for e in events] == ["half"]
    assert "without its end marker" in str(error)


@both
def test_everybody_down_ends_in_finish(how):
    events, error = collect(
        factory_of(ScriptedProvider("a", [RateLimited()]), ScriptedProvider("b", [RateLimited()])), how
    )
    assert error is None
    assert [type(e) for e in events] == [Finish]
    assert events[0].response.error == "All LLM providers failed: [a: quota exceeded, b: quota exceeded]"


@both
def test_empty_stream_is_not_a_success(how):
    events, _ = collect(factory_of(ScriptedProvider("a", [("",)]), ScriptedProvider("b", ["fine"])), how)
    assert events[-1].response.content == "fine"
    assert isinstance(events[-1].response.attempts[0].failure, EmptyResponse)


@both
def test_tool_calls_without_text_are_an_answer(how):
    class Caller(ScriptedProvider):
        def stream(self, request):
            yield ToolCallDelta(0, "c1", "add", '{"a": 1}')
            yield Finish(LLMResponse(True, "", "a", parts=(ToolCall(id="c1", name="add", arguments={"a": 1}),)))

        async def astream(self, request):
            for event in self.stream(request):
                yield event

    events, _ = collect(factory_of(Caller("a")), how)
    assert [type(e) for e in events] == [ToolCallDelta, Finish]
    assert events[-1].response.tool_calls[0].arguments == {"a": 1}


@both
def test_three_method_provider_streams_in_one_piece(how):
    class Plain(LLMProvider):
        def generate_content(self, prompt, temperature=0.0, max_tokens=1024):
            return LLMResponse(True, "all at once", "plain")

        def get_provider_name(self):
            return "plain"

        def is_available(self):
            return True

    events, _ = collect(factory_of(Plain()), how)
    assert [type(e) for e in events] == [TextDelta, Finish]
    assert events[1].response.content == "all at once"


pieces = st.lists(st.text(max_size=5), min_size=1, max_size=12)


@given(pieces, st.integers(0, 12), st.sampled_from(["sync", "async"]))
@settings(max_examples=200, deadline=None)
def test_deltas_joined_are_the_text_for_every_chunking(pieces, cut, how):
    """I16."""
    broken = (*pieces[:cut], Overloaded("cut", retryable=False)) if cut < len(pieces) else tuple(pieces)
    clock = VirtualClock()
    factory = factory_of(ScriptedProvider("a", [broken]), ScriptedProvider("b", ["backup"]), runtime=clock.runtime())
    events, error = collect(factory, how)
    seen = "".join(e.text for e in events if isinstance(e, TextDelta))
    if error is not None:
        assert seen.strip()
        assert seen == error.partial == "".join(pieces[:cut])
    else:
        assert seen == events[-1].response.content
        assert seen in ("".join(pieces), "backup")


@both
def test_a_consumer_that_leaves_closes_the_providers_stream(how):
    closed = []

    class Watched(ScriptedProvider):
        def stream(self, request):
            try:
                yield from super().stream(request)
            finally:
                closed.append("sync")

        async def astream(self, request):
            try:
                yield TextDelta("one")
                yield TextDelta("two")
            finally:
                closed.append("async")

    fallback = ScriptedProvider("b")
    factory = factory_of(Watched("a", [("one", "two", "three")]), fallback)
    if how == "sync":
        stream = factory.stream_content("hello")
        next(stream)
        stream.close()
    else:

        async def leave():
            stream = factory.astream_content("hello")
            await anext(stream)
            await stream.aclose()

        asyncio.run(leave())
    assert closed == [how]
    assert fallback.requests == []


class Hanging(ChatProvider):
    """Never answers; remembers whether it was cancelled."""

    capabilities = Capabilities(native_async=True, streaming=True)

    def __init__(self):
        self.cancelled = 0

    def get_provider_name(self):
        return "hanging"

    def generate(self, request):
        raise AssertionError("only the async calls are used here")

    async def agenerate(self, request):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def astream(self, request):
        yield await self.agenerate(request)


@pytest.mark.parametrize("call", ["agenerate_content", "astream_content"])
def test_a_hang_ends_with_its_timeout(call):
    hanging = Hanging()
    factory = factory_of(hanging, ScriptedProvider("b", ["fine"]))

    async def ask():
        result = getattr(factory, call)("hello", timeout=0.05, max_retries=0)
        return (await result) if call == "agenerate_content" else [e async for e in result][-1].response

    response = asyncio.run(ask())
    assert response.content == "fine"
    assert isinstance(response.attempts[0].failure, Timeout)
    assert "no answer within 0.05 s" in response.attempts[0].failure.message
    assert hanging.cancelled == 1


def test_cancelled_call_starts_nothing_more():
    """I15."""
    hanging, fallback = Hanging(), ScriptedProvider("b")
    factory = factory_of(hanging, fallback)

    async def ask():
        task = asyncio.create_task(factory.agenerate_content("hello"))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(ask())
    assert hanging.cancelled == 1
    assert fallback.requests == []


def test_interleaved_calls_each_behave_as_alone():
    """I14."""

    class Moody(ScriptedProvider):
        def generate(self, request):
            number = int(request.prompt)
            with self._lock:
                self.requests.append(request)
            if number % 3 == 0:
                raise RateLimited(f"quota {number}")
            return LLMResponse(True, f"a{number}", "a")

    class Backup(ScriptedProvider):
        def generate(self, request):
            return LLMResponse(True, f"b{request.prompt}", "b")

    threads = threading.active_count()
    factory = factory_of(Moody("a"), Backup("b"))
    expected = [f"{'b' if n % 3 == 0 else 'a'}{n}" for n in range(200)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: factory.generate_content(str(n)), range(200)))
    assert [answer.content for answer in answers] == expected
    assert all(len(answer.attempts) == (2 if n % 3 == 0 else 1) for n, answer in enumerate(answers))

    async def gather():
        return await asyncio.gather(*(factory.agenerate_content(str(n)) for n in range(200)))

    assert [answer.content for answer in asyncio.run(gather())] == expected
    assert threading.active_count() <= threads  # none is left behind


@both
def test_white_space_beside_tool_calls_still_reaches_the_caller(how):
    class Caller(ScriptedProvider):
        def stream(self, request):
            yield TextDelta("\n")
            yield Finish(LLMResponse(True, "\n", "a", parts=(ToolCall(id="c1", name="add"),)))

        async def astream(self, request):
            for event in self.stream(request):
                yield event

    events, _ = collect(factory_of(Caller("a")), how)
    assert [type(e) for e in events] == [TextDelta, Finish]


class Tape:
    """A stream that is not a generator: nobody closes it but the driver."""

    def __init__(self, *events):
        self.events = list(events)
        self.closed = 0

    def __iter__(self):
        return self

    def __aiter__(self):
        return self

    def __next__(self):
        event = self.events.pop(0)
        if isinstance(event, Exception):
            raise event
        return event

    async def __anext__(self):
        return next(self)

    def close(self):
        self.closed += 1

    async def aclose(self):
        self.closed += 1


@both
def test_every_ended_attempt_closes_its_stream(how):
    tapes = [
        Tape(Overloaded("first")),
        Tape(TextDelta("fine"), Finish(LLMResponse(True, "fine", "a")), AssertionError("read past the end")),
    ]
    made = []

    class Taped(ScriptedProvider):
        def stream(self, request):
            made.append(tapes[len(made)])
            return made[-1]

        astream = stream

    with no_waiting():
        events, _ = collect(factory_of(Taped("a")), how)
    assert events[-1].response.content == "fine"
    assert [tape.closed for tape in tapes] == [1, 1]


def test_a_stream_in_a_thread_can_be_left_while_it_waits_for_a_piece():
    closed = threading.Event()

    class Slow(ChatProvider):
        def get_provider_name(self):
            return "slow"

        def generate(self, request):
            raise AssertionError("only the stream is used here")

        def stream(self, request):
            try:
                yield TextDelta("one")
                time.sleep(0.2)
                yield TextDelta("two")
            finally:
                closed.set()

    async def leave():
        stream = factory_of(Slow()).astream_content("hello")
        assert (await anext(stream)).text == "one"
        task = asyncio.create_task(anext(stream))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not closed.is_set()  # nobody waited for the piece

    asyncio.run(leave())
    assert closed.wait(60)
