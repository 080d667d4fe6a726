"""Requests to the Responses API, as this package words them and as the vendor receives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from understudy import (
    File,
    Finish,
    Image,
    LLMFactory,
    Message,
    Request,
    Settings,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from understudy.errors import InvalidRequest
from understudy_openai import OpenAIProvider
from understudy_openai.models import Endpoint
from understudy_openai.wire_responses import request_body

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

OPENAI = Endpoint(is_openai=True)
NEW = "gpt-6-luna"
HELLO = Message.user("Hello")
SAID_HELLO = {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
WEATHER = Tool(name="weather", description="Tells it.")
CALL = ToolCall(id="call_1", name="weather", arguments={"city": "Bern"})
REASONING = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAA"}
SAID = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "phase": "final_answer"}


def _body(*messages: Message, model: str = NEW, **fields: Any) -> dict[str, Any]:
    body, warnings = request_body(Request(messages=messages or (HELLO,), **fields), model, OPENAI)
    assert warnings == ()
    return body


def _items(*messages: Message, **fields: Any) -> Any:
    return _body(*messages, **fields)["input"]


def _own(item: dict[str, Any]) -> dict[str, Any]:
    return {"openai": {"item": item}}


def test_the_least_request_stores_nothing_and_asks_for_reasoning_to_send_back() -> None:
    include = ["reasoning.encrypted_content"]
    assert _body() == {"model": NEW, "input": [SAID_HELLO], "store": False, "include": include}
    assert "include" not in _body(model="chat-latest")  # not known to reason


def test_settings_have_their_places() -> None:
    body = _body(
        system="Be kind.",
        temperature=0.5,
        max_tokens=70,
        output_schema={"type": "object"},
        tools=(WEATHER,),
        tool_choice="weather",
        options={"openai": {"effort": "none"}},
    )
    assert (body["instructions"], body["max_output_tokens"], body["temperature"]) == ("Be kind.", 70, 0.5)
    form = {"type": "json_schema", "name": "answer", "schema": {"type": "object"}, "strict": False}
    assert body["text"] == {"format": form}
    parameters = {"type": "object", "properties": {}}
    described = {"type": "function", "strict": False, "name": "weather", "parameters": parameters}
    assert body["tools"] == [{**described, "description": "Tells it."}]
    assert body["tool_choice"] == {"type": "function", "name": "weather"}


def test_attachments_as_bytes_and_urls() -> None:
    [turn] = _items(
        Message.user(
            Image(data=b"png", media_type="image/png"),
            Image(url="https://pictures.example/a.png", provider_data={"openai": {"detail": "low"}}),
            File(data=b"pdf", media_type="application/pdf", name="a.pdf"),
            File(url="https://papers.example/a.pdf"),
            File(data="grüezi".encode(), media_type="text/markdown"),
        )
    )
    assert turn["content"] == [
        {"type": "input_image", "image_url": "data:image/png;base64,cG5n", "detail": "auto"},
        {"type": "input_image", "image_url": "https://pictures.example/a.png", "detail": "low"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,cGRm"},
        {"type": "input_file", "file_url": "https://papers.example/a.pdf"},
        {"type": "input_text", "text": "grüezi"},
    ]


def test_an_answer_goes_back_as_the_items_that_it_came_in() -> None:
    search = {"id": "ws_1", "type": "web_search_call", "status": "completed"}
    call = ToolCall(id="call_1", name="weather", provider_data=_own({"id": "fc_1", "type": "function_call"}))
    answer = Message(
        "assistant",
        (
            Thinking("Hm.", _own(REASONING)),
            Thinking("", _own(search)),
            Text("One, ", {"openai": {"item": SAID, "annotations": [{"url": "x"}]}}),
            Text("two.", _own(SAID)),
            call,
        ),
    )
    items = _items(HELLO, answer, Message.tool(ToolResult(call_id="call_1", content="mild")))
    assert items[1:] == [
        REASONING,
        search,
        {
            **SAID,
            "content": [
                {"type": "output_text", "annotations": [{"url": "x"}], "text": "One, "},
                {"type": "output_text", "annotations": [], "text": "two."},
            ],
        },
        {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "mild"},
    ]


def test_another_vendors_answer_is_told_in_plain_words() -> None:
    answer = Message.assistant(Thinking("Hm.", {"claude": {"signature": "x"}}), "Hi", CALL)
    said = {"type": "output_text", "annotations": [], "text": "Hi"}
    assert _items(HELLO, answer)[1:] == [
        {"type": "message", "role": "assistant", "content": [said]},
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city": "Bern"}'},
    ]


def test_reasoning_that_cannot_be_told_again_is_left_out_with_what_refers_to_it() -> None:
    kept_there = {name: value for name, value in REASONING.items() if name != "encrypted_content"}
    answer = Message("assistant", (Thinking("Hm.", _own(kept_there)), Text("Hi", _own(SAID))))
    [said] = _items(HELLO, answer)[1:]
    assert "id" not in said
    stored = _items(HELLO, answer, options={"openai": {"store": True}})[1:]
    assert [item["id"] for item in stored] == ["rs_1", "msg_1"]


def test_results_with_more_than_text() -> None:
    picture = Image(data=b"x", media_type="image/png")
    result = ToolResult(call_id="a call of " + "x" * 40, content=(Text("no"), picture), is_error=True)
    asked, told = _items(HELLO, Message.assistant(ToolCall(id=result.call_id, name="weather")), Message.tool(result))[
        1:
    ]
    assert asked["call_id"] == told["call_id"] != result.call_id
    assert [piece["type"] for piece in told["output"]] == ["input_text", "input_image"]
    assert told["output"][0]["text"] == "Error: no"


def test_options_are_laid_over_the_body_and_both_apis_names_are_understood() -> None:
    search = {"type": "web_search"}
    options = {
        "reasoning_effort": "low",
        "reasoning": {"summary": "auto"},
        "verbosity": "low",
        "max_completion_tokens": 99,
        "tools": [search],
        "include": ["web_search_call.action.sources", "reasoning.encrypted_content"],
        "stream_options": {"include_usage": True},
        "store": None,
        "api": "responses",
    }
    body = _body(tools=(WEATHER,), max_tokens=50, output_schema={"type": "object"}, options={"openai": options})
    assert body["reasoning"] == {"effort": "low", "summary": "auto"}
    assert (body["text"]["verbosity"], body["text"]["format"]["type"]) == ("low", "json_schema")
    assert body["max_output_tokens"] == 99
    assert [tool["type"] for tool in body["tools"]] == ["function", "web_search"]
    assert body["include"] == ["reasoning.encrypted_content", "web_search_call.action.sources"]
    assert not {"reasoning_effort", "verbosity", "stream_options", "store", "api"} & set(body)


def test_what_the_api_does_not_take_is_left_out_with_a_warning() -> None:
    request = Request(messages=(HELLO,), stop=("END",), max_tokens=3, temperature=0.0)
    body, [warning] = request_body(request, NEW, OPENAI)
    assert (body["max_output_tokens"], body["temperature"], "stop" in body) == (16, 0.0, False)
    assert str(warning) == "max_tokens 3 became 16, the least that the Responses API takes"
    asked = Request(messages=(HELLO,), temperature=0.0, options={"openai": {"effort": "low"}})
    body, [warning] = request_body(asked, NEW, OPENAI)
    assert "temperature" not in body
    assert str(warning) == "temperature was left out: gpt-6-luna takes none while it reasons"
    with pytest.raises(InvalidRequest, match="only empty text"):
        _body(Message.user("\n"))


# ---- as the vendor receives it ----


def test_everything_at_once_is_accepted_and_received_as_worded(sandbox: Sandbox, provider: OpenAIProvider) -> None:
    asked = provider.generate(Request(messages=(HELLO,), options={"openai": {"api": "responses"}}))
    thought = asked.parts[0]  # encrypted for this account
    assert isinstance(thought, Thinking)
    sandbox.openai.reset()
    request = Request(
        messages=(
            Message.user(Image(data=b"png", media_type="image/png"), File(data=b"x", media_type="text/plain"), "Look."),
            Message.assistant(thought, CALL),
            Message.tool(ToolResult(call_id="call_1", content=(Text("mild"),), is_error=True)),
            Message.user("And now?"),
        ),
        system="Be kind.",
        tools=(WEATHER,),
        tool_choice="none",
        max_tokens=50,
        options={"openai": {"effort": "low", "metadata": {"user_id": "u"}}},
    )
    assert provider.generate(request).success  # tools for a model that reasons: through this API, wherever it is
    list(provider.stream(request))
    plain, streamed = sandbox.openai.requests
    assert (plain.method, plain.path) == ("POST", "/v1/responses")
    assert plain.json == request_body(request, NEW, Endpoint.at("", None, provider.credential))[0]
    assert [item.get("type") for item in plain.json["input"]][1:3] == ["reasoning", "function_call"]
    assert streamed.json == {**plain.json, "stream": True}


@pytest.mark.parametrize("streamed", [False, True])
def test_reasoning_round_trips(streamed: bool, sandbox: Sandbox, provider: OpenAIProvider) -> None:
    options = {"openai": {"api": "responses", "reasoning": {"effort": "low", "summary": "auto"}}}
    asked = Request(messages=(HELLO,), options=options)
    if streamed:
        *_, finish = provider.stream(asked)
        first = finish.response  # type: ignore[union-attr]  # a Finish is the last
    else:
        first = provider.generate(asked)
    assert first.thinking
    provider.generate(Request(messages=(HELLO, first.message, Message.user("And?")), options=options))
    sent_back = sandbox.openai.requests[1].json["input"]
    assert [item.get("type") for item in sent_back] == [None, "reasoning", "message", None]
    assert sent_back[1]["encrypted_content"]
    assert sent_back[2]["id"].startswith("msg_")


@pytest.mark.parametrize("streamed", [False, True])
def test_reasoning_goes_back_to_its_own_account_only(streamed: bool, sandbox: Sandbox) -> None:
    options = {"openai": {"api": "responses"}}
    own, other = (
        OpenAIProvider(Settings(environment={**sandbox.environment(), "OPENAI_API_KEY": key}))
        for key in ("one-key-of-two", "other-key-of-two")
    )
    first = own.generate(Request(messages=(HELLO,), options=options))
    assert len(first.parts[0].provider_data["openai"]["account"]) == 10
    assert own.credential not in str(first.parts)
    again = Request(messages=(HELLO, first.message, Message.user("And?")), options=options)
    foreign = "reasoning from another account was left out: it is encrypted for the account that it came from"
    for provider, warnings in ((own, []), (other, [foreign])):
        response = provider.generate(again)
        if streamed:
            *_, last = provider.stream(again)
            assert isinstance(last, Finish)
            response = last.response
        assert (response.success, list(map(str, response.warnings))) == (True, warnings)
        provider.close()
    sent = [request.json["input"] for request in sandbox.openai.requests]
    to_own, to_other = sent[1], sent[-1]
    assert [item.get("type") for item in to_own] == [None, "reasoning", "message", None]
    assert [item.get("type") for item in to_other] == [None, "message", None]
    assert "id" not in to_other[1]
    assert "account" not in str(to_own)


@pytest.mark.parametrize("streamed", [False, True])
def test_reasoning_that_is_refused_is_left_out_in_one_more_attempt(streamed: bool, sandbox: Sandbox) -> None:
    foreign = Message("assistant", (Thinking("", _own(REASONING)), Text("Hi", _own(SAID))))
    options = {"openai": {"api": "responses"}}
    with LLMFactory("openai", [], settings=sandbox.environment()) as factory:
        asked = [HELLO, foreign, Message.user("And?")]
        if streamed:
            *_, last = factory.stream_content(asked, options=options)
            assert isinstance(last, Finish)
            response = last.response
        else:
            response = factory.generate_content(asked, options=options)
    assert response.success
    assert [attempt.reason for attempt in response.attempts] == ["primary", "once more, without reasoning items"]
    [warning] = response.warnings
    assert str(warning) == "reasoning from earlier answers was left out: the server could not use it"
    refused, answered = (request.json["input"] for request in sandbox.openai.requests)
    assert [item.get("type") for item in refused] == [None, "reasoning", "message", None]
    assert [item.get("type") for item in answered] == [None, "message", None]
    assert "id" not in answered[1]
