"""Only translation: Chat Completions' replies into answers. Requests are in wire.py.

No SDK is imported and nothing is sent or read here.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from understudy import (
    Failure,
    File,
    FinishReason,
    Image,
    LLMResponse,
    Part,
    Request,
    ResponseWarning,
    Text,
    Thinking,
    ToolCall,
)
from understudy.errors import ContentBlocked, MalformedResponse, Overloaded, RequestRefused, ServerError, Timeout
from understudy_openai import think_tags
from understudy_openai.models import Endpoint
from understudy_openai.shared import (
    OPAQUE_FIELDS,
    THINKING_FIELDS,
    Json,
    Warnings,
    answer,
    options_of,
    read_arguments,
    reading,
)
from understudy_openai.tool_pieces import CALL_FIELDS
from understudy_openai.usage import count_tokens, usage_in
from understudy_toolkit.tool_calls import CallNames

# In lower case. Sources read 2026-11-30: openai 3.57.0, types/chat/chat_completion.py; vercel/ai, packages of Mistral,
# xAI, Groq and DeepSeek; z.AI, https://docs.z.ai/api-reference/llm/chat-completion; OpenRouter's native reasons.
_FINISH_REASONS: Mapping[str, FinishReason] = {
    "stop": FinishReason.STOP,
    "end_turn": FinishReason.STOP,  # xAI
    "eos": FinishReason.STOP,  # Together
    "eos_token": FinishReason.STOP,  # TGI
    "stop_sequence": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "max_output_tokens": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,  # Mistral
    "model_context_window_exceeded": FinishReason.LENGTH,  # z.AI, Anthropic
    "context_length_exceeded": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "tool_use": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.BLOCKED,
}
_NO_REASONS = ("", "null", "none")  # KoboldCpp writes null as a text: PowerShell/AIShell#350, read 2026-12-01
# A reply that ends so is none, by a word in the reason; the first that is found counts.
_FAULTS: tuple[tuple[str, type[Failure]], ...] = (
    ("malformed", MalformedResponse),  # Google's: "function_call_filter: MALFORMED_FUNCTION_CALL"
    ("unexpected_tool_call", MalformedResponse),
    ("insufficient_system_resource", Overloaded),  # DeepSeek
    ("overload", Overloaded),
    ("recitation", RequestRefused),  # Google holds its own answer back; another model may answer
    ("sensitive", ContentBlocked),  # z.AI
    ("filter", ContentBlocked),
    ("safety", ContentBlocked),
    ("refusal", ContentBlocked),
    ("prohibited", ContentBlocked),
    ("blocklist", ContentBlocked),
    ("spii", ContentBlocked),
    ("timeout", Timeout),
    ("error", ServerError),  # OpenRouter, Mistral; network_error: z.AI
    ("abort", ServerError),  # vLLM, SGLang
    ("cancel", ServerError),
    ("fail", ServerError),
    ("exception", ServerError),
)
_UNSAID = ResponseWarning(
    "finish_reason", "the server did not say why the model stopped: the answer was taken as it came"
)
# Fields of a reply that are told elsewhere, or say nothing to anybody.
_TOLD = ("choices", "created", "error", "model", "obfuscation", "object", "usage")


def response_of(
    body: Any,
    headers: Mapping[str, str],
    request: Request,
    endpoint: Endpoint,
    warnings: Sequence[ResponseWarning] = (),
    *,
    given: bool = False,
) -> LLMResponse:
    """Return the answer that a reply with status 200 holds.

    Args:
        body: the reply's JSON, parsed.
        headers: the reply's headers, their names in any case.
        request: what was asked, and of which model.
        endpoint: who was asked.
        warnings: what the request was sent without.
        given: whether the caller of a stream already has some of it.

    Raises:
        ContentBlocked: the model refused, or a filter stopped it.
        EmptyResponse: neither text nor a tool call came.
        AnswerCutShort: reasoning used up the limit before the text was complete.
        MalformedResponse: it is not a completion as the API promises.
        Failure: the reply says that it failed, and why.
    """
    with reading(body, "choices", headers, endpoint):
        choice, *others = body["choices"]
        message, reason = _message(choice), reason_of(choice)
        if options_of(request, endpoint).get("n") in (None, 1):
            message = _with_the_rest(message, others)
        finish_reason = _finish_reason(reason)
        if message.get("refusal"):
            raise ContentBlocked(f"the model refused: {message['refusal']}", code="refusal")
        if finish_reason is FinishReason.BLOCKED:
            raise ContentBlocked("a content filter stopped the answer", code="content_filter")
        parts, cut = _parts(message, request, finish_reason, endpoint)
        unsaid = () if isinstance(reason, str) else (_UNSAID,)
        told = {name: value for name, value in body.items() if name not in _TOLD}
        told |= {"finish_reason": reason, "logprobs": choice.get("logprobs"), "choices": others or None}
        return answer(
            body,
            parts,
            finish_reason,
            request,
            endpoint,
            headers=headers,
            metadata=told,
            usage=count_tokens(usage_in(body), "prompt", "completion"),
            warnings=(*warnings, *cut, *unsaid),
            given=given,
        )


def _message(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a choice's message; some servers give it the name that it has in streams, or send the text alone."""
    found = choice.get("message") or choice.get("delta")
    if found is None and isinstance(choice.get("text"), str):
        return {"content": choice["text"]}
    if not isinstance(found, Mapping):
        raise TypeError("a choice without a message")
    return found


def _with_the_rest(message: Mapping[str, Any], others: Sequence[Any]) -> Mapping[str, Any]:
    """Return a message with what other choices hold of it, although one was asked for.

    GitHub Copilot tells an answer of Claude's so, its text in one and its tool calls in the next:
    zeroclaw-labs/zeroclaw#2136 and HKUDS/nanobot#1555, read 2026-12-01.
    """
    rest = [
        told for other in others if isinstance(other, Mapping) and isinstance(told := other.get("message"), Mapping)
    ]
    lacks = [field for field in ("content", "tool_calls") if not message.get(field)]
    found = {field: next((other[field] for other in rest if other.get(field)), None) for field in lacks}
    return {**message, **{field: value for field, value in found.items() if value}}


def reason_of(choice: Mapping[str, Any]) -> Any:
    """Return why the model stopped, as the server says it; None where it does not say."""
    reason = choice.get("finish_reason")
    return None if not reason or (isinstance(reason, str) and reason.lower() in _NO_REASONS) else reason


def _finish_reason(reason: Any) -> FinishReason:
    """Return why the model stopped.

    Raises:
        Failure: it stopped because something failed.
    """
    words = reason.lower() if isinstance(reason, str) else ""
    if words in _FINISH_REASONS:
        return _FINISH_REASONS[words]
    for word, kind in _FAULTS:
        if word in words:
            raise kind(f"the model stopped by {reason}", status=200, code=reason)
    return FinishReason.UNKNOWN


def _parts(
    message: Mapping[str, Any], request: Request, finish_reason: FinishReason, endpoint: Endpoint
) -> tuple[list[Part], Warnings]:
    parts: list[Part] = []
    calls = calls_in(message)
    thought, own = _thought(message, bool(calls))
    if thought or own:
        parts.append(Thinking(thought, {endpoint.name: own}))
    told = tuple(pieces_of(message.get("content")))
    if inner := "".join(text for is_thinking, text in told if is_thinking):
        parts.append(Thinking(inner, _tagged(message.get("think_tags"), endpoint)))
    text = "".join(text for is_thinking, text in told if not is_thinking)
    inner, text, tags = think_tags.split(text, off=endpoint.is_openai or isinstance(message.get("content"), list))
    if inner:
        parts.append(Thinking(inner, _tagged(tags, endpoint)))
    if text:
        annotations = message.get("annotations")
        parts.append(Text(text, {endpoint.name: {"annotations": annotations}} if annotations else {}))
    parts += _pictures(message)
    parts += _sounds(message, request, endpoint, spoken=not text)
    names, cut = CallNames(request), []
    for call in calls:
        if "function" not in call:
            continue  # a custom tool of the options'
        name = call["function"]["name"]
        if not isinstance(name, str) or not name:
            raise TypeError("a tool call without a name")
        arguments = read_arguments(name, call["function"].get("arguments"), finish_reason)
        if isinstance(arguments, ResponseWarning):
            cut.append(arguments)
            continue
        kept = {field: value for field, value in call.items() if field not in CALL_FIELDS and value is not None}
        data = {endpoint.name: kept} if kept else {}
        parts.append(ToolCall(id=names(call.get("id"), name), name=name, arguments=arguments, provider_data=data))
    return parts, tuple(cut)


def _thought(message: Mapping[str, Any], calls: bool) -> tuple[str, Json]:
    """Return a message's reasoning, and what of it is sent back to the server.

    An empty one is kept beside tool calls: DeepSeek wants it back there, too.
    """
    texts = ((name, message[name]) for name in THINKING_FIELDS if isinstance(message.get(name), str))
    name, thought = next((pair for pair in texts if pair[1] or calls), ("", ""))  # some send it under both names
    own = {field: message[field] for field in OPAQUE_FIELDS if message.get(field)}
    if name:
        own = {name: thought, **own}
    thought = thought or details_text(message)
    return thought, own


def details_text(message: Mapping[str, Any]) -> str:
    """Return the text of reasoning that is told in pieces alone: `reasoning_details` of MiniMax and OpenRouter."""
    details = message.get("reasoning_details")
    pieces = (piece for piece in details if isinstance(piece, Mapping)) if isinstance(details, list) else ()
    return "".join(text for piece in pieces if isinstance(text := piece.get("text") or piece.get("summary"), str))


def _tagged(tags: Any, endpoint: Endpoint) -> dict[str, Json]:
    """Return what tells of a thought that it stood in the text, in tags: MiniMax and others want it back there."""
    return {endpoint.name: {"tags": list(tags)}} if tags else {}


def calls_in(message: Mapping[str, Any]) -> list[Any]:
    """Return a message's tool calls, or the one in the form that came before them.

    What some servers' models write without the object around it, or with "parameters", gets their usual form.
    """
    calls = message.get("tool_calls") or ()
    if isinstance(calls, Mapping):
        calls = [calls]
    if not calls and isinstance(message.get("function_call"), Mapping):
        calls = [{"function": message["function_call"]}]
    return [_usual(call) if isinstance(call, Mapping) else call for call in calls]


def _usual(call: Mapping[str, Any]) -> Mapping[str, Any]:
    function = call.get("function")
    if function is None and call.get("type") in (None, "function") and any(name in call for name in _OF_A_FUNCTION):
        function = {name: call[name] for name in _OF_A_FUNCTION if name in call}
    if not isinstance(function, Mapping) or ("function" in call and "parameters" not in function):
        return call
    arguments = function.get("arguments", function.get("parameters"))
    outer = {name: value for name, value in call.items() if name not in _OF_A_FUNCTION}
    return {**outer, "function": {"name": function.get("name"), "arguments": arguments}}


_OF_A_FUNCTION = ("name", "arguments", "parameters")


def pieces_of(content: Any) -> Iterator[tuple[bool, str]]:
    """Yield what a content says, each piece with whether it is thinking: Mistral sends lists where it thinks."""
    if isinstance(content, str):
        yield False, content
        return
    for piece in [content] if isinstance(content, Mapping) else content or ():
        if isinstance(piece, str):
            yield False, piece
        elif piece.get("type") in ("thinking", "reasoning"):
            told = piece.get("thinking") or piece.get("text") or piece.get("summary")  # the last: Databricks
            yield from ((True, text) for _, text in pieces_of(told))
        elif isinstance(piece.get("text"), str):
            yield False, piece["text"]


def images_in(message: Mapping[str, Any]) -> list[Any]:
    """Return the pictures of a message, as they came: OpenRouter's `images`, and those among its content."""
    content = message.get("content")
    pieces = content if isinstance(content, list) else ()
    beside = message.get("images") or ()
    return [*beside, *(piece for piece in pieces if isinstance(piece, Mapping) and piece.get("image_url"))]


def _pictures(message: Mapping[str, Any]) -> Iterator[Image]:
    for piece in images_in(message):
        place = piece.get("image_url") or piece.get("url")
        url = place["url"] if isinstance(place, Mapping) else place
        kind, marked, data = url.partition(";base64,")
        if marked and kind.startswith("data:"):
            yield Image(data=base64.b64decode(data), media_type=kind.removeprefix("data:") or "image/png")
        else:
            yield Image(url=url)


def _sounds(message: Mapping[str, Any], request: Request, endpoint: Endpoint, *, spoken: bool) -> Iterator[Part]:
    """Yield what a model says aloud, where the options asked for it: the sound, and its words where no others came."""
    audio = message.get("audio")
    if not isinstance(audio, Mapping) or not isinstance(audio.get("data"), str):
        return
    asked = options_of(request, endpoint).get("audio")
    form = str(asked.get("format") or "wav") if isinstance(asked, Mapping) else "wav"
    if spoken and isinstance(audio.get("transcript"), str) and audio["transcript"]:
        yield Text(audio["transcript"])
    yield File(
        data=base64.b64decode(audio["data"]), media_type=f"audio/{form or 'wav'}", name=f"answer.{form or 'wav'}"
    )
