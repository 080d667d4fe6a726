"""What reads a stream ends with it: nothing is left to the garbage collector, which may come when the loop is gone."""

import asyncio
import gc
import subprocess
import sys
from pathlib import Path
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


PROGRAM = """
import asyncio, gc, json, sys, warnings
from understudy import LLMFactory, Policy
from understudy_sandbox import Sandbox, faults

KINDS = [faults.stream_end(after=1), faults.stream_error(after=1), faults.malformed_json(after=1),
         faults.reset(after=1), faults.server_error(), None]

def end_sync(factory, left):
    try:
        for event in factory.stream_content("Hello my friend", temperature=None):
            if left:
                return
    except Exception:
        pass

async def end_async(factory, left):
    try:
        async for event in factory.astream_content("Hello my friend", temperature=None):
            if left:
                return
    except Exception:
        pass

async def several(factory, left):
    async with factory:
        await asyncio.gather(*(end_async(factory, left) for _ in range(3)))
        gc.collect()

name = sys.argv[1]
with Sandbox() as sandbox:
    stand_in = sandbox["gemini" if name == "gemini-legacy" else name]
    for lane in ("sdk", "http"):
        settings = {**sandbox.environment(), f"{name.upper()}_TRANSPORT": lane}
        policies = [Policy(max_retries=0, breaker=False), Policy(max_retries=0, breaker=False, deadline=60.0)]
        for kind in KINDS:
            sandbox.reset()
            if kind is not None:
                stand_in.always(kind)
            for left in (False, True):
                for policy in policies:
                    with LLMFactory(name, [], policy=policy, settings=settings) as factory:
                        end_sync(factory, left)
                asyncio.run(several(LLMFactory(name, [], policy=policy, settings=settings), left))
        gc.collect()
"""
COMPLAINTS = ("ResourceWarning", "never awaited", "Exception ignored", "unclosed", "Traceback", "was destroyed")


@pytest.mark.parametrize("name", ["gemini", "cohere", "ollama", "openai", "claude", "gemini-legacy"])
def test_streams_that_fail_break_off_or_are_left_are_no_news_in_development_mode(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "default", "-c", PROGRAM, name],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert [line for line in done.stderr.splitlines() if any(words in line for words in COMPLAINTS)] == []
