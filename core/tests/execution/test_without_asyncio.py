"""What is said where the running event loop is not asyncio's, such as trio's: coroutines are driven by hand here."""

import asyncio

import pytest

from understudy import LLMFactory
from understudy.testing import ScriptedProvider


@pytest.mark.parametrize(
    "begin",
    [
        lambda factory: factory.agenerate_content("Hello", deadline=5),
        lambda factory: anext(factory.astream_content("Hello")),
        lambda factory: factory.agenerate_content("Hello", policy="eager"),
    ],
    ids=["whole", "stream", "eager"],
)
def test_a_coroutine_without_a_loop_of_asyncio_says_what_works(begin):
    one, other = ScriptedProvider("one"), ScriptedProvider("other")
    factory = LLMFactory(one, [other], extensions=[])
    with pytest.raises(RuntimeError, match=r"expected a running event loop of asyncio.*trio\.to_thread\.run_sync"):
        begin(factory).__await__().send(None)
    assert one.requests == other.requests == []
    assert asyncio.run(factory.agenerate_content("Hello")).success  # nothing is held by what was refused


def test_closing_needs_no_loop():
    with pytest.raises(StopIteration):
        LLMFactory(ScriptedProvider("one"), [], extensions=[]).aclose().send(None)
