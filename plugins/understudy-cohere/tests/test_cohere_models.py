"""What models refuse is left out, and said."""

from __future__ import annotations

import pytest

from understudy import Message, Request, Settings, Tool
from understudy_cohere import CohereProvider
from understudy_cohere.models import DEFAULT_MODEL, ending_warnings, takes_images, takes_thinking, takes_tool_choice
from understudy_cohere.wire import request_body

HELLO = Message.user("Hello")
TOOL = Tool(name="weather")
THINKING = {"cohere": {"thinking": {"type": "enabled"}}}


@pytest.mark.parametrize(
    ("model", "images", "thinking", "tool_choice"),
    [
        ("command-a-plus-05-2026", True, True, False),
        ("command-a-03-2025", False, False, True),
        ("command-a-reasoning-08-2025", False, True, False),
        ("command-a-vision-07-2025", True, False, True),
        ("command-a-translate-08-2025", False, False, True),
        ("command-r7b-12-2024", False, False, True),
        ("command-r-plus-08-2024", False, False, False),
        ("command-r", False, False, False),
        ("c4ai-aya-vision-32b", True, False, True),
        ("c4ai-aya-expanse-32b", False, False, True),
        ("north-mini-code-1-0", False, True, False),
        ("command-b-01-2027", True, True, True),
        ("a-name-of-ones-own", True, True, True),
    ],
)
def test_what_models_take(model: str, images: bool, thinking: bool, tool_choice: bool) -> None:
    assert (takes_images(model), takes_thinking(model), takes_tool_choice(model)) == (images, thinking, tool_choice)


def test_thinking_is_left_out_where_the_model_takes_none() -> None:
    body, [warning] = request_body(Request(messages=(HELLO,), options=THINKING), "command-a-03-2025")
    assert "thinking" not in body
    assert str(warning) == "thinking was left out: command-a-03-2025 takes none"
    body, warnings = request_body(Request(messages=(HELLO,), options=THINKING), "command-a-plus-05-2026")
    assert (body["thinking"], warnings) == ({"type": "enabled"}, ())


@pytest.mark.parametrize("choice", ["required", "weather"])
def test_a_model_that_cannot_be_made_to_call_a_tool_is_asked_without(choice: str) -> None:
    request = Request(messages=(HELLO,), tools=(TOOL,), tool_choice=choice)
    body, [warning] = request_body(request, "command-a-plus-05-2026")
    assert "tool_choice" not in body
    assert len(body["tools"]) == 1
    assert warning.setting == "tool_choice"


def test_a_model_that_cannot_be_kept_from_tools_is_not_told_of_them() -> None:
    request = Request(messages=(HELLO,), tools=(TOOL,), tool_choice="none", output_schema={"type": "object"})
    body, warnings = request_body(request, "command-a-plus-05-2026")
    assert ("tools" in body, "tool_choice" in body, warnings) == (False, False, ())


def test_a_temperature_above_one_becomes_one() -> None:
    body, [warning] = request_body(Request(messages=(HELLO,), temperature=1.5), DEFAULT_MODEL)
    assert body["temperature"] == 1.0
    assert str(warning) == "temperature 1.5 became 1.0, Cohere's highest"


def test_more_stop_texts_than_five_are_left_out_with_a_warning() -> None:
    body, [warning] = request_body(Request(messages=(HELLO,), stop=tuple("abcdefg")), DEFAULT_MODEL)
    assert (body["stop_sequences"], warning.setting) == (["a", "b", "c", "d", "e"], "stop")
    assert str(warning).startswith("2 stop sequences were left out")


def test_a_deprecated_model_is_still_asked_with_a_warning_that_names_its_successor() -> None:
    body, [warning] = request_body(Request(messages=(HELLO,)), "command-r-plus")
    assert body["model"] == "command-r-plus"
    assert str(warning).endswith("closed to new customers: ask command-r-plus-08-2024 instead")
    provider = CohereProvider(Settings(environment={}))
    assert provider.model_notice("command-r-plus") == str(warning)
    assert provider.model_notice(DEFAULT_MODEL) is None
    assert ending_warnings(DEFAULT_MODEL) == ()
