"""Every provider as the primary, four ways, with another one to take the part: over real SDKs and sockets."""

import asyncio

import pytest

from understudy import ConnectionFailed, LLMFactory, Overloaded, RateLimited, StreamInterrupted, TextDelta
from understudy.testing import no_waiting
from understudy_sandbox import faults

STAND_INS = {
    "claude": "claude",
    "cohere": "cohere",
    "gemini": "gemini",
    "gemini-legacy": "gemini",
    "ollama": "ollama",
    "openai": "openai",
}
FALLBACK = {name: "claude" if name != "claude" else "openai" for name in STAND_INS}
WAYS = ["sync", "async", "stream", "astream"]


@pytest.fixture(scope="module")
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.fixture
def ask(_understudy_sandbox, loop):
    """Make one call in one of the four ways; return its response and the pieces of text that came before."""

    def ask(name, how):
        # Every call has a factory of its own: the one before would know by now who fails.
        factory = LLMFactory(name, [FALLBACK[name]], settings=_understudy_sandbox.environment(), extensions=[])
        arguments = {"max_retries": 1, "timeout": 20, "temperature": None}
        try:
            if how == "sync":
                return factory.generate_content("hello", **arguments), []
            if how == "async":
                return loop.run_until_complete(factory.agenerate_content("hello", **arguments)), []
            if how == "stream":
                events = list(factory.stream_content("hello", **arguments))
            else:
                events = loop.run_until_complete(collect(factory, arguments))
            return events[-1].response, [event.text for event in events if isinstance(event, TextDelta)]
        finally:
            loop.run_until_complete(factory.aclose())

    return ask


async def collect(factory, arguments):
    return [event async for event in factory.astream_content("hello", **arguments)]


@pytest.mark.parametrize("name", STAND_INS)
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize(
    ("fault", "failures", "asked"),
    [
        (faults.rate_limited(), (RateLimited,), 1),
        (faults.overloaded(), (Overloaded,), 2),
        (faults.reset(), (ConnectionFailed, StreamInterrupted), 2),
    ],
    ids=["quota", "overloaded", "reset"],
)
def test_another_takes_the_part(sandbox, ask, name, how, fault, failures, asked):
    sandbox[STAND_INS[name]].always(fault)
    with no_waiting() as waits:
        response, pieces = ask(name, how)
    assert (response.success, response.provider_name) == (True, FALLBACK[name])
    assert [isinstance(attempt.failure, failures) for attempt in response.attempts] == [True] * asked + [False]
    assert sandbox[STAND_INS[name]].request_count == asked
    assert len(waits) == asked - 1
    assert how in ("sync", "async") or "".join(pieces) == response.content
