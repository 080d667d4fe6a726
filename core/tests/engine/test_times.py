"""How long an attempt is waited for: by what was named, by what was asked, and by what was learnt."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy import Message, Policy, Request
from understudy.engine.timeouts import INFINITE, LONG_ANSWER, NOTHING_LEARNT, Learned, is_long, times_for
from understudy.provider import PLAIN_PACE, Pace

HELLO = Request(messages=(Message.user("hello"),), max_tokens=100)
THINKING = Pace(thinks=True)
ALIVE = Pace(thinks=True, heartbeat=30.0)
QUICK = Learned(answer_p95=2.0, first_p95=0.5, gap_p95=0.2, end_p95=2.0)
SLOW = Learned(answer_p95=100.0, first_p95=50.0, gap_p95=80.0, end_p95=100.0)
GLACIAL = Learned(answer_p95=900.0, first_p95=900.0, gap_p95=900.0, end_p95=900.0)


def plain(request=HELLO, pace=PLAIN_PACE, learned=NOTHING_LEARNT, **changes):
    return times_for(Policy(**changes), request, pace, learned, streamed=False, whole=True)


def streamed(request=HELLO, pace=PLAIN_PACE, learned=NOTHING_LEARNT, *, whole=False, **changes):
    return times_for(Policy(**changes), request, pace, learned, streamed=True, whole=whole)


def limited(tokens):
    return replace(HELLO, max_tokens=tokens)


# ---- how a whole answer is asked for ----


@pytest.mark.parametrize(
    ("tokens", "pace", "long"),
    [
        (100, PLAIN_PACE, False),
        (LONG_ANSWER, PLAIN_PACE, False),
        (LONG_ANSWER + 1, PLAIN_PACE, True),
        (None, PLAIN_PACE, True),
        (100, THINKING, True),
        (100, Pace(loading=1.0), True),
        (100, Pace(heartbeat=5.0, local=True), False),
    ],
)
def test_an_answer_that_may_take_long_is_asked_for_as_a_stream(tokens, pace, long):
    assert is_long(Policy(), limited(tokens), pace) is long
    assert is_long(Policy(whole_answers="stream"), limited(tokens), pace)
    assert not is_long(Policy(whole_answers="plain"), limited(tokens), pace)


# ---- before anything is known ----


def test_a_whole_answer_is_waited_for_by_the_tokens_that_it_may_have():
    assert plain(limited(1500)).answer == 30 + 100
    assert plain(limited(16_000)).answer > 1000
    assert plain(limited(None)).answer == plain(limited(4096)).answer
    short = plain(limited(1))
    assert 30 < short.answer < 31
    assert (short.first, short.idle, short.silence) == (INFINITE, INFINITE, INFINITE)


def test_a_model_that_thinks_is_waited_for_much_longer():
    chat, thinking = streamed(), streamed(pace=THINKING)
    assert (chat.first, chat.idle, chat.late) == (60, 60, 60)
    assert (thinking.first, thinking.idle, thinking.late) == (600, 300, 540)
    assert chat.answer == thinking.answer == INFINITE  # its pieces tell whether it goes on
    assert chat.usual is thinking.usual is None


def test_a_models_loading_is_given_its_time():
    loading = Pace(loading=200.0)
    for ask in (plain, streamed):
        cold, warm = ask(pace=loading), ask()
        assert cold.late == warm.late + 200
        assert cold.idle == warm.idle
    assert plain(pace=loading).answer == plain().answer + 200
    assert streamed(pace=loading).first == streamed().first + 200
    assert streamed(pace=loading, learned=QUICK).first == streamed(learned=QUICK).first + 200


# ---- silence ----


@pytest.mark.parametrize("learned", [NOTHING_LEARNT, QUICK, SLOW])
def test_silence_counts_only_where_the_vendor_sends_signs_of_life(learned):
    assert streamed(pace=THINKING, learned=learned).silence == INFINITE
    assert streamed(pace=ALIVE, learned=learned).silence == 45
    assert streamed(pace=ALIVE, learned=learned, silence_timeout=50.0).silence == 50


def test_a_sign_that_comes_seldom_is_given_half_as_long_again():
    assert streamed(pace=Pace(heartbeat=40.0)).silence == 60
    assert streamed(pace=Pace(heartbeat=40.0), silence_timeout=1.0).silence == 60
    assert streamed(pace=Pace(heartbeat=1.0), silence_timeout=20.0).silence == 20


def test_who_thinks_and_sends_signs_of_life_is_not_late_before_its_first_piece_is():
    """Its silence tells whether it works."""
    times = streamed(pace=ALIVE, learned=QUICK)
    assert times.late == times.first == 600
    assert streamed(pace=Pace(heartbeat=5.0), learned=QUICK).late == 10  # who does not think has no reason to be late


# ---- what was learnt ----


def test_several_times_what_was_learnt_is_waited_for_within_bounds():
    assert (plain(learned=QUICK).answer, plain(learned=SLOW).answer, plain(learned=GLACIAL).answer) == (90, 400, 600)
    firsts = [streamed(learned=learned).first for learned in (QUICK, SLOW, GLACIAL)]
    assert firsts == [30, 200, 600]
    idles = [streamed(learned=learned).idle for learned in (QUICK, SLOW, GLACIAL)]
    assert idles == [60, 320, 600]


def test_what_was_learnt_never_makes_a_thinking_model_hurry():
    quick = streamed(pace=THINKING, learned=QUICK)
    assert (quick.first, quick.idle, quick.late) == (600, 300, 540)


def test_a_short_limit_does_not_shorten_what_was_learnt():
    assert plain(limited(1), learned=SLOW).answer == plain(limited(16_000), learned=SLOW).answer


@pytest.mark.parametrize(("p95", "late"), [(1.0, 10), (5.0, 20), (20.0, 80), (40.0, 90)])
def test_late_is_several_times_what_was_learnt_within_bounds(p95, late):
    assert plain(learned=Learned(answer_p95=p95)).late == late
    assert streamed(learned=Learned(first_p95=p95)).late == late


def test_each_kind_goes_by_its_own_percentile():
    learned = Learned(answer_p95=30.0, first_p95=20.0, gap_p95=25.0, end_p95=150.0)
    assert (plain(learned=learned).answer, plain(learned=learned).usual) == (120, 30)
    assert (streamed(learned=learned).first, streamed(learned=learned).idle) == (80, 100)
    assert streamed(learned=learned).usual == 20
    assert streamed(learned=learned, whole=True).usual is None  # it is waited for by its pieces


# ---- what the caller names ----


@pytest.mark.parametrize("learned", [NOTHING_LEARNT, QUICK, SLOW, GLACIAL])
@pytest.mark.parametrize("pace", [PLAIN_PACE, THINKING, ALIVE, Pace(loading=200.0)])
def test_a_number_that_the_caller_names_is_kept_to(pace, learned):
    named = {"pace": pace, "learned": learned}
    assert plain(**named, attempt_timeout=3.0).answer == 3
    assert streamed(**named, first_token_timeout=3.0, idle_timeout=5.0).first == 3
    assert streamed(**named, first_token_timeout=3.0, idle_timeout=5.0).idle == 5
    times = streamed(**named, attempt_timeout=4.0)
    assert (times.first, times.idle, times.answer) == (4, 4, INFINITE)
    assert streamed(**named, attempt_timeout=4.0, whole=True).answer == 4
    times = streamed(**named, attempt_timeout=4.0, first_token_timeout=3.0, idle_timeout=5.0)
    assert (times.first, times.idle) == (3, 4)


some_seconds = st.one_of(st.none(), st.floats(0.001, 5000))
paces = st.builds(Pace, thinks=st.booleans(), heartbeat=some_seconds, loading=st.floats(0, 600), local=st.booleans())
learnt = st.builds(Learned, answer_p95=some_seconds, first_p95=some_seconds, gap_p95=some_seconds)


@given(paces, learnt, st.one_of(st.none(), st.integers(1, 100_000)), st.booleans(), st.booleans())
def test_no_time_is_too_short_for_what_was_learnt_up_to_ten_minutes(pace, learned, tokens, is_streamed, whole):
    times = times_for(Policy.eager(), limited(tokens), pace, learned, streamed=is_streamed, whole=whole)
    for seconds, usual in ((times.answer, learned.answer_p95), (times.first, learned.first_p95)):
        assert seconds >= min(usual or 0.0, 600.0)
        assert seconds >= 30
    assert times.idle >= min(learned.gap_p95 or 0.0, 600.0)
    assert times.silence >= max(45.0, pace.heartbeat or 0.0)
    assert times.late >= 10
