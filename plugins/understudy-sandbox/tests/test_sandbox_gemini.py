"""Healthy replies in Google's shape, and the checks that Google makes, seen through the real SDK."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from understudy_sandbox import Sandbox

MODEL = "gemini-2.5-flash-lite"  # does not think unless it is asked to
ANSWER = 'This is the Understudy sandbox standing in for Gemini, not a real model. You said: "Hello there"'
WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="get_weather",
            parameters_json_schema={
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
                "required": ["city"],
            },
        )
    ]
)


def generate(client: genai.Client, contents: Any = "Hello there", **config: Any) -> types.GenerateContentResponse:
    return client.models.generate_content(model=MODEL, contents=contents, config=types.GenerateContentConfig(**config))


def post(url: str, body: Any, **headers: str) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json", **headers})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.loads(response.read())


def test_plain_reply_says_that_it_is_a_stand_in(sandbox: Sandbox, gemini_client: genai.Client) -> None:
    response = generate(gemini_client)
    assert response.text == ANSWER
    assert response.candidates[0].finish_reason == "STOP"
    assert response.model_version == MODEL
    assert response.response_id
    usage = response.usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count, usage.total_token_count) == (3, 17, 20)
    assert response.sdk_http_response.headers["x-understudy-sandbox"] == "stand-in"
    [request] = sandbox.gemini.requests
    assert (request.method, request.path) == ("POST", f"/v1/models/{MODEL}:generateContent")
    assert request.headers["x-goog-api-key"] == "test-key"
    assert "test-key" not in repr(request)


def test_stream_comes_word_by_word_and_ends_with_its_reason(sandbox: Sandbox, gemini_client: genai.Client) -> None:
    chunks = list(gemini_client.models.generate_content_stream(model=MODEL, contents="Hello there"))
    assert len(chunks) == 18
    assert "".join(chunk.text for chunk in chunks) == ANSWER
    assert [chunk.candidates[0].finish_reason for chunk in chunks] == [None] * 17 + ["STOP"]
    assert chunks[-1].usage_metadata.total_token_count == 20
    assert sandbox.gemini.requests[0].query == {"alt": "sse"}
    assert sandbox.gemini.requests[0].stream


def test_stream_without_sse_is_a_json_array(sandbox: Sandbox) -> None:
    url = f"{sandbox.gemini.url}/v1beta/models/{MODEL}:streamGenerateContent?key=k"
    chunks = post(url, {"contents": [{"parts": [{"text": "Hello there"}]}]})
    assert "".join(chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in chunks) == ANSWER
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"
    assert len(chunks) == 18


def test_async_client(sandbox: Sandbox, new_gemini_client: Callable[[], genai.Client]) -> None:
    client = new_gemini_client()

    async def talk() -> tuple[str | None, str]:
        plain = await client.aio.models.generate_content(model=MODEL, contents="Hello there")
        stream = await client.aio.models.generate_content_stream(model=MODEL, contents="Hello there")
        streamed = "".join([chunk.text or "" async for chunk in stream])
        await client.aio.aclose()
        return plain.text, streamed

    assert asyncio.run(talk()) == (ANSWER, ANSWER)
    client.close()


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_both_versions(sandbox: Sandbox, gemini_client: genai.Client, version: str) -> None:
    options = types.HttpOptions(api_version=version)
    assert generate(gemini_client, http_options=options).text == ANSWER
    assert sandbox.gemini.requests[0].path.startswith(f"/{version}/models/")


def test_vertex_paths(sandbox: Sandbox) -> None:
    from google.oauth2.credentials import Credentials

    options = types.HttpOptions(base_url=sandbox.gemini.url, retry_options=types.HttpRetryOptions(attempts=1))
    client = genai.Client(
        vertexai=True, project="p", location="l", credentials=Credentials("token"), http_options=options
    )
    assert client.models.generate_content(model=MODEL, contents="Hello there").text == ANSWER
    client.close()
    path = sandbox.gemini.requests[0].path
    assert path == f"/v1beta1/projects/p/locations/l/publishers/google/models/{MODEL}:generateContent"


def test_scripted_text_comes_once(sandbox: Sandbox, gemini_client: genai.Client) -> None:
    sandbox.gemini.reply("Grüße ☕")
    assert [generate(gemini_client).text for _ in range(2)] == ["Grüße ☕", ANSWER]


@pytest.mark.parametrize("stream", [False, True])
def test_scripted_body_is_sent_as_it_is(sandbox: Sandbox, gemini_client: genai.Client, stream: bool) -> None:
    candidate = {"content": {"parts": [{"text": "a b"}], "role": "model"}, "finishReason": "RECITATION"}
    sandbox.gemini.reply({"candidates": [candidate], "usageMetadata": {"totalTokenCount": 5}})
    models = gemini_client.models
    call = models.generate_content_stream if stream else models.generate_content
    answer: Any = call(model=MODEL, contents="x")
    chunks = list(answer) if stream else [answer]
    assert "".join(chunk.text for chunk in chunks) == "a b"
    assert chunks[-1].candidates[0].finish_reason == "RECITATION"
    assert chunks[-1].usage_metadata.total_token_count == 5


def test_tool_is_called_only_when_the_text_names_it(sandbox: Sandbox, gemini_client: genai.Client) -> None:
    assert generate(gemini_client, tools=[WEATHER]).text == ANSWER
    response = generate(gemini_client, "Use get_weather please", tools=[WEATHER])
    [part] = response.candidates[0].content.parts
    assert (part.function_call.name, part.function_call.args) == ("get_weather", {"city": "..."})
    assert part.thought_signature
    assert response.candidates[0].finish_reason == "STOP"


@pytest.mark.parametrize(("mode", "called"), [("ANY", True), ("NONE", False), ("AUTO", False)])
def test_tool_choice_decides(sandbox: Sandbox, gemini_client: genai.Client, mode: str, called: bool) -> None:
    config = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode=mode))
    response = generate(gemini_client, tools=[WEATHER], tool_config=config)
    assert bool(response.function_calls) is called


def test_tool_loop_repeats_results(sandbox: Sandbox, gemini_client: genai.Client) -> None:
    user = types.Content(role="user", parts=[types.Part.from_text(text="get_weather!")])
    config = types.GenerateContentConfig(tools=[WEATHER])
    chunks = list(gemini_client.models.generate_content_stream(model=MODEL, contents=[user], config=config))
    assert chunks[0].function_calls[0].args == {"city": "..."}
    result = types.Part.from_function_response(name="get_weather", response={"sky": "blue"})
    turns = [user, chunks[0].candidates[0].content, types.Content(role="user", parts=[result])]
    assert generate(gemini_client, turns, tools=[WEATHER]).text.endswith('The tools said: {"sky": "blue"}')


def test_schema_gives_an_instance_as_text(sandbox: Sandbox, gemini_client: genai.Client) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    mime = "application/json"
    assert generate(gemini_client, response_mime_type=mime, response_json_schema=schema).text == '{"age":1}'
    google = types.Schema(type="OBJECT", properties={"tags": types.Schema(type="ARRAY", items={"type": "STRING"})})
    assert generate(gemini_client, response_mime_type=mime, response_schema=google).text == '{"tags":["..."]}'


def test_thoughts_are_parts_and_counted(sandbox: Sandbox, gemini_client: genai.Client) -> None:
    thinking = types.ThinkingConfig(include_thoughts=True, thinking_budget=100)
    response = generate(gemini_client, thinking_config=thinking)
    thought, text = response.candidates[0].content.parts
    assert thought.thought
    assert text.text == ANSWER
    assert text.thought_signature
    usage = response.usage_metadata
    assert usage.thoughts_token_count == 100
    assert usage.total_token_count == 3 + 17 + 100
    hidden = generate(gemini_client, thinking_config=types.ThinkingConfig(thinking_budget=100))
    assert len(hidden.candidates[0].content.parts) == 1
    assert hidden.usage_metadata.thoughts_token_count == 100
    unthinking = generate(gemini_client, thinking_config=types.ThinkingConfig(thinking_budget=0))
    assert (unthinking.text, unthinking.usage_metadata.thoughts_token_count) == (ANSWER, None)


def test_thinking_can_eat_the_whole_budget(sandbox: Sandbox, gemini_client: genai.Client) -> None:
    thinking = types.ThinkingConfig(thinking_budget=100)
    response = generate(gemini_client, thinking_config=thinking, max_output_tokens=3)
    assert response.candidates[0].finish_reason == "MAX_TOKENS"
    assert response.candidates[0].content.parts is None
    assert response.usage_metadata.thoughts_token_count == 3


def test_finish_reasons(sandbox: Sandbox, gemini_client: genai.Client) -> None:
    cut = generate(gemini_client, max_output_tokens=3)
    assert (cut.text, cut.candidates[0].finish_reason) == ("This is the", "MAX_TOKENS")
    stopped = generate(gemini_client, stop_sequences=[" standing"])
    assert (stopped.text, stopped.candidates[0].finish_reason) == ("This is the Understudy sandbox", "STOP")


def test_attachments_are_named(sandbox: Sandbox, gemini_client: genai.Client) -> None:
    image = types.Part.from_bytes(data=b"hi", mime_type="image/png")
    assert generate(gemini_client, [image, "What is it?"]).text.endswith("You attached: image/png.")


def test_listings_and_counting_are_requests_too(sandbox: Sandbox, gemini_client: genai.Client) -> None:
    assert f"models/{MODEL}" in [model.name for model in gemini_client.models.list()]
    assert gemini_client.models.get(model=MODEL).name == f"models/{MODEL}"
    assert gemini_client.models.count_tokens(model=MODEL, contents="one two three").total_tokens == 4
    assert sandbox.gemini.request_count == 3


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({}, "contents is not specified"),
        ({"contents": []}, "contents is not specified"),
        ({"contents": [{"parts": []}]}, "contents[0].parts: contents.parts must not be empty"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "Please use a valid role: user, model."),
        ({"max_tokens": 5}, 'Unknown name "max_tokens": Cannot find field.'),
        ({"generationConfig": {"temperature": 3}}, "must be in the range [0.0, 2.0]"),
        ({"generationConfig": {"maxOutputTokens": 0}}, "must be positive"),
        (
            {"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {}}}]}]},
            "number of function response parts is equal to the number of function call parts",
        ),
    ],
)
def test_bad_requests_are_turned_away(
    sandbox: Sandbox, gemini_client: genai.Client, body: dict[str, Any], complaint: str
) -> None:
    sent = ({"contents": [{"parts": [{"text": "x"}]}]} if body else {}) | body
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(f"{sandbox.gemini.url}/v1beta/models/{MODEL}:generateContent?key=k", sent)
    with caught.value as reply:
        error = json.loads(reply.read())["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert complaint in error["message"]


def test_snake_case_is_as_good(sandbox: Sandbox) -> None:
    body = {"contents": [{"parts": [{"text": "x"}]}], "generation_config": {"max_output_tokens": 1}}
    reply = post(f"{sandbox.gemini.url}/v1beta/models/{MODEL}:generateContent?key=k", body)
    assert reply["candidates"][0]["content"]["parts"][0]["text"] == "This"


def test_unknown_model_missing_key_and_unknown_path(sandbox: Sandbox, gemini_client: genai.Client) -> None:
    with pytest.raises(errors.ClientError, match="models/no-such-model is not found for API version v1") as caught:
        gemini_client.models.generate_content(model="no-such-model", contents="x")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
    for path, status in ((f"/v1beta/models/{MODEL}:generateContent", 403), ("/v1/nonsense?key=k", 404)):
        with pytest.raises(urllib.error.HTTPError) as failed:
            post(sandbox.gemini.url + path, {})
        with failed.value as reply:
            assert reply.status == status
