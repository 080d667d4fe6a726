"""What a provider imports before its first call takes seconds, and is not its vendor's silence."""

import threading

import pytest
from timed import STREAMS, WAYS, Player, Stage, ask, held_leases, record

from understudy import LLMFactory, Policy, hookimpl
from understudy.errors import ProviderUnavailable, Timeout
from understudy.events import AttemptFailed, AttemptFinished, AttemptStarted, CallFinished, CallStarted

every_way = pytest.mark.parametrize("how", WAYS)
NO_RETRY = Policy.eager(max_retries=0)


class Heavy(Player):
    """A player with an import of some seconds before its first call."""

    def __init__(self, name, *lines, imports=3.0, **more):
        super().__init__(name, *lines, **more)
        self.imports = imports
        self.imported = 0

    def warm_up(self):
        self.imported += 1
        self._sleep(self.imports)


@every_way
def test_a_timeout_begins_when_the_client_is_ready(how):
    stage = Stage(Heavy("a", (1.0, "fine")), Player("b"), policy=NO_RETRY)
    response = stage.ask(how, timeout=2)
    assert record(response) == [("a", "succeeded")]
    assert stage.clock.now == pytest.approx(4.0)
    assert stage.players[0].times == [3.0]
    health = stage.factory._admission.look(0)
    assert health.failures == 0
    assert (health.first_tokens if how in STREAMS else health.answers).seconds == pytest.approx(1.0)


@every_way
def test_it_is_imported_once_and_an_import_that_fails_is_for_the_attempt_to_tell(how):
    class Missing(Heavy):
        def warm_up(self):
            self.imported += 1
            raise ModuleNotFoundError("No module named 'sdk'")

    for kind in (Heavy, Missing):
        stage = Stage(kind("a"), policy=NO_RETRY)
        for _ in range(3):
            assert stage.ask(how).success
        assert stage.players[0].imported == 1


def test_warming_up_raises_nothing_and_saves_the_first_call_the_import():
    class Missing(Heavy):
        def warm_up(self):
            super().warm_up()
            raise ModuleNotFoundError("No module named 'sdk'")

    stage = Stage(Missing("a"), Heavy("b"), policy=NO_RETRY)
    stage.factory.warm_up()
    assert stage.ask("sync").success
    assert [player.imported for player in stage.players] == [1, 1]


@every_way
def test_who_has_nothing_to_import_is_ready_at_once(how):
    stage = Stage(Player("a"), policy=NO_RETRY)
    assert stage.factory._admission.is_ready(0)
    assert stage.ask(how).success


@every_way
def test_the_next_targets_import_is_not_its_silence_either(how):
    stage = Stage(Heavy("a", Timeout("slow")), Heavy("b", (1.0, "fine")), policy=NO_RETRY)
    response = stage.ask(how, timeout=2)
    assert record(response) == [("a", "failed"), ("b", "succeeded")]
    assert stage.clock.now == pytest.approx(3 + 3 + 1)


@pytest.mark.parametrize("how", ["sync", "stream"])
def test_a_deadline_counts_the_import_and_leaves_the_attempt_the_rest(how):
    stage = Stage(Heavy("a"), policy=NO_RETRY)
    assert stage.ask(how, deadline=5).success
    assert stage.players[0].requests[0].timeout == pytest.approx(2.0)
    stage = Stage(Heavy("a"), Player("b"), policy=NO_RETRY)
    assert stage.ask(how, deadline=30).success
    assert stage.players[0].requests[0].timeout == pytest.approx(20.0 if how == "sync" else 27.0)


@pytest.mark.parametrize("how", ["sync", "stream"])
def test_a_deadline_that_passes_during_the_import_is_no_evidence(how):
    stage = Stage(Heavy("a"), Player("b"), policy=NO_RETRY)
    response = stage.ask(how, deadline=2)
    assert isinstance(response.attempts[0].failure, ProviderUnavailable)
    assert response.error == (
        "All LLM providers failed: [a: not available: its first call's imports had not finished, "
        "b: not available: not asked, the deadline of 2 s had passed]"
    )
    assert stage.players[0].requests == []
    assert (stage.factory._admission.look(0).failures, held_leases(stage.factory)) == (0, {})
    assert stage.ask(how, deadline=2).success  # it is imported now


class Blocked(Player):
    """A player whose import goes on until somebody says so."""

    def __init__(self, name, *lines, **more):
        super().__init__(name, *lines, **more)
        self.may_end = threading.Event()
        self.importing = threading.Semaphore(0)

    def warm_up(self):
        self.importing.release()
        assert self.may_end.wait(30)


@pytest.mark.parametrize("how", ["async", "astream"])
def test_an_async_call_ends_at_its_deadline_while_the_import_goes_on(how):
    player = Blocked("a")
    factory = LLMFactory(player, settings={}, extensions=[], policy=NO_RETRY)
    try:
        response = ask(factory, how, deadline=0.05)
        assert "its first call's imports had not finished" in response.error
        assert player.requests == []
        assert (factory._admission.look(0).failures, held_leases(factory)) == (0, {})
    finally:
        player.may_end.set()
    assert ask(factory, how).success


@every_way
def test_listeners_are_told_of_an_attempt_that_its_import_took_the_time_of(how):
    told = []

    class Listener:
        @hookimpl
        def understudy_event(self, event):
            told.append(event)

    stage = Stage(Heavy("a", imports=3.0), policy=NO_RETRY, extensions=[Listener()])
    assert not stage.ask(how, deadline=1).success
    kinds = [CallStarted, AttemptStarted, AttemptFailed, AttemptFinished, CallFinished]
    assert [type(event) for event in told] == kinds
    assert [event.number for event in told[1:-1]] == [1, 1, 1]
    assert (told[3].outcome, told[3].failure, told[3].seconds) == ("failed", told[2].failure, told[2].seconds)


def test_calls_that_come_during_an_import_wait_for_it_and_are_answered():
    player = Blocked("a")
    factory = LLMFactory(player, settings={}, extensions=[], policy=NO_RETRY)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(factory.generate_content("hello"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert player.importing.acquire(timeout=30)
    assert player.requests == []
    player.may_end.set()
    for thread in threads:
        thread.join(30)
    assert [answer.success for answer in answers] == [True] * 4
    assert len(player.requests) == 4
