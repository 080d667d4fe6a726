"""`get_provider_status()["current"]`: who gave the factory's latest answer."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from understudy import Finish, LLMFactory, Policy
from understudy.discovery.registry import ProviderRegistry
from understudy.errors import Effect, InvalidRequest, QuotaExhausted, Timeout
from understudy.health import InMemoryHealthStore
from understudy.health.store import Claim, Report
from understudy.testing import ScriptedProvider


def factory_of(primary, *fallbacks, **options):
    return LLMFactory(primary, fallbacks, settings={}, extensions=[], **options)


def stream(factory):
    return list(factory.stream_content("hello"))[-1].response


async def astream(factory):
    return [event async for event in factory.astream_content("hello")][-1].response


CALLS = {
    "sync": lambda factory: factory.generate_content("hello"),
    "async": lambda factory: asyncio.run(factory.agenerate_content("hello")),
    "stream": stream,
    "async stream": lambda factory: asyncio.run(astream(factory)),
}


def current(factory):
    return factory.get_provider_status()["current"]


def test_current_is_before_any_answer_the_first_that_can_be_asked():
    a, b, c = ScriptedProvider("a", unavailable="no key"), ScriptedProvider("b"), ScriptedProvider("c")
    assert current(factory_of(b, a, c)) == current(factory_of(a, b, c)) == "b"
    store = InMemoryHealthStore(lambda: 0.0)
    claims = [Claim(call, Policy(), 60.0) for call in range(10)]
    for claim in claims:
        store.give("b//", store.take("b//", claim), claim, Report(Effect.FAILURE))
    assert current(factory_of(a, b, c, health_store=store)) == "c"  # b is left alone
    assert current(factory_of(a, b, health_store=store)) == "b"  # nobody else can be asked
    assert current(factory_of(a)) is None


@pytest.mark.parametrize("kind", CALLS)
def test_current_is_who_gave_the_latest_answer(kind):
    primary = ScriptedProvider("a", [QuotaExhausted("used up"), "back again", InvalidRequest("bad"), Timeout("late")])
    factory = factory_of(primary, ScriptedProvider("b", ["taken over", "again"]), policy=Policy(max_retries=0))
    assert CALLS[kind](factory).provider_name == current(factory) == "b"
    assert CALLS[kind](factory).provider_name == current(factory) == "a"  # the next request was answered by the primary
    assert (CALLS[kind](factory).success, current(factory)) == (False, "a")  # no answer changes nothing
    assert CALLS[kind](factory).provider_name == current(factory) == "b"


def test_current_is_a_label_with_its_model_and_a_stream_counts_at_its_end(monkeypatch):
    class Magpie(ScriptedProvider):
        def __init__(self):
            super().__init__("magpie", [("one ", "two")])

    monkeypatch.setattr(LLMFactory, "PROVIDER_REGISTRY", ProviderRegistry())
    LLMFactory.register_provider("magpie", Magpie)
    factory = factory_of(ScriptedProvider("a", [QuotaExhausted("used up"), "fine"]), "magpie:magpie-9")
    stream = factory.stream_content("hello")
    next(stream)
    assert current(factory) == "a"  # nobody has answered yet
    assert type(list(stream)[-1]) is Finish
    assert current(factory) == "magpie:magpie-9"
    stream = factory.stream_content("hello")
    next(stream)
    stream.close()
    assert current(factory) == "magpie:magpie-9"  # the caller went away


def test_current_is_who_answered_last_where_threads_ask():
    """Eight threads ask together; whoever answers last is current, and it stays so however they asked."""
    barrier, turn = threading.Barrier(8), threading.Lock()
    answered = []

    class Busy(ScriptedProvider):
        def generate(self, request):
            if request.prompt == "switch":
                raise QuotaExhausted("used up", provider="a")
            return super().generate(request)

    factory = factory_of(Busy("a"), ScriptedProvider("b"))

    def ask(number):
        barrier.wait(10)
        for turns in range(20):
            with turn:  # so that it is known who answered last
                answered.append(factory.generate_content("switch" if (number + turns) % 2 else "hello").provider_name)
                seen.append(current(factory))

    seen = []
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(answered) == {"a", "b"}
    assert seen == answered
    assert len(seen) == 160


def test_current_is_always_one_who_has_answered_where_threads_do_not_wait_for_each_other():
    factory = factory_of(ScriptedProvider("a", unavailable="no key"), ScriptedProvider("b"))
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: (factory.generate_content("hello").provider_name, current(factory)), range(80))
        )
    assert set(answers) == {("b", "b")}
