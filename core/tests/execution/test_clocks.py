"""The two clocks of a stream: a vendor that is silent, and one that is at work and gets nowhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy import TextDelta, ThinkingDelta, ToolCallDelta
from understudy.engine.timeouts import INFINITE, Times
from understudy.execution.stream_clocks import Clocks
from understudy.response import Heartbeat
from understudy.testing import VirtualClock

CALL = ToolCallDelta(0, "1", "add", "{}")
FIRST, IDLE, SILENCE = 100.0, 40.0, 15.0


def clocks_of(first=FIRST, idle=IDLE, silence=SILENCE):
    clock = VirtualClock()
    return Clocks(Times(INFINITE, first, idle, silence, INFINITE), lambda: clock.now), clock


def hear_every(clocks, clock, seconds, *events):
    """Hear events, each so many seconds after the one before; return which were progress."""
    heard = []
    for event in events:
        clock.advance(seconds)
        heard.append(clocks.hear(event))
    return heard


# ---- what counts ----


@pytest.mark.parametrize(
    ("event", "progress"),
    [
        (TextDelta("a"), True),
        (ThinkingDelta("hm"), True),
        (CALL, True),
        (TextDelta(""), False),
        (TextDelta(" \n"), False),
        (ThinkingDelta("\t"), False),
        (Heartbeat(), False),
    ],
)
def test_what_can_be_shown_is_progress_and_anything_is_life(event, progress):
    clocks, clock = clocks_of()
    assert hear_every(clocks, clock, 14.0, event) == [progress]
    assert clocks.first_at == (14.0 if progress else None)
    assert clocks.patience() == SILENCE


def test_once_it_has_begun_every_piece_is_progress_but_no_heartbeat():
    clocks, clock = clocks_of()
    assert hear_every(clocks, clock, 1.0, TextDelta("a"), TextDelta(" "), TextDelta(""), Heartbeat()) == [
        True,
        True,
        True,
        False,
    ]
    assert clocks.first_at == 1.0


# ---- silence, and no progress ----


def test_silence_is_over_where_no_sign_comes():
    clocks, clock = clocks_of()
    assert clocks.patience() == SILENCE
    clock.advance(SILENCE)
    assert not clocks.is_over()
    clock.advance(0.1)
    assert clocks.is_over()
    assert clocks.patience() == 0.0
    assert clocks.timed_out().message == "no sign of life within 15 s"


def test_heartbeats_keep_a_thinking_vendor_alive_up_to_the_time_for_the_first_piece():
    clocks, clock = clocks_of()
    hear_every(clocks, clock, 14.0, *[Heartbeat()] * 7)
    assert clocks.patience() == pytest.approx(FIRST - 98)
    clock.advance(2.1)
    assert clocks.is_over()
    assert clocks.timed_out().message == "no answer within 100 s"


def test_heartbeats_keep_a_stalled_answer_alive_up_to_the_time_between_two_pieces():
    clocks, clock = clocks_of()
    hear_every(clocks, clock, 5.0, TextDelta("a"), *[Heartbeat()] * 8)
    assert clocks.patience() == 0.0
    clock.advance(0.1)
    assert clocks.is_over()
    assert clocks.timed_out().message == "no further piece within 40 s"


def test_after_a_heartbeat_silence_is_counted_from_there():
    clocks, clock = clocks_of()
    hear_every(clocks, clock, 10.0, TextDelta("a"), Heartbeat())
    clock.advance(14.0)
    assert not clocks.is_over()
    clock.advance(1.1)
    assert clocks.is_over()
    assert clocks.timed_out().message == "no sign of life within 15 s"


def test_where_the_vendor_sends_no_signs_only_pieces_tell():
    clocks, clock = clocks_of(silence=INFINITE)
    assert clocks.patience() == FIRST
    clock.advance(99.0)
    clocks.hear(TextDelta("a"))
    assert clocks.patience() == IDLE
    clock.advance(40.1)
    assert clocks.timed_out().message == "no further piece within 40 s"


def test_who_works_and_whose_time_is_not_over_is_told_from_who_stalled():
    clocks, clock = clocks_of()
    assert not clocks.is_working()  # nothing came
    hear_every(clocks, clock, 1.0, Heartbeat())
    assert not clocks.is_working()
    hear_every(clocks, clock, 1.0, TextDelta("a"))
    assert clocks.is_working()
    clock.advance(SILENCE - 0.1)
    assert clocks.is_working()
    clock.advance(0.0999)  # a timer may be early by so much
    assert not clocks.is_working()
    assert not clocks.is_over()


def test_white_space_before_the_answer_does_not_begin_it():
    clocks, clock = clocks_of(silence=INFINITE)
    hear_every(clocks, clock, 30.0, *[TextDelta("\n")] * 3)
    assert clocks.patience() == pytest.approx(FIRST - 90)


@given(st.lists(st.tuples(st.floats(0.0, 14.9), st.sampled_from([TextDelta("a"), Heartbeat(), TextDelta(" ")]))))
def test_who_is_never_silent_is_over_only_for_want_of_progress(steps):
    clocks, clock = clocks_of()
    progress = 0.0
    for seconds, event in steps:
        clock.advance(seconds)
        begun = clocks.first_at is not None
        assert clocks.is_over() is (clock.now > progress + (IDLE if begun else FIRST))
        if clocks.hear(event):
            progress = clock.now
        assert clocks.patience() >= 0.0


# ---- what it took ----


def test_the_longest_pause_is_that_between_two_pieces_whatever_came_between():
    clocks, clock = clocks_of()
    hear_every(clocks, clock, 9.0, Heartbeat(), TextDelta("a"))
    assert (clocks.first_at, clocks.gap) == (18.0, 0.0)  # the time before the first piece is no pause
    hear_every(clocks, clock, 4.0, TextDelta("b"))
    hear_every(clocks, clock, 6.0, Heartbeat(), CALL)
    hear_every(clocks, clock, 2.0, TextDelta("c"))
    assert clocks.gap == 12.0


def test_what_was_written_is_counted_with_the_thinking():
    clocks, clock = clocks_of()
    hear_every(clocks, clock, 1.0, TextDelta("\n"), ThinkingDelta("hm"), TextDelta("four"), CALL, Heartbeat())
    assert clocks.characters == 7
