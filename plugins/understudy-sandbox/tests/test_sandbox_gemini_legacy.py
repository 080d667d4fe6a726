"""Google's older SDK, over REST: it sends numbers for names, and reads streams as JSON arrays."""

from __future__ import annotations

import gc
import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from understudy_sandbox import Fault, Sandbox, faults

with warnings.catch_warnings():  # importing it warns that it is old
    warnings.simplefilter("ignore")
    legacy = pytest.importorskip("google.generativeai", reason="google-generativeai is not installed")

MODEL = "gemini-2.5-flash-lite"  # does not think unless it is asked to
ANSWER = 'This is the Understudy sandbox standing in for Gemini, not a real model. You said: "Hello there"'
OPTIONS: dict[str, Any] = {"retry": None, "timeout": 5}
BRIEF = {"stall": 0.2, "black_hole": 0.05}  # seconds that the SDK waits for a server that stays silent


@pytest.fixture(scope="module")
def model(_understudy_sandbox: Sandbox) -> Iterator[Any]:
    legacy.configure(
        api_key="test-key", transport="rest", client_options={"api_endpoint": _understudy_sandbox.gemini.url}
    )
    made = legacy.GenerativeModel(MODEL)
    with warnings.catch_warnings():  # parts of protobuf are written for older Pythons
        warnings.simplefilter("ignore", DeprecationWarning)
        made.generate_content("first", request_options=OPTIONS)
        yield made
    made._client.transport._session.close()


def ask(model: Any, stream: bool, options: dict[str, Any] = OPTIONS, **config: Any) -> tuple[str, Any, str]:
    """Return what was raised ("" for nothing), the response or error, and the text that came."""
    text = ""
    try:
        reply = model.generate_content("Hello there", stream=stream, request_options=options, **config)
        for chunk in reply:
            text += "".join(part.text for one in chunk.candidates for part in one.content.parts)
        return "", reply, text
    except (Exception, StopIteration) as error:
        return type(error).__name__, error, text


def test_plain_and_streamed(sandbox: Sandbox, model: Any, stream: bool) -> None:
    raised, reply, text = ask(model, stream)
    assert (raised, text, reply.candidates[0].finish_reason.name) == ("", ANSWER, "STOP")
    assert reply.usage_metadata.total_token_count == 20
    [request] = sandbox.gemini.requests
    method = "streamGenerateContent" if stream else "generateContent"
    assert (request.path, request.stream) == (f"/v1beta/models/{MODEL}:{method}", stream)
    assert request.query == {"$alt": "json;enum-encoding=int"}
    assert request.headers["x-goog-api-key"] == "test-key"


def test_who_asks_for_numbers_gets_numbers(sandbox: Sandbox, send: Callable[..., tuple[int, str]]) -> None:
    url = f"{sandbox.gemini.url}/v1beta/models/{MODEL}:generateContent?%24alt=json%3Benum-encoding%3Dint&key=k"
    sandbox.gemini.next(None, faults.blocked(), faults.blocked(where="prompt"))
    bodies = [json.loads(send(url, {"contents": [{"parts": [{"text": "x"}]}]})[1]) for _ in range(3)]
    assert bodies[0]["candidates"][0]["finishReason"] == 1
    assert bodies[0]["usageMetadata"]["promptTokensDetails"][0]["modality"] == 1
    assert bodies[1]["candidates"][0]["finishReason"] == 3
    assert bodies[1]["candidates"][0]["safetyRatings"][0]["probability"] == 4
    assert bodies[2]["promptFeedback"]["blockReason"] == 1


def test_tools_schemas_and_limits(sandbox: Sandbox, model: Any) -> None:
    def get_weather(city: str, days: int) -> None:
        """The weather of a city."""

    asked = model.generate_content("get_weather please", tools=[get_weather], request_options=OPTIONS)
    call = asked.candidates[0].content.parts[0].function_call
    assert (call.name, dict(call.args)) == ("get_weather", {"city": "...", "days": 1})
    forced = {"function_calling_config": {"mode": "ANY"}}
    calling = model.generate_content("hello", tools=[get_weather], tool_config=forced, request_options=OPTIONS)
    assert calling.candidates[0].content.parts[0].function_call.name == "get_weather"
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    config = {"response_mime_type": "application/json", "response_schema": schema}
    assert ask(model, False, generation_config=config)[2] == '{"age":1}'
    _, cut, text = ask(model, False, generation_config={"max_output_tokens": 3})
    assert (text, cut.candidates[0].finish_reason.name) == ("This is the", "MAX_TOKENS")


def test_listings_and_counting(sandbox: Sandbox, model: Any) -> None:
    assert f"models/{MODEL}" in [one.name for one in legacy.list_models(request_options=OPTIONS)]
    assert model.count_tokens("one two three", request_options=OPTIONS).total_tokens == 3


@pytest.mark.parametrize(
    ("fault", "raised", "code"),
    [
        (faults.rate_limited(retry_after=48), "TooManyRequests", 429),
        (faults.quota_exhausted(), "TooManyRequests", 429),
        (faults.billing(), "GoogleAPICallError", 402),
        (faults.request_too_large(), "BadRequest", 400),
        (faults.overloaded(), "ServiceUnavailable", 503),
        (faults.server_error(), "InternalServerError", 500),
        (faults.timeout(), "GatewayTimeout", 504),
        (faults.authentication_failed(), "BadRequest", 400),
        (faults.permission_denied(), "Forbidden", 403),
        (faults.model_not_found(), "NotFound", 404),
        (faults.context_too_long(), "BadRequest", 400),
        (faults.invalid_request(), "BadRequest", 400),
    ],
    ids=str,
)
def test_failures(sandbox: Sandbox, model: Any, fault: Fault, raised: str, code: int) -> None:
    sandbox.gemini.next(fault, fault)
    found, error, _ = ask(model, stream=False)
    assert (found, error.code) == (raised, code)
    assert "Understudy sandbox" in error.message
    # a stream's error comes as an array, of which the SDK makes this, whatever the status was
    found, error, _ = ask(model, stream=True)
    assert (found, error.code) == ("BadRequest", 400)
    assert "Unknown error trying to retrieve streaming response" in error.message
    assert sandbox.gemini.request_count == 2


@pytest.mark.parametrize(
    ("fault", "plain", "streamed", "came"),
    [
        (faults.cut(), "ChunkedEncodingError", "ChunkedEncodingError", "This"),
        (faults.reset(), "ConnectionError", "ConnectionError", ""),
        (faults.reset(after=2), "ChunkedEncodingError", "ChunkedEncodingError", "This is"),
        (faults.stall(after=2), "ConnectionError", "ConnectionError", "This is"),
        (faults.black_hole(), "ReadTimeout", "ReadTimeout", ""),
        (faults.stream_end(after=2), "ParseError", "ValueError", "This is"),
        (faults.malformed_json(after=2), "ParseError", "ValueError", "This is"),
        (faults.html_page(), "ParseError", "ValueError", ""),
        (faults.empty_body(), "ParseError", "StopIteration", ""),
        (faults.null_object(), "", "", ""),
        (faults.stream_error(after=2), "", "", "This is"),  # the SDK passes over an element that is an error
        (faults.empty(), "", "", ""),
        (faults.out_of_tokens(), "", "", ""),
        (faults.blocked(), "", "", ""),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # the SDK leaves a stream that it cannot read
def test_broken_replies(sandbox: Sandbox, model: Any, fault: Fault, plain: str, streamed: str, came: str) -> None:
    sandbox.gemini.next(fault, fault)
    options = OPTIONS | {"timeout": BRIEF.get(fault.name, 5)}
    assert ask(model, False, options)[::2] == (plain, "")
    assert ask(model, True, options)[::2] == (streamed, came)
    if fault.name == "html_page":
        gc.collect()  # while the warning is expected
