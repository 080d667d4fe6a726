"""Half of a surrogate pair: told before anything is sent, and never left in an answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from timed import STREAMS, WAYS, Player, Stage, answer, joined

from understudy import (
    Finish,
    Image,
    Message,
    Policy,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
)
from understudy.messages import File, Request, ToolResult, in_whole_characters, place_of_half

HIGH, LOW, EMOJI, LONE = "\ud83d", "\ude00", "\U0001f600", "\ufffd"
HELLO = Message.user("hello")
CALL = ToolCall(id="1", name="look", arguments={"at": [{"deep": f"é{HIGH}"}]})
RESULT = ToolResult(call_id="1", content=(Text(f"abc{LOW}"),))
TOOL = Tool(name="look", description="Looks.", parameters={"properties": {HIGH: {}}})


def tool_turns(*turns):
    return [HELLO, *turns, Message.user("and?")]


REQUESTS = [
    ({"prompt": f"scraped {HIGH} text"}, "messages[0].parts[0].text, position 8"),
    ({"prompt": f"{EMOJI}{LOW}"}, "messages[0].parts[0].text, position 1"),
    ({"prompt": [{"role": "system", "content": HIGH}, HELLO]}, "system, position 0"),
    ({"prompt": [HELLO, Message.assistant(Thinking(HIGH)), HELLO]}, "messages[1].parts[0].text, position 0"),
    ({"prompt": tool_turns(Message.assistant(CALL))}, "messages[1].parts[0].arguments['at'][0]['deep'], position 1"),
    ({"prompt": tool_turns(Message.tool(RESULT))}, "messages[1].parts[0].content[0].text, position 3"),
    ({"prompt": [Message.user("é", Image(url=f"https://x/{LOW}"))]}, "messages[0].parts[1].url, position 10"),
    ({"prompt": [Message.user(File(data=b"", media_type="a/b", name=HIGH))]}, "messages[0].parts[0].name, position 0"),
    ({"system": HIGH}, "system, position 0"),
    ({"tools": [Tool(name="a", description=f"Ö{HIGH}")]}, "tools[0].description, position 1"),
    ({"tools": [TOOL]}, "tools[0].parameters['properties']['\\ud83d'], position 0"),
    ({"output_schema": {"enum": ["a", LOW]}}, "output_schema['enum'][1], position 0"),
    ({"stop": ["end", HIGH]}, "stop[1], position 0"),
    ({"model": f"x{HIGH}"}, "model, position 1"),
    ({"options": {"a": {"user": HIGH}}}, "options['a']['user'], position 0"),
]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize(("options", "place"), REQUESTS, ids=[place for _, place in REQUESTS])
def test_half_a_character_in_a_request_is_told_with_its_place_before_anything_is_sent(how, options, place):
    stage = Stage(Player("a", tools=True, output_schema=True, images=True, files=True))
    with pytest.raises(ValueError, match="found half of a surrogate pair") as raised:
        stage.ask(how, **options)
    assert f"pair in {place}: cut texts between characters" in str(raised.value)
    str(raised.value).encode()  # the message itself is whole
    assert stage.players[0].requests == []


def test_whole_characters_of_every_kind_are_sent():
    for text in ("plain", "é", "語", EMOJI, f"👩\u200d🔬{EMOJI}", "\x00\ufffe\uffff"):
        assert Stage(Player("a")).ask(prompt=text, system=text, options={"a": {text: [text, 5, None, b"\xff"]}}).success


def test_a_request_made_by_hand_is_checked_too():
    with pytest.raises(ValueError, match=r"messages\[0\]\.parts\[0\]\.text, position 0"):
        Request(messages=(Message.user(HIGH),))


def test_options_that_have_no_end_are_told_before_anything_is_sent():
    circle = {}
    circle["again"] = [circle]
    stage = Stage(Player("a"))
    with pytest.raises(ValueError, match="expected options that can be sent, found lists and objects nested too deep"):
        stage.ask(options={"a": circle})
    assert stage.players[0].requests == []


@pytest.mark.parametrize("how", WAYS)
def test_no_half_is_left_in_an_answer_so_that_the_next_turn_goes_on(how):
    parts = (
        Thinking(f"hm{LOW}", {"a": {"block": [HIGH, {HIGH: 5}]}}),
        Text(f"{HIGH}{LOW}{HIGH}"),
        ToolCall(id="1", name="look", arguments={"at": f"{HIGH}x", LOW: [HIGH + LOW]}),
    )
    stage = Stage(Player("a", answer(f"{HIGH}{LOW}{HIGH}", parts=parts), "fine", tools=True))
    response = stage.ask(how)
    assert response.content == EMOJI + LONE
    assert response.parts == (
        Thinking(f"hm{LONE}", {"a": {"block": [LONE, {LONE: 5}]}}),
        Text(EMOJI + LONE),
        ToolCall(id="1", name="look", arguments={"at": f"{LONE}x", LONE: [EMOJI]}),
    )
    assert place_of_half(response.parts) is None
    assert stage.ask(how, [HELLO, response.message, Message.user("and?")]).content == "fine"


@pytest.mark.parametrize("how", WAYS)
def test_structured_answers_are_whole_as_well(how):
    stage = Stage(Player("a", '{"a": "\\ud83d\\ude00 \\ud83d"}', f'{{"a": "{HIGH}{LOW}"}}', output_schema=True))
    assert stage.ask(how, output_schema={}).structured == {"a": f"{EMOJI} {LONE}"}
    assert stage.ask(how, output_schema={}).structured == {"a": EMOJI}


@pytest.mark.parametrize("how", STREAMS)
@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ((HIGH, LOW), EMOJI),
        ((f"a{HIGH}", f"{LOW}b"), f"a{EMOJI}b"),
        ((f"a{HIGH}", "b"), f"a{LONE}b"),
        ((f"a{HIGH}",), f"a{LONE}"),
        ((LOW, HIGH, HIGH, LOW), f"{LONE}{LONE}{EMOJI}"),
        ((f"a{HIGH}", "", f"{LOW}"), f"a{EMOJI}"),
    ],
)
@pytest.mark.parametrize("recovery", ["raise", "buffer"])
def test_halves_in_two_pieces_of_a_stream_are_joined_and_lone_ones_replaced(how, pieces, text, recovery):
    stage = Stage(Player("a", pieces), policy=Policy(stream_recovery=recovery))
    response = stage.ask(how)
    assert response.content == stage.text == text
    assert place_of_half([event for event in stage.events if not isinstance(event, Finish)]) is None


@pytest.mark.parametrize("how", STREAMS)
def test_each_kind_of_piece_is_joined_by_itself(how):
    pieces = (
        *(ThinkingDelta(HIGH), TextDelta(f"a{HIGH}"), ThinkingDelta(LOW), TextDelta(LOW)),
        *(ToolCallDelta(0, "1", "look", f'{{"a": "{HIGH}'), ToolCallDelta(1, "2", "look", f'{{"a": "{HIGH}')),
        *(ToolCallDelta(1, "2", "look", '"}'), ToolCallDelta(0, "1", "look", f'{LOW}"}}'), TextDelta(f"b{HIGH}")),
    )
    stage = Stage(Player("a", (*pieces, Finish(answer(f"a{EMOJI}b{HIGH}")))))
    response = stage.ask(how)
    arguments = {0: "", 1: ""}
    for event in stage.events:
        if isinstance(event, ToolCallDelta):
            arguments[event.index] += event.arguments
    assert "".join(event.text for event in stage.events if isinstance(event, ThinkingDelta)) == EMOJI
    assert arguments == {0: f'{{"a": "{EMOJI}"}}', 1: f'{{"a": "{LONE}"}}'}
    assert joined(stage.events) == response.content == f"a{EMOJI}b{LONE}"


@given(some.lists(some.text(some.sampled_from([HIGH, LOW, "a", EMOJI, "語"]), max_size=4), max_size=8))
@settings(max_examples=150, deadline=None)
def test_the_pieces_joined_are_the_whole_text_wherever_characters_are_cut(pieces):
    stage = Stage(Player("a", (*pieces, ".", HIGH)))
    response = stage.ask("stream")
    assert joined(stage.events) == response.content == in_whole_characters("".join(pieces) + "." + HIGH)
    assert response.content.encode()
