"""The provider `echo`, found through its entry point."""

import asyncio
import pathlib

from understudy import LLMFactory, TextDelta


def test_echo_answers_all_four_ways():
    factory = LLMFactory("echo", settings={}, extensions=[])
    expected = "[echo, not a model] Hello  there"
    assert factory.generate_content("Hello  there").content == expected
    assert asyncio.run(factory.agenerate_content("Hello  there")).content == expected
    events = list(factory.stream_content("Hello  there"))
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == expected == events[-1].response.content
    assert len(events) > 4

    async def collect():
        return [event async for event in factory.astream_content("Hello  there")]

    assert asyncio.run(collect())[-1].response.content == expected


def test_echo_is_small_enough_to_copy():
    import understudy_sandbox.echo

    assert len(pathlib.Path(understudy_sandbox.echo.__file__).read_text().splitlines()) <= 40
