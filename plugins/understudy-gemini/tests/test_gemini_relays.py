"""What relays and Google's servers send besides, over a socket: several candidates, unsaid endings, odd base64."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from understudy import Failure, File, Image, Message, Request, Text, Thinking, ToolCall, ToolResult
from understudy.errors import MalformedResponse, RateLimited, StreamInterrupted, UnsupportedRequest
from understudy_gemini import GeminiProvider
from understudy_toolkit.conformance import FaultServer, Reply

if TYPE_CHECKING:
    from conftest import Ask

HELLO = Message.user("Hello")
REQUEST = Request(messages=(HELLO,))
USAGE = {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}}
DATA = b"\xfb\xff\xfe\xfb\xff\xfe"
STANDARD, FOR_URLS = base64.b64encode(DATA).decode(), base64.urlsafe_b64encode(DATA).decode()


def _candidate(*parts: Any, reason: str | None = None, index: int | None = 0) -> dict[str, Any]:
    told = {"content": {"role": "model", "parts": list(parts)}}
    return told | ({} if reason is None else {"finishReason": reason}) | ({} if index is None else {"index": index})


def _chunk(*candidates: Any, **more: Any) -> dict[str, Any]:
    return {"candidates": list(candidates), **more}


def _stream(connect: Callable[..., GeminiProvider], ask: Ask, *chunks: Any) -> Any:
    with FaultServer(lambda request: Reply.events(*chunks)) as server:
        return ask(connect(server.url), REQUEST)


def _plain(connect: Callable[..., GeminiProvider], ask: Ask, body: Any, status: int = 200) -> Any:
    with FaultServer(lambda request: Reply(body, status)) as server:
        return ask(connect(server.url), REQUEST)


def test_of_several_candidates_one_is_the_answer(
    connect: Callable[..., GeminiProvider], ask_stream: Ask, ask_whole: Ask
) -> None:
    """Each chunk is of one of them, told by its index: NVIDIA/NeMo-Relay#723, read 2026-12-01."""
    chunks = (
        _chunk(_candidate({"text": "Hel"})),
        _chunk(_candidate({"text": "Bye"}, index=1)),
        _chunk(_candidate({"text": "lo"}, reason="STOP"), _candidate({"text": "!"}, index=1), **USAGE),
        _chunk(_candidate({"text": "?"}, reason="MAX_TOKENS", index=1)),
    )
    response = _stream(connect, ask_stream, *chunks)
    assert (response.content, response.finish_reason) == ("Hello", "stop")
    swapped = (_candidate({"text": "Bye"}, index=1, reason="STOP"), _candidate({"text": "Hello"}, reason="STOP"))
    assert _plain(connect, ask_whole, _chunk(*swapped)).content == "Hello"
    unnumbered = _candidate({"text": "Hello"}, reason="STOP", index=None)
    assert _plain(connect, ask_whole, _chunk(unnumbered)).content == "Hello"


def test_an_ending_that_says_nothing_is_none(connect: Callable[..., GeminiProvider], ask_stream: Ask) -> None:
    unsaid = _chunk(_candidate({"text": "Hel"}, reason="FINISH_REASON_UNSPECIFIED"))
    whole = _stream(connect, ask_stream, unsaid, _chunk(_candidate({"text": "lo"}, reason="STOP")))
    assert (whole.content, whole.finish_reason) == ("Hello", "stop")
    with pytest.raises(StreamInterrupted):
        _stream(connect, ask_stream, unsaid)


# With pydantic's alphabet, without padding, with what a data URL has: pixeltable/pixeltable#1312,
# pydantic/pydantic-ai-harness#511, Helicone/helicone#4223; read 2026-12-01.
@pytest.mark.parametrize(
    ("blob", "part"),
    [
        ({"mimeType": "image/png", "data": STANDARD}, Image(data=DATA, media_type="image/png")),
        ({"mimeType": "image/png", "data": FOR_URLS}, Image(data=DATA, media_type="image/png")),
        ({"mimeType": "audio/wav", "data": "aGk"}, File(data=b"hi", media_type="audio/wav")),
        ({"mimeType": "image/png", "data": "data:image/png;base64, aGk="}, Image(data=b"hi", media_type="image/png")),
        ({"data": base64.b64encode(b"\x89PNG").decode()}, Image(data=b"\x89PNG", media_type="image/png")),
        ({"mimeType": "image/png", "data": "?"}, None),
        ({"mimeType": "image/png"}, None),
        ("aGk=", None),
    ],
)
def test_pictures_are_whole_in_whatever_base64_they_come(
    connect: Callable[..., GeminiProvider], ask: Ask, blob: Any, part: Image | File | None
) -> None:
    chunk = _chunk(_candidate({"inlineData": blob}, reason="STOP"))
    with FaultServer(lambda request: Reply.events(chunk) if "stream" in request.path else Reply(chunk)) as server:
        provider = connect(server.url)
        if part is None:
            with pytest.raises(MalformedResponse):
                ask(provider, REQUEST)
        else:
            assert ask(provider, REQUEST).parts == (part,)


@pytest.mark.parametrize(
    ("status", "told", "message", "kind", "seconds"),
    [
        (429, "RESOURCE_EXHAUSTED", "Too many requests. Please try again in 20s", RateLimited, 20.0),
        (429, "RESOURCE_EXHAUSTED", "Please retry in 29.5s.", RateLimited, 29.5),
        (
            400,
            "INVALID_ARGUMENT",
            "a mimeType parameter with value image/bmp, which is not ...",
            UnsupportedRequest,
            None,
        ),
    ],
)
def test_what_the_words_of_a_refusal_say(
    connect: Callable[..., GeminiProvider],
    ask_whole: Ask,
    status: int,
    told: str,
    message: str,
    kind: type[Failure],
    seconds: float | None,
) -> None:
    with pytest.raises(Failure) as caught:
        _plain(connect, ask_whole, [{"error": {"code": status, "message": message, "status": told}}], status)
    assert (type(caught.value), caught.value.retry_after) == (kind, seconds)


def test_empty_texts_and_odd_names_are_not_sent(connect: Callable[..., GeminiProvider], ask_whole: Ask) -> None:
    """ "Unable to submit request because it has an empty text parameter", "Invalid function name": see wire.py."""
    signed = Text("", {"gemini": {"thoughtSignature": "c2ln"}})
    turns = (
        Message.user("", "Hello"),
        Message.assistant(Thinking("theirs", {"claude": {"signature": "x"}}), ""),
        Message.assistant(signed),
        Message.user("And?"),
        Message.assistant(ToolCall(id="a", name="assistant<|channel|>look:0.1")),
        Message.tool(ToolResult(call_id="a", content="mild")),
    )
    whole = Reply(_chunk(_candidate({"text": "Hi"}, reason="STOP")))
    with FaultServer(lambda request: whole) as server:
        ask_whole(connect(server.url), Request(messages=turns))
    first, second, third, call, result = server.requests[-1].json["contents"]
    assert first["parts"] == [{"text": "Hello"}]
    assert second["parts"] == [{"text": "", "thoughtSignature": "c2ln"}]
    assert third["parts"] == [{"text": "And?"}]
    names = call["parts"][0]["functionCall"]["name"], result["parts"][0]["functionResponse"]["name"]
    assert names == ("assistant__channel__look:0.1",) * 2
