"""A whole answer that may take long is requested as a stream internally, so that work is told from silence."""

import dataclasses

import pytest
from timed import NEVER, Player, Stage, answer, held_leases, record

from understudy import (
    Policy,
    StreamInterrupted,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from understudy.errors import EmptyResponse, Overloaded
from understudy.provider import Pace
from understudy.response import Heartbeat

WHOLE = ["sync", "async"]
every_whole = pytest.mark.parametrize("how", WHOLE)
LONG = {"max_tokens": 5000}
PATIENT = Policy.patient(max_retries=0)


class Told(Player):
    """Tells how it was asked."""

    def __init__(self, name, *lines, pace=None, **more):
        super().__init__(name, *lines, **more)
        self.asked = []
        self.closed = 0
        self._pace = pace

    def pace(self, request):
        return self._pace or super().pace(request)

    def generate(self, request):
        self.asked.append("plain")
        return super().generate(request)

    async def agenerate(self, request):
        self.asked.append("plain")
        return await super().agenerate(request)

    def stream(self, request):
        if len(self.asked) < len(self.requests) + 1:
            self.asked.append("stream")
        try:
            yield from super().stream(request)
        finally:
            self.closed += 1

    async def astream(self, request):
        if len(self.asked) < len(self.requests) + 1:
            self.asked.append("stream")
        try:
            async for event in super().astream(request):
                yield event
        finally:
            self.closed += 1


def stage_of(*players, **changes):
    return Stage(*players, policy=dataclasses.replace(PATIENT, **changes))


# ---- how it is asked ----


@every_whole
@pytest.mark.parametrize(
    ("policy", "options", "pace", "asked"),
    [
        ("auto", {}, None, "plain"),
        ("auto", {"max_tokens": 2000}, None, "plain"),
        ("auto", LONG, None, "stream"),
        ("auto", {"max_tokens": None}, None, "stream"),
        ("auto", {}, Pace(thinks=True), "stream"),
        ("auto", {}, Pace(loading=60.0), "stream"),
        ("stream", {}, None, "stream"),
        ("plain", LONG, Pace(thinks=True), "plain"),
    ],
)
def test_what_may_take_long_is_asked_for_as_a_stream(how, policy, options, pace, asked):
    player = Told("a", pace=pace)
    assert stage_of(player, whole_answers=policy).ask(how, **options).content == "fine"
    assert player.asked == [asked]
    assert player.requests[0].whole is (asked == "stream")


@every_whole
@pytest.mark.parametrize("policy", ["auto", "stream"])
def test_who_does_not_stream_is_asked_plainly(how, policy):
    player = Told("a", streaming=False)
    assert stage_of(player, whole_answers=policy).ask(how, **LONG).content == "fine"
    assert player.asked == ["plain"]


@pytest.mark.parametrize("how", ["stream", "astream"])
def test_a_callers_own_stream_is_one_whatever_the_policy_says(how):
    player = Told("a", ("one ", "two"))
    stage = stage_of(player, whole_answers="plain")
    assert stage.ask(how, **LONG).content == "one two"
    assert len(stage.events) == 3
    assert not player.requests[0].whole


@every_whole
def test_a_pace_that_fails_breaks_no_call(how):
    class Broken(Told):
        def pace(self, request):
            raise RuntimeError("a mistake")

    player = Broken("a")
    assert stage_of(player).ask(how).content == "fine"
    assert player.asked == ["plain"]


# ---- what the caller is given ----


@every_whole
def test_the_caller_is_given_the_same_response(how):
    usage = Usage(input_tokens=3, output_tokens=400, thinking_tokens=300)
    call = ToolCall(id="1", name="add", arguments={"a": 1})
    whole = answer(
        "one two",
        "a",
        usage=usage,
        parts=(Thinking("hm"), Text("one two"), call),
        request_id="req 1",
        metadata={"region": "here"},
    )
    line = (
        ThinkingDelta("hm"),
        1.0,
        Heartbeat(),
        TextDelta("one "),
        TextDelta("two"),
        ToolCallDelta(0, "1", "add", "{}"),
    )
    responses = []
    for policy in ("plain", "stream"):
        stage = stage_of(Told("a", (*line, whole)), whole_answers=policy)
        responses.append(stage.ask(how))
    plain, streamed = responses
    assert streamed == plain
    assert streamed.attempts[0].usage == usage
    assert (streamed.thinking, streamed.tool_calls) == ("hm", (call,))


@every_whole
def test_what_will_not_do_is_refused_as_ever(how):
    stage = stage_of(Told("a", answer("", "a")), Player("b"), whole_answers="stream")
    response = stage.ask(how)
    assert isinstance(response.attempts[0].failure, EmptyResponse)
    assert response.provider_name == "b"


@every_whole
def test_a_break_inside_is_a_failure_like_any_other_and_is_retried(how):
    """Nobody holds a part of it."""
    stage = stage_of(Told("a", ("half", Overloaded("cut")), "whole"), Player("b"), max_retries=1)
    response = stage.ask(how, **LONG)
    assert record(response) == [("a", "failed"), ("a", "succeeded")]
    assert isinstance(response.attempts[0].failure, Overloaded)
    assert response.content == "whole"
    assert held_leases(stage.factory) == {}


@every_whole
def test_a_stream_without_its_end_is_no_answer(how):
    class Endless(Told):
        def _play(self, line):
            yield from line

    stage = stage_of(Endless("a", ("half",)), Player("b"))
    response = stage.ask(how, **LONG)
    assert record(response) == [("a", "failed"), ("b", "succeeded")]
    assert isinstance(response.attempts[0].failure, StreamInterrupted)


@every_whole
@pytest.mark.parametrize(
    "line",
    ["fine", ("half", Overloaded("cut")), ("one ", 100.0, "two"), answer("", "a")],
    ids=["answered", "broken off", "late", "empty"],
)
def test_every_stream_inside_is_closed(how, line):
    player = Told("a", line)
    stage = stage_of(player, Player("b"))
    stage.ask(how, **LONG)
    assert (player.closed, player.under_way) == (len(player.requests), 0)
    assert held_leases(stage.factory) == {}


@every_whole
def test_a_provider_that_fails_when_closed_spoils_nothing(how, caplog):
    class Untidy(Told):
        def stream(self, request):
            try:
                yield from Player.stream(self, request)
            except GeneratorExit:
                raise Overloaded("while closing") from None

        async def astream(self, request):
            try:
                for event in Player.stream(self, request):
                    yield event
            except GeneratorExit:
                raise Overloaded("while closing") from None

    stage = stage_of(Untidy("a"))
    assert stage.ask(how, **LONG).content == "fine"
    assert "a failed when its stream was closed" in caplog.text


# ---- work and silence ----

ALIVE = Pace(thinks=True, heartbeat=20.0)


@every_whole
def test_an_answer_of_many_minutes_is_no_outage(how):
    """Pieces of text, of thinking, and signs of life: each shows that the model is at work."""
    for line in (
        ("word ", 40.0) * 30,
        (ThinkingDelta("hm"), 250.0, ThinkingDelta("ha"), 250.0, "so") * 3,
        (Heartbeat(), 30.0) * 18 + ("thought over",),
    ):
        stage = stage_of(Told("a", line, pace=Pace(thinks=True) if 250.0 in line else ALIVE), Player("b"))
        assert record(stage.ask(how, **LONG)) == [("a", "succeeded")]
        assert stage.clock.now > 500
        assert stage.factory._admission.look(0).failures == 0


@every_whole
@pytest.mark.parametrize(
    ("line", "pace", "message", "seconds"),
    [
        ((50.0, Heartbeat(), NEVER, "late"), ALIVE, "no sign of life within 45 s", 45),
        ((Heartbeat(), 30.0, Heartbeat(), 46.0, "late", NEVER), ALIVE, "no sign of life within 45 s", 75),
        (("one ", 46.0, "two", NEVER), ALIVE, "no sign of life within 45 s", 45),
        ((Heartbeat(), 40.0) * 100, ALIVE, "no answer within 600 s", 600),
        (("one ", *(Heartbeat(), 40.0) * 100), ALIVE, "no further piece within 300 s", 300),
        ((61.0, "late", NEVER), Pace(), "no answer within 60 s", 60),
        (("one ", 61.0, "two", NEVER), Pace(), "no further piece within 60 s", 60),
        ((601.0, "late", NEVER), Pace(thinks=True), "no answer within 600 s", 600),
        ((361.0, "late", NEVER), Pace(loading=300.0), "no answer within 360 s", 360),
    ],
)
def test_whoever_is_silent_or_gets_nowhere_is_given_up_and_known_for_what_it_is(how, line, pace, message, seconds):
    stage = stage_of(Told("a", line, pace=pace), Player("b"))
    response = stage.ask(how, **LONG)
    assert record(response) == [("a", "failed"), ("b", "succeeded")]
    assert response.attempts[0].failure.message == message
    if how == "async":  # a sync provider of one's own is not stopped between its events
        assert stage.clock.now == pytest.approx(seconds)
    assert stage.factory._admission.look(0).failures == 1


@every_whole
def test_a_time_that_the_caller_names_is_kept_to(how):
    line = ("word ", 1.0) * 20
    stage = stage_of(Told("a", line), Player("b"))
    response = stage.ask(how, timeout=5, **LONG)
    assert response.attempts[0].failure.message == "no whole answer within 5 s"
    assert response.attempts[0].seconds == pytest.approx(5.0, abs=1.0)
    assert response.provider_name == "b"
    assert stage.factory._admission.look(0).failures == 0  # it was at work
    stage = stage_of(Told("a", line), Player("b"))
    assert stage.ask(how, timeout=50, **LONG).provider_name == "a"


@every_whole
def test_the_provider_is_told_how_long_its_stream_may_be_silent(how):
    for pace, options, seconds in (
        (Pace(), {}, 60),
        (Pace(thinks=True), {}, 600),
        (ALIVE, {}, 45),
        (Pace(heartbeat=40.0), {}, 60),
        (Pace(), {"timeout": 7}, 7),
        (ALIVE, {"deadline": 20}, 20),
    ):
        player = Told("a", pace=pace)
        stage_of(player).ask(how, **options, **LONG)
        assert player.requests[0].timeout == pytest.approx(seconds)


# ---- what is learnt of it ----


@every_whole
def test_pieces_are_learnt_from_apart_from_plain_answers(how):
    stage = stage_of(Told("a", (2.0, "one ", 5.0, "two", 1.0)))
    for _ in range(20):
        stage.ask(how, **LONG)
    learned, thinking = stage.factory._admission.look(0).learned
    assert (learned.first_p95, learned.gap_p95, learned.end_p95) == (2.0, 5.0, 8.0)
    assert learned.answer_p95 is None
    assert thinking.first_p95 is None
    for _ in range(20):
        stage.ask(how)
    learned, _ = stage.factory._admission.look(0).learned
    assert (learned.answer_p95, learned.first_p95) == (8.0, 2.0)


@every_whole
def test_a_thinking_answer_teaches_nothing_of_others(how):
    stage = stage_of(Told("a", (90.0, "thought over"), pace=Pace(thinks=True)))
    for _ in range(20):
        assert stage.ask(how).success
    plain, thinking = stage.factory._admission.look(0).learned
    assert (plain.first_p95, thinking.first_p95, thinking.end_p95) == (None, 90.0, 90.0)


@every_whole
def test_who_gave_no_piece_teaches_nothing(how):
    stage = stage_of(Told("a", (2.0, Overloaded("down"))), Player("b"), breaker=False)
    for _ in range(20):
        assert stage.ask(how, **LONG).provider_name == "b"
    assert stage.factory._admission.look(0).learned[0].first_p95 is None


@every_whole
def test_a_piece_teaches_nothing_where_no_answer_followed(how):
    """Else a vendor that breaks off would seem a quick one."""
    stage = stage_of(Told("a", (2.0, "half", Overloaded("cut"))), Player("b"), breaker=False)
    for _ in range(20):
        assert stage.ask(how, **LONG).provider_name == "b"
    assert stage.factory._admission.look(0).learned[0].first_p95 is None


# ---- a target of which it is not known whether it answers ----

SENSITIVE = {"breaker_failures": 1, "breaker_requests": 1, "breaker_jitter": 0.0}


def half_open(*players, **changes):
    stage = stage_of(*players, **{**SENSITIVE, **changes})
    assert not stage.ask().success
    assert stage.state() == "open"
    stage.clock.advance(5.0)
    return stage


@every_whole
def test_a_probe_is_a_stream_inside_and_its_first_piece_closes_the_circuit(how):
    seen = []

    class Looking(Told):
        def _play(self, line):
            for event in super()._play(line):
                yield event
                if isinstance(event, TextDelta):
                    seen.append(stage.state())

    player = Looking("a", Overloaded("down"), (1.0, Heartbeat(), 1.0, "one ", 50.0, "two"))
    stage = half_open(player)
    assert stage.ask(how).content == "one two"
    assert player.asked[-1] == "stream"
    assert seen == ["closed", "closed"]
    assert held_leases(stage.factory) == {}


@every_whole
def test_a_probe_that_breaks_off_after_its_first_piece_has_shown_life_all_the_same(how):
    stage = half_open(Told("a", Overloaded("down"), ("half", Overloaded("cut"))))
    response = stage.ask(how)
    assert isinstance(response.attempts[0].failure, Overloaded)
    assert stage.state() == "closed"
    assert held_leases(stage.factory) == {}
    stage.ask(how)
    assert stage.state() == "open"  # the next break counts


@every_whole
def test_who_wants_plain_answers_probes_plainly(how):
    player = Told("a", Overloaded("down"), (1.0, "fine"))
    stage = half_open(player, whole_answers="plain")
    assert stage.ask(how).content == "fine"
    assert player.asked == ["plain", "plain"]
    assert stage.state() == "closed"


@pytest.mark.parametrize("how", ["stream", "astream"])
def test_a_callers_stream_that_is_a_probe_closes_the_circuit_with_its_first_piece(how):
    stage = half_open(Told("a", Overloaded("down"), (1.0, "one ", 5.0, Overloaded("cut"))))
    assert stage.ask(how) is None
    assert stage.error.partial == "one "
    assert held_leases(stage.factory) == {}
