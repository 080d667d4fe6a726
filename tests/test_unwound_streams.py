"""What reads a stream ends with it: nothing is left to the garbage collector, which may come when the loop is gone."""

import asyncio
import gc
from types import AsyncGeneratorType

import pytest

from understudy import LLMFactory, Policy, StreamInterrupted
from understudy_sandbox import Sandbox, faults

EXPECTED = {"_Kept._keep"}  # the client's keeper ends with the loop


def suspended(before: set[int]) -> set[str]:
    """Return the asynchronous generators that have begun and not ended, by their names."""
    found = [one for one in gc.get_objects() if isinstance(one, AsyncGeneratorType) and one.ag_frame is not None]
    return {one.__qualname__ for one in found if id(one) not in before} - EXPECTED


@pytest.mark.parametrize("name", ["gemini", "cohere", "ollama", "openai", "claude"])
@pytest.mark.parametrize("lane", ["sdk", "http"])
@pytest.mark.parametrize("broken", [True, False], ids=["broken", "left"])
def test_no_reader_of_a_stream_outlives_it(name: str, lane: str, broken: bool) -> None:
    before = {id(one) for one in gc.get_objects() if isinstance(one, AsyncGeneratorType)}

    async def ask(settings: dict[str, str]) -> None:
        policy = Policy(max_retries=0)
        async with LLMFactory(name, [], settings=settings, policy=policy) as factory:
            stream = factory.astream_content("hello", temperature=None)
            await anext(stream)
            if broken:
                with pytest.raises(StreamInterrupted) as caught:
                    [event async for event in stream]
                assert caught.value.__traceback__ is not None  # which would keep every frame alive
            else:
                await stream.aclose()
            assert suspended(before) == set()

    with Sandbox() as sandbox:
        if broken:
            getattr(sandbox, name).always(faults.malformed_json(after=2))
        asyncio.run(ask({**sandbox.environment(), f"{name.upper()}_TRANSPORT": lane}))
