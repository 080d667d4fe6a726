"""What a stream's caller gets, piece by piece: held back, given, restarted and gone on with."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from understudy import (
    Continuation,
    LLMResponse,
    Message,
    Policy,
    Request,
    Restart,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
)
from understudy.engine.timeouts import times_for
from understudy.errors import Overloaded, Timeout
from understudy.execution.stream_clocks import Clocks
from understudy.execution.stream_recovery import Delivery
from understudy.provider import PLAIN_PACE, Pace
from understudy.response import Heartbeat
from understudy.testing import VirtualClock

CUT = Overloaded("cut")
HELLO = Request(messages=(Message.user("hello"),), max_tokens=100)


def delivery_of(deadline=None, pace=PLAIN_PACE, **changes):
    clock = VirtualClock()
    delivery = Delivery(Policy(**changes), lambda: clock.now, deadline)
    begin(delivery, "a", pace)
    return delivery, clock


def begin(delivery, target, pace=PLAIN_PACE):
    """Begin an attempt, with the times that its policy gives it."""
    times = times_for(delivery._policy, HELLO, pace, streamed=True, whole=False)
    delivery.begin(target, Clocks(times, delivery._clock))


def take(delivery, *events):
    """Return what the caller gets of some events; texts stand for TextDelta."""
    given = []
    for event in events:
        given += delivery.take(TextDelta(event) if isinstance(event, str) else event)
    return [event.text if type(event) is TextDelta else event for event in given]


def go_on(delivery, target="b"):
    """Break off, and begin on another target; return what that is asked."""
    delivery.broke_off(CUT)
    begin(delivery, target)
    return delivery.resume(HELLO)


def begun(request):
    """The begun answer at a request's end, or None."""
    last = request.messages[-1]
    return last.parts[0].text if last.role == "assistant" else None


# ---- the first piece ----


def test_pieces_are_given_as_they_come():
    delivery, _ = delivery_of()
    assert [take(delivery, piece) for piece in ("one", "", " ", "two")] == [["one"], [""], [" "], ["two"]]
    assert delivery.pieces == ["one", "", " ", "two"]


def test_white_space_is_held_until_there_is_more():
    delivery, _ = delivery_of()
    assert take(delivery, "\n", " ", ThinkingDelta(" ")) == []
    assert (delivery.began, delivery.pieces, delivery.clocks.first_at) == (False, None, None)
    assert take(delivery, "a") == ["\n", " ", ThinkingDelta(" "), "a"]
    assert delivery.began
    assert delivery.pieces == ["\n", " ", "a"]


@pytest.mark.parametrize("event", [ThinkingDelta("hm"), ToolCallDelta(0, "1", "add", "")])
def test_thinking_and_tool_calls_are_something(event):
    delivery, _ = delivery_of()
    assert take(delivery, "\n", event) == ["\n", event]


def test_the_first_piece_comes_when_it_comes_even_at_the_clocks_beginning():
    delivery, clock = delivery_of()
    take(delivery, "a")
    assert delivery.clocks.first_at == 0.0
    clock.advance(5)
    take(delivery, "b")
    assert delivery.clocks.first_at == 0.0


@pytest.mark.parametrize("recovery", ["raise", "restart", "continue", "buffer"])
def test_a_heartbeat_is_never_given_and_is_no_first_piece(recovery):
    delivery, _ = delivery_of(stream_recovery=recovery, buffer_tokens=1)
    assert take(delivery, Heartbeat(), "\n", Heartbeat()) == []
    assert (delivery.began, delivery.clocks.first_at, delivery.pieces) == (False, None, None)
    assert take(delivery, "four", Heartbeat(), "five", Heartbeat()) == ["\n", "four", "five"]
    assert delivery.release() == []


# ---- how long a piece may take ----


def test_the_first_piece_has_its_own_time_and_every_other_one_too():
    delivery, clock = delivery_of(first_token_timeout=15, idle_timeout=20)
    assert delivery.patience() == 15
    clock.advance(10)
    take(delivery, " ")  # nothing yet
    assert delivery.patience() == 5
    take(delivery, "a")
    assert delivery.patience() == 20
    clock.advance(20)
    assert delivery.patience() == 0
    assert take(delivery, "b") == ["b"]
    assert delivery.patience() == 20


@pytest.mark.parametrize(("pieces", "message"), [("", "no answer within 15 s"), ("a", "no further piece within 20 s")])
def test_a_piece_that_came_too_late_is_not_given(pieces, message):
    delivery, clock = delivery_of(first_token_timeout=15, idle_timeout=20)
    take(delivery, *pieces)
    clock.advance(20.1)
    with pytest.raises(Timeout, match=message):
        take(delivery, "late")
    assert delivery.pieces == (["a"] if pieces else None)


def test_each_attempt_has_its_own_time_for_the_first_piece():
    delivery, clock = delivery_of(first_token_timeout=15, idle_timeout=20)
    clock.advance(10)
    begin(delivery, "b")
    assert delivery.patience() == 15


def test_heartbeats_are_waited_for_as_long_as_the_vendor_may_be_silent_and_no_longer():
    delivery, clock = delivery_of(pace=Pace(heartbeat=10), first_token_timeout=100, silence_timeout=30)
    for _ in range(3):
        assert delivery.patience() == 30
        clock.advance(29)
        assert take(delivery, Heartbeat()) == []
    assert delivery.patience() == 13  # the first piece is still to come
    clock.advance(13.1)
    with pytest.raises(Timeout, match="no answer within 100 s"):
        take(delivery, "late")


def test_near_the_deadline_a_piece_has_what_is_left():
    delivery, clock = delivery_of(deadline=30.0, idle_timeout=20)
    take(delivery, "a")
    clock.advance(15)
    assert delivery.patience() == 5
    take(delivery, "b")
    clock.advance(5)
    assert delivery.patience() == 10
    clock.advance(10)
    for step in (delivery.patience, lambda: take(delivery, "late")):
        with pytest.raises(Timeout, match="the deadline passed in the middle of the stream"):
            step()
    assert delivery.pieces == ["a", "b"]


def test_a_timeout_says_what_did_not_come():
    delivery, clock = delivery_of(pace=Pace(heartbeat=10), first_token_timeout=60, idle_timeout=20, silence_timeout=50)
    assert delivery.timed_out().message == "no sign of life within 50 s"
    clock.advance(50)
    take(delivery, Heartbeat())
    assert delivery.timed_out().message == "no answer within 60 s"
    take(delivery, "a")
    assert delivery.timed_out().message == "no further piece within 20 s"
    delivery, clock = delivery_of(deadline=20.0)
    clock.advance(20)
    assert delivery.timed_out().message == "no answer within 60 s"  # nothing is cut that had begun
    delivery, clock = delivery_of(deadline=20.0)
    take(delivery, "a")
    clock.advance(20)
    assert delivery.timed_out().message == "the deadline passed in the middle of the stream"


# ---- buffer ----


@pytest.mark.parametrize(("tokens", "pieces"), [(1, 4), (2, 8), (5, 20)])
def test_a_buffer_holds_four_characters_a_token(tokens, pieces):
    delivery, _ = delivery_of(stream_recovery="buffer", buffer_tokens=tokens)
    assert take(delivery, *"x" * (pieces - 1)) == []
    assert not delivery.began
    assert delivery.clocks.first_at == 0.0
    assert take(delivery, "y") == [*"x" * (pieces - 1), "y"]
    assert take(delivery, "z") == ["z"]


def test_whatever_the_model_writes_fills_the_buffer():
    delivery, _ = delivery_of(stream_recovery="buffer", buffer_tokens=3)
    events = [ThinkingDelta("four"), ToolCallDelta(0, "1", "add", "{}  "), TextDelta("abc"), TextDelta("d")]
    assert [len(delivery.take(event)) for event in events] == [0, 0, 0, 4]


def test_without_a_size_the_whole_answer_is_held():
    delivery, _ = delivery_of(stream_recovery="buffer")
    assert take(delivery, *"x" * 5000) == []
    assert len(delivery.release()) == 5000
    assert delivery.began


def test_what_is_held_of_one_attempt_is_not_given_with_the_next():
    delivery, _ = delivery_of(stream_recovery="buffer", buffer_tokens=2)
    assert take(delivery, "lost", "los") == []
    begin(delivery, "b")
    assert take(delivery, "kept", "kep") == []
    assert take(delivery, "t") == ["kept", "kep", "t"]


def test_what_the_caller_holds_stays_its_own_when_nothing_is_left_to_release():
    delivery, _ = delivery_of()
    assert take(delivery, "hello") == ["hello"]
    assert delivery.release() == []
    assert delivery.pieces == ["hello"]


def test_an_empty_stream_releases_nothing():
    delivery, _ = delivery_of()
    assert delivery.release() == []
    assert not delivery.began


# ---- restart ----


def test_a_restart_is_told_before_the_next_targets_first_piece():
    delivery, _ = delivery_of(stream_recovery="restart")
    take(delivery, "half")
    assert begun(go_on(delivery)) is None
    assert delivery.pieces is None
    assert take(delivery, " ") == []
    assert take(delivery, "whole") == [Restart("a", "b", CUT), " ", "whole"]
    assert delivery.pieces == [" ", "whole"]
    assert take(delivery, "!") == ["!"]


def test_who_fails_without_a_piece_is_not_told_of():
    delivery, _ = delivery_of(stream_recovery="restart")
    take(delivery, "half")
    go_on(delivery, "b")
    take(delivery, " ")
    begin(delivery, "c")
    delivery.resume(HELLO)
    assert take(delivery, "whole") == [Restart("a", "c", CUT), "whole"]


def test_a_second_break_is_told_too():
    delivery, _ = delivery_of(stream_recovery="restart")
    take(delivery, "one")
    go_on(delivery, "b")
    take(delivery, "two")
    go_on(delivery, "c")
    assert take(delivery, "three") == [Restart("b", "c", CUT), "three"]
    assert delivery.pieces == ["three"]


def tool_call(number, *pieces):
    return [ToolCallDelta(0, f"call {number}", "add", piece) for piece in pieces]


def test_a_restart_names_the_tool_calls_that_are_void():
    delivery, _ = delivery_of(stream_recovery="restart")
    take(delivery, "Let me see.", *tool_call(1, "{", "}"), *tool_call(2, "{"))
    go_on(delivery)
    assert take(delivery, *tool_call(3, "{}")) == [Restart("a", "b", CUT, ("call 1", "call 2")), *tool_call(3, "{}")]


def test_only_what_the_caller_holds_is_void():
    """A second restart does not name what the first one did, nor what was held back of the attempt between."""
    delivery, _ = delivery_of(stream_recovery="restart")
    take(delivery, *tool_call(1, "{}"))
    go_on(delivery, "b")
    assert take(delivery, *tool_call(2, "{}"))[0].voided == ("call 1",)
    go_on(delivery, "c")
    assert take(delivery, " ") == []
    begin(delivery, "d")
    assert take(delivery, *tool_call(4, "{}"))[0].voided == ("call 2",)
    go_on(delivery, "e")
    assert take(delivery, "fine")[0].voided == ("call 4",)
    go_on(delivery, "f")
    assert take(delivery, "fine")[0].voided == ()


def test_a_tool_call_of_a_refused_answer_is_void_whoever_could_go_on():
    delivery, _ = delivery_of(stream_recovery="continue")
    take(delivery, "one", *tool_call(1, "{}"))
    delivery.complete(LLMResponse(True, "one", "a"))
    go_on(delivery)
    assert take(delivery, "two") == [Restart("a", "b", CUT, ("call 1",)), "two"]


def test_a_tool_call_that_a_buffer_held_is_nobodys():
    delivery, _ = delivery_of(stream_recovery="buffer")
    assert take(delivery, *tool_call(1, "{}")) == []
    begin(delivery, "b")
    assert take(delivery, *tool_call(2, "{}")) == []
    assert delivery.release() == tool_call(2, "{}")


# ---- going on ----


def test_the_next_target_is_given_what_came_and_goes_on_from_there():
    delivery, _ = delivery_of(stream_recovery="continue")
    take(delivery, "The show ", "must")
    request = go_on(delivery)
    assert begun(request) == "The show must"
    assert request.messages[0] is HELLO.messages[0]
    assert take(delivery, " go", " on.") == [Continuation("a", "b", CUT), " go", " on."]
    response = delivery.complete(LLMResponse(True, " go on.", "b"))
    assert response.content == "The show must go on."
    assert response.parts == (Text("The show must go on."),)


def test_white_space_at_the_end_is_neither_sent_nor_given_twice():
    delivery, _ = delivery_of(stream_recovery="continue")
    take(delivery, "One.", " \n")
    assert begun(go_on(delivery)) == "One."
    assert take(delivery, " ", "\n  ", "Two") == [Continuation("a", "b", CUT), "  ", "Two"]
    assert delivery.complete(LLMResponse(True, " \n  Two", "b")).content == "One. \n  Two"


def test_who_breaks_off_twice_is_gone_on_with_from_the_very_end():
    delivery, _ = delivery_of(stream_recovery="continue")
    take(delivery, "one")
    go_on(delivery, "b")
    take(delivery, " two")
    assert begun(go_on(delivery, "c")) == "one two"
    assert take(delivery, " three") == [Continuation("b", "c", CUT), " three"]
    assert delivery.complete(LLMResponse(True, " three", "c")).content == "one two three"


def test_an_answer_that_was_whole_already_is_gone_on_with_by_nothing():
    delivery, _ = delivery_of(stream_recovery="continue")
    take(delivery, "That is all.")
    go_on(delivery)
    assert delivery.complete(LLMResponse(True, "", "b")).content == "That is all."
    assert delivery.release() == [Continuation("a", "b", CUT)]


def test_thinking_and_tool_calls_of_the_rest_are_kept():
    delivery, _ = delivery_of(stream_recovery="continue")
    take(delivery, "one")
    go_on(delivery)
    call = ToolCall(id="1", name="add")
    response = delivery.complete(LLMResponse(True, " two", "b", parts=(Thinking("hm"), Text(" two"), call)))
    assert response.parts == (Text("one two"), Thinking("hm"), call)


@pytest.mark.parametrize("broken", ["a text", LLMResponse(True, None), LLMResponse(True, 5), None])
def test_what_is_no_answer_is_left_to_the_check_of_answers(broken):
    delivery, _ = delivery_of(stream_recovery="continue")
    take(delivery, "one")
    go_on(delivery)
    assert delivery.complete(broken) is broken


def test_after_thinking_alone_it_begins_anew():
    delivery, _ = delivery_of(stream_recovery="continue")
    take(delivery, ThinkingDelta("hm"), " ")
    assert delivery.lack(HELLO, prefill=False) is None
    assert begun(go_on(delivery)) is None
    assert delivery.lack(HELLO, prefill=False) is None
    assert take(delivery, "one") == [Restart("a", "b", CUT), "one"]
    assert delivery.pieces == ["one"]
    assert delivery.complete(LLMResponse(True, "one", "b")).content == "one"


def test_who_cannot_go_on_says_why():
    delivery, _ = delivery_of(stream_recovery="continue")
    assert delivery.lack(HELLO, prefill=False) is None
    take(delivery, "one")
    delivery.broke_off(CUT)
    assert delivery.lack(HELLO, prefill=False) == "does not go on with a begun answer"
    assert delivery.lack(HELLO, prefill=True) is None
    with_schema = Request(messages=HELLO.messages, output_schema={"type": "object"})
    assert delivery.lack(with_schema, prefill=True) == "does not go on with a begun tool call or JSON"
    take(delivery, ToolCallDelta(0, "1", "add", "{"))
    assert delivery.lack(HELLO, prefill=True) == "does not go on with a begun tool call or JSON"


def test_a_restart_needs_nothing_of_the_next_target():
    delivery, _ = delivery_of(stream_recovery="restart")
    take(delivery, "one", ToolCallDelta(0, "1", "add", "{"))
    delivery.broke_off(CUT)
    assert delivery.lack(HELLO, prefill=False) is None


# ---- properties: I16 ----

blanks = st.text(" \n\t\u00a0", max_size=4)
letters = st.text(st.sampled_from("ab \n\u0301é👩\u200d🔬語"), max_size=6)
texts = st.lists(st.one_of(letters, blanks, st.text(max_size=4)), max_size=8)  # and test_whole_characters.py
thoughts = st.booleans()


def chunks(draw, text):
    """Cut a text anywhere, also between the parts of what is seen as one letter."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6)))
    return [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@st.composite
def broken_answers(draw):
    """Parts of an answer by one target after another, each cut into pieces."""
    parts = draw(st.lists(texts.map("".join), min_size=1, max_size=4))
    return [chunks(draw, part) for part in parts]


def joined(events):
    text = ""
    for event in events:
        text = "" if type(event) is Restart else text + (event.text if type(event) is TextDelta else "")
    return text


@given(broken_answers(), st.sampled_from(["continue", "restart"]))
@example([["One.", " \n"], [" ", "\n", "Two"]], "continue")
@example([["a ", " "], ["  ", "  "], [" ", "b"]], "continue")
@settings(max_examples=150, deadline=None)
def test_pieces_joined_are_the_text_for_every_chunking(parts, recovery):
    delivery, _ = delivery_of(stream_recovery=recovery)
    given, asked = [], HELLO
    for number, pieces in enumerate(parts):
        begun_with = begun(asked)
        given += [event for piece in pieces for event in delivery.take(TextDelta(piece))]
        if number == len(parts) - 1:
            response = delivery.complete(LLMResponse(True, "".join(pieces), "b"))
            given += delivery.release()
            assert joined(given) == response.content
            if recovery == "restart":
                assert response.content == "".join(pieces)
        elif delivery.began:
            held = "".join(delivery.pieces)
            assert joined(given) == held
            if begun_with is not None:
                assert held.startswith(begun_with)
            asked = go_on(delivery, f"target {number}")
            if recovery == "continue" and held.strip():
                assert begun(asked) == held.rstrip()
                assert begun(asked) == begun(asked).rstrip()
        else:  # nothing that the caller could see: the next one begins as this one did
            begin(delivery, f"target {number}")
            asked = delivery.resume(HELLO)


@given(texts.map("".join), texts.map("".join), st.data())
@settings(max_examples=100, deadline=None)
def test_no_letter_is_lost_or_given_twice_where_another_goes_on(first, second, data):
    """Whoever goes on writes what follows the begun answer, which was sent without the white space at its end."""
    delivery, _ = delivery_of(stream_recovery="continue")
    for piece in chunks(data.draw, first):
        delivery.take(TextDelta(piece))
    if not first.strip():
        return
    blank = first[len(first.rstrip()) :]
    go_on(delivery)
    given = [event for piece in chunks(data.draw, blank + second) for event in delivery.take(TextDelta(piece))]
    response = delivery.complete(LLMResponse(True, blank + second, "b"))
    given += delivery.release()
    assert response.content == first + second
    assert first + joined(given) == first + second
