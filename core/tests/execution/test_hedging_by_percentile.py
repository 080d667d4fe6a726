"""Which percentile `hedge_after="p95"` goes by: that of the kind of call, while it is fresh, and not below a moment."""

import pytest
from timed import NEVER, Player, Stage

from understudy import Policy
from understudy.execution.call import SOONEST
from understudy.health.budgets import BURST
from understudy.health.latency import REMEMBERED

both = pytest.mark.parametrize("how", ["async", "astream"])


def stage_of(*lines):
    policy = Policy.eager(hedge_after="p95", hedge_share=1.0, max_retries=0)
    stage = Stage(Player("a", *lines), Player("b"), policy=policy)
    stage.factory._admission.hedges._saved = BURST  # as after some calls
    return stage


def test_p95_is_that_of_the_kind_of_call():
    """First pieces after 0.1 s, whole answers after 5: a stream is hedged after the one, an answer after the other."""
    for how, after in (("astream", 0.1), ("async", 5.1)):
        stage = stage_of(*[(0.1, "a ", 5.0, "b")] * 60, (NEVER, "late"))
        for _ in range(30):
            stage.ask("astream", policy=Policy.eager())
            stage.ask("async", policy=Policy.eager())
        begun = stage.clock.now
        assert stage.ask(how).provider_name == "b"
        assert stage.clock.now - begun == pytest.approx(after)


@both
def test_p95_that_is_old_hedges_nobody(how):
    stage = stage_of(*[(0.3, "fine")] * 30, (9.0, "late"))
    for _ in range(30):
        stage.ask(how, policy=Policy.eager())
    stage.clock.advance(REMEMBERED + 1)
    assert stage.ask(how).provider_name == "a"
    assert stage.players[1].requests == []


@both
def test_who_answers_at_once_is_not_hedged_for_a_millisecond(how):
    lines = [(0.0001, "fine")] * 30
    stage = stage_of(*lines, (SOONEST / 2, "fine"), (9.0, "late"))
    for _ in range(30):
        stage.ask(how, policy=Policy.eager())
    assert stage.ask(how).provider_name == "a"
    assert stage.players[1].requests == []
    begun = stage.clock.now
    assert stage.ask(how).provider_name == "b"
    assert stage.clock.now - begun == pytest.approx(SOONEST)
