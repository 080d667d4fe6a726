"""Health stores of others: brought by an extension, shared, slow, broken, or asked over a network."""

import asyncio
import logging
import threading
import time

import pytest
from timed import WAYS, Player, Stage, ask, claim, record

from understudy import Limits, LLMFactory, Policy, hookimpl
from understudy.errors import BrokenPlugin, Effect, ServerError
from understudy.health import HealthStore, InMemoryHealthStore, Report, shared
from understudy.health.budgets import Bulkhead
from understudy.health.shared import GuardedStore
from understudy.testing import VirtualClock

DOWN = ServerError("down")
EAGER = Policy.eager(breaker_jitter=0.0, jitter="none", quick_retries=0)
PATIENCE = shared.PATIENCE
every_way = pytest.mark.parametrize("how", WAYS)


class Store:
    """A health store of somebody's own, in front of the one in memory.

    Args:
        blocks: whether it says that it does.
        seconds: how long each answer takes.
    """

    def __init__(self, blocks=False, seconds=0.0):
        self.blocks = blocks
        self.seconds = seconds
        self.error = None
        # Its threads may outlast a test, and hypothesis minds who else draws from random.random.
        self.inner = InMemoryHealthStore(random=lambda: 0.5)
        self.asked = []
        self.threads = set()

    def _hear(self, question):
        self.asked.append(question)
        self.threads.add(threading.current_thread())
        if self.seconds:
            time.sleep(self.seconds)
        if self.error:
            raise self.error

    def take(self, target, claim):
        self._hear("take")
        return self.inner.take(target, claim)

    def give(self, target, lease, claim, report):
        self._hear("give")
        return self.inner.give(target, lease, claim, report)

    def look(self, target, policy):
        self._hear("look")
        return self.inner.look(target, policy)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
    """Have a busy machine fail no test."""
    monkeypatch.setattr(shared, "PATIENCE", 5)


@pytest.fixture
def hurried(unhurried, monkeypatch):
    monkeypatch.setattr(shared, "PATIENCE", PATIENCE)


def factory_of(store, *players, policy=EAGER, **options):
    players = players or (Player("a"), Player("b"))
    return LLMFactory(players[0], players[1:], settings={}, extensions=[], policy=policy, health_store=store, **options)


# ---- who brings it ----


class Bringing:
    def __init__(self, store):
        self.store = store
        self.settings = []

    @hookimpl
    def understudy_health_store(self, settings):
        self.settings.append(settings)
        return self.store


def test_an_extension_brings_the_store_and_the_first_one_wins():
    nothing, first, second = Bringing(None), Bringing(Store()), Bringing(Store())
    player = Player("a")
    factory = LLMFactory(player, settings={"LLM_KEY": "x"}, extensions=[nothing, first, second])
    factory.generate_content("hello")
    assert first.store.asked == ["take", "give"]
    assert second.store.asked == []
    assert len(first.settings) == 1
    assert first.settings[0] is factory._settings


def test_an_argument_stands_above_the_extensions_store():
    mine, theirs = Store(), Bringing(Store())
    LLMFactory(Player("a"), settings={}, extensions=[theirs], health_store=mine).generate_content("hello")
    assert (mine.asked, theirs.store.asked) == (["take", "give"], [])
    assert theirs.settings == []


def test_where_nobody_brings_one_it_is_in_memory():
    factory = LLMFactory(Player("a"), settings={}, extensions=[Bringing(None)])
    assert isinstance(factory._admission.store, InMemoryHealthStore)


def test_an_empty_store_is_a_store():
    class Sized(Store):
        def __len__(self):
            return 0

    store = Sized()
    factory_of(store).generate_content("hello")
    assert store.asked == ["take", "give"]


class Half:
    blocks = False

    def take(self, target, claim):
        raise AssertionError("never asked")


def test_what_is_no_store_is_refused_when_the_factory_is_made():
    with pytest.raises(BrokenPlugin, match=r"to return a HealthStore or None, found <.*Half object"):
        LLMFactory(Player("a"), settings={}, extensions=[Bringing(Half())])
    for wrong in (Half(), "redis://127.0.0.1", InMemoryHealthStore):
        with pytest.raises(TypeError, match="expected health_store with take, give, look and blocks, found"):
            factory_of(wrong)


def test_stores_are_told_by_what_they_have():
    assert isinstance(Store(), HealthStore)
    assert not isinstance(Half(), HealthStore)


# ---- what it is asked ----


@every_way
@pytest.mark.parametrize("blocks", [False, True])
def test_it_is_asked_twice_an_attempt(how, blocks):
    store = Store(blocks)
    response = ask(factory_of(store, Player("a", DOWN), Player("b")), how)
    assert record(response) == [("a", "failed"), ("b", "succeeded")]
    assert store.asked == ["take", "give", "take", "give"]


@every_way
@pytest.mark.parametrize("blocks", [False, True])
def test_it_decides(how, blocks):
    store = Store(blocks)
    first = Player("a", DOWN)
    factory = factory_of(store, first, Player("b"))
    for _ in range(12):
        assert ask(factory, how).provider_name == "b"
    assert len(first.requests) == 8
    assert factory.get_provider_status()["primary"]["health"]["state"] == "open"
    other = factory_of(store)
    assert record(ask(other, how)) == [("a", "skipped"), ("b", "succeeded")]


@pytest.mark.parametrize("how", ["async", "astream"])
def test_one_that_blocks_is_asked_in_a_thread(how):
    quick, slow = Store(blocks=False), Store(blocks=True)
    for store in (quick, slow):
        ask(factory_of(store), how)
    assert quick.threads == {threading.main_thread()}
    assert threading.main_thread() not in slow.threads


@pytest.mark.parametrize("how", ["async", "astream"])
def test_others_go_on_while_one_waits_for_the_store(how):
    class Held(Store):
        def _hear(self, question):
            super()._hear(question)
            go_on.clear()
            went_on.append(go_on.wait(4))  # less than it is waited for

    go_on, went_on = threading.Event(), []
    factory = factory_of(Held(blocks=True))

    async def tick():
        while True:
            go_on.set()
            await asyncio.sleep(0.001)

    async def call():
        ticking = asyncio.ensure_future(tick())
        if how == "async":
            await factory.agenerate_content("hello")
        else:
            assert [event async for event in factory.astream_content("hello")]
        ticking.cancel()

    asyncio.run(call())
    assert went_on == [True, True]


# ---- when it fails ----


@every_way
@pytest.mark.parametrize("blocks", [False, True])
def test_one_that_raises_fails_no_call(how, blocks, caplog):
    """I20."""
    store = Store(blocks)
    factory = factory_of(store, Player("a", DOWN), Player("b"))
    for error in (ConnectionError("gone"), RuntimeError("broken"), KeyError("flushed")):
        store.error = error
        assert ask(factory, how).provider_name == "b"
    assert "the health store failed" in caplog.text
    store.error = None
    factory.get_provider_status()


@every_way
def test_one_that_gives_nonsense_fails_no_call(how):
    class Nonsense(Store):
        def take(self, target, claim):
            return None

        def give(self, target, lease, claim, report):
            return None

        def look(self, target, policy):
            return None

    assert ask(factory_of(Nonsense(blocks=True)), how).provider_name == "a"


class Hanging(Store):
    """Does not answer before it is set free."""

    def __init__(self):
        super().__init__(blocks=True)
        self.free = threading.Event()
        self.answered = []

    def _hear(self, question):
        super()._hear(question)
        self.free.wait(60)
        self.answered.append(question)


@every_way
@pytest.mark.usefixtures("hurried")
def test_one_that_hangs_is_not_waited_for_and_left_alone_then(how):
    store = Hanging()
    factory = factory_of(store, Player("a", DOWN), Player("b"))
    assert ask(factory, how).provider_name == "b"
    asked = list(store.asked)
    assert ask(factory, how).provider_name == "b"
    assert (store.asked, store.answered) == (asked, [])
    store.free.set()


@every_way
@pytest.mark.timing
@pytest.mark.usefixtures("hurried")
def test_a_slow_one_holds_a_call_up_for_less_than_50_ms(how):
    factory = factory_of(Store(blocks=True, seconds=0.5), Player("a", DOWN), Player("b"))
    ask(factory_of(Store(blocks=True)), how)  # whatever is imported first
    begun = time.monotonic()
    assert ask(factory, how).provider_name == "b"
    assert time.monotonic() - begun < 0.4  # one question of 20 ms, and a busy machine
    begun = time.monotonic()
    assert ask(factory, how).provider_name == "b"
    assert time.monotonic() - begun < 0.1  # it is left alone now


def guard_of(store):
    clock = VirtualClock()
    return GuardedStore(store, InMemoryHealthStore(lambda: clock.now), lambda: clock.now), clock


def test_while_it_is_gone_the_process_goes_by_what_it_learns_itself():
    store = Store(blocks=True)
    store.error = ConnectionError("gone")
    first = Player("a", DOWN)
    factory = factory_of(store, first, Player("b"))
    for _ in range(20):
        assert factory.generate_content("hello").provider_name == "b"
    assert len(first.requests) == 8
    assert len(store.asked) == 1


def test_it_is_left_alone_for_longer_each_time_and_asked_again_when_that_is_over(caplog):
    caplog.set_level(logging.WARNING, "understudy")
    store = Store(blocks=True)
    guard, clock = guard_of(store)
    store.error = ConnectionError("gone")
    rests = []
    for _ in range(7):
        begun = clock.now
        guard.look("a", EAGER)
        asked = len(store.asked)
        while len(store.asked) == asked:
            clock.advance(0.25)
            guard.look("a", EAGER)
        rests.append(clock.now - begun)
        store.asked.pop()
        guard._rest_until = clock.now  # that question was one too many
        guard._rests -= 1
    assert rests == [1, 2, 4, 8, 16, 30, 30]
    store.error = None
    assert guard.look("a", EAGER).state == "closed"
    store.error = ConnectionError("gone again")
    guard.look("a", EAGER)
    assert caplog.messages[-1].endswith(
        "failed (ConnectionError: gone again): for 1 s this process uses only what it learns itself"
    )


@pytest.mark.usefixtures("hurried")
def test_many_who_find_it_gone_at_once_count_as_one():
    store = Store(blocks=True, seconds=0.3)
    guard, _ = guard_of(store)
    threads = [threading.Thread(target=guard.look, args=("a", EAGER)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert guard._rests == 1


def test_what_one_store_gave_is_not_told_to_the_other():
    store = Store(blocks=True)
    guard, clock = guard_of(store)
    wanted = claim(limits=Limits(concurrent=1))
    shared = guard.take("a", wanted)
    assert not shared.local
    store.error = ConnectionError("gone")
    assert guard.give("a", shared, wanted, Report(Effect.FAILURE)).local
    own = guard.take("a", wanted)
    assert own.local
    clock.advance(5)
    store.error = None
    asked = len(store.asked)
    guard.give("a", own, wanted, Report(Effect.FAILURE))
    assert len(store.asked) == asked
    assert guard._local.look("a", EAGER).failures == 1


# ---- who gives up ----


@pytest.mark.parametrize("how", ["async", "astream"])
def test_what_is_granted_to_a_caller_who_has_left_is_given_back(how):
    """I15, with a store in a thread that answers after the cancellation."""
    store = Hanging()
    player = Player("a")
    factory = factory_of(store, player, policy=Policy(max_concurrent_calls=1), limits={"a": Limits(concurrent=1)})

    async def give_up():
        async def take():
            return [event async for event in factory.astream_content("hello")]

        task = asyncio.ensure_future(factory.agenerate_content("hello") if how == "async" else take())
        while not store.asked:
            await asyncio.sleep(0.001)
        task.cancel()
        store.free.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())
    until = time.monotonic() + 60
    while store.asked != ["take", "give"] and time.monotonic() < until:
        time.sleep(0.005)
    time.sleep(0.02)
    assert store.asked == ["take", "give"]
    assert player.requests == []
    assert factory._admission.bulkhead.under_way == 0
    allowance = next(iter(store.inner._records.values()))._allowance
    assert allowance._slots == {}


def test_whoever_leaves_at_once_takes_no_place_of_the_factory():
    """The bulkhead is in memory: only the store is asked in a thread, where a cancelled call could not wait for it."""

    class Slow(Bulkhead):
        def enter(self):
            time.sleep(0.02)
            return super().enter()

    factory = factory_of(Store(blocks=True), policy=Policy(max_concurrent_calls=3))
    factory._admission.bulkhead = Slow(3)

    async def leave():
        task = asyncio.ensure_future(factory.agenerate_content("hello"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        await asyncio.sleep(0.05)

    asyncio.run(leave())
    assert factory._admission.bulkhead.under_way == 0


def test_a_hedge_over_a_store_that_blocks_gives_everything_back():
    store = Store(blocks=True)
    first, second = Player("a", (60.0, "late")), Player("b", (0.02, "quick"))
    policy = Policy.eager(hedge_after=0.05, hedge_share=1.0)
    limits = {name: Limits(concurrent=1) for name in "ab"}
    factory = factory_of(store, first, second, policy=policy, limits=limits)
    assert asyncio.run(factory.agenerate_content("hello")).provider_name == "b"
    until = time.monotonic() + 60
    while store.asked.count("give") < 2 and time.monotonic() < until:
        time.sleep(0.005)
    time.sleep(0.01)
    slots = [each._allowance._slots for each in store.inner._records.values()]
    assert slots == [{}, {}]


def test_a_store_in_memory_is_asked_where_the_call_runs():
    stage = Stage(Player("a"), health_store=InMemoryHealthStore())
    threads = threading.active_count()
    stage.ask("async")
    assert threading.active_count() == threads
