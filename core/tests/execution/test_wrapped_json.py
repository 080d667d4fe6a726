"""JSON in a fence, behind thoughts, or in prose: the answer is that JSON, where it is the only one."""

import pytest
from timed import WAYS, Player, Stage, answer, record

from understudy import FinishReason
from understudy.errors import MalformedResponse
from understudy.extras.json_schema import read_answer

FENCE = "```"
VALUE = {"city": "Oslo", "seen": [{"at": 1}], "code": f"{FENCE}py\nx = [1]\n{FENCE}"}
WHOLE = '{"city": "Oslo", "seen": [{"at": 1}], "code": "```py\\nx = [1]\\n```"}'
BARE = [WHOLE, f"\n {WHOLE}\r\n", "[]", "42", '"a"', "null", '{"a": "</think> {} ```json"}']
WRAPPED = [
    f"{FENCE}json\n{WHOLE}\n{FENCE}",
    f"{FENCE}\r\n{WHOLE}\r\n{FENCE}\r\n",
    f"{FENCE}json {WHOLE}{FENCE}",
    f"Here it is:\n\n{FENCE}JSON\n{WHOLE}\n  {FENCE}\n\nTell me if you need more.",
    f"As asked [1]:\n{FENCE}json\n{WHOLE.replace(FENCE, '')}\n{FENCE}\n",
    f"{FENCE}json\n{WHOLE}",  # its end was a stop sequence, say
    f"<think>a city {{or [two]}}?\n</think>\n\n{WHOLE}",
    f"a city {{or two}}?</think>{FENCE}json\n{WHOLE}\n{FENCE}",
    f"<thinking>{{}}</thinking><think>[]</think>{WHOLE}",
    f"[THINK]a city[/THINK]{WHOLE}",
    f"<|channel|>analysis<|message|>{{}}<|end|><|start|>assistant<|channel|>final<|message|>{WHOLE}",
    f"\ufeff{WHOLE}",
    f"The answer is {WHOLE}.",
]
NOT_ONE = [
    f"{WHOLE} or {WHOLE}",
    f"{FENCE}json\n{WHOLE}\n{FENCE}\n{FENCE}json\n[]\n{FENCE}",
    f"[1] {WHOLE}",
    WHOLE[:-1],
    f"{FENCE}json\n{WHOLE[:-1]}",
    '{"a": {"b": 1}, "c": "cut',
    '{a: {"b": 1}}',
    "{'a': 1}",
    f"<think>perhaps {WHOLE}",
    "The answer is 42.",
    "I cannot tell.",
    f"{FENCE}json\n{{" + "\n" * 50_000,
    "[x " * 50_000,
]


@pytest.mark.parametrize("text", BARE)
def test_bare_json_is_what_it_is(text):
    stage = Stage(Player("a", text, output_schema=True))
    assert stage.ask(output_schema={}).warnings == ()
    assert not read_answer(text)[1]


@pytest.mark.parametrize("text", WRAPPED)
def test_wrapped_json_is_the_answer_with_a_warning_in_all_four_ways(text):
    for how in WAYS:
        response = Stage(Player("a", text, output_schema=True)).ask(how, output_schema={"type": "object"})
        assert response.structured in (VALUE, VALUE | {"code": "py\nx = [1]\n"})
        assert response.content == text  # a stream's caller holds it as it came
        assert [(warning.setting, "`structured` is that JSON" in warning.message) for warning in response.warnings] == [
            ("output_schema", True)
        ]


@pytest.mark.parametrize(
    ("text", "value"), [("```json\n42\n```", 42), ('\ufeff"a"', "a"), ("Say:\n```\nnull\n```", None)]
)
def test_values_that_are_no_object_are_found_in_a_fence(text, value):
    assert read_answer(text) == (value, True)


@pytest.mark.parametrize("text", NOT_ONE, ids=[text[:40] for text in NOT_ONE])
def test_what_is_not_just_one_value_is_malformed_and_another_is_asked(text):
    for how in WAYS:
        stage = Stage(Player("a", text, output_schema=True), Player("b", "[]", output_schema=True))
        response = stage.ask(how, output_schema={})
        if how in ("sync", "async"):
            assert record(response) == [("a", "failed"), ("b", "succeeded")]
            assert isinstance(response.attempts[0].failure, MalformedResponse)
            assert "expected an answer in JSON" in response.attempts[0].failure.message
        else:
            assert isinstance(stage.error.__cause__, MalformedResponse)


def test_prose_is_not_searched_where_nothing_structured_was_asked_for():
    response = Stage(Player("a", WRAPPED[0])).ask()
    assert (response.structured, response.warnings) == (None, ())


def test_a_cut_answer_whose_json_is_whole_is_taken():
    cut = answer(WRAPPED[5], finish_reason=FinishReason.LENGTH)
    assert Stage(Player("a", cut, output_schema=True)).ask(output_schema={}).structured == VALUE
