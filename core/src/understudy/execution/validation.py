"""Validation of answers. A rejected answer is a failure of its target: the next target is asked.

A rejected answer is never an outage: its target is not asked again, and its breaker counts nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from understudy.classify import failure_of
from understudy.errors import EmptyResponse, Failure, MalformedResponse, ResponseRejected, Scope
from understudy.messages import File, Image, Request, ToolCall, in_whole_characters, place_of_half
from understudy.provider import structured_output, without_warning_of_default
from understudy.response import FinishReason, LLMResponse, ResponseWarning
from understudy.usage import Usage

if TYPE_CHECKING:
    from understudy.execution.extensions import Extensions
    from understudy.policy import Policy

Validator: TypeAlias = Callable[[LLMResponse], Any]
UNCHECKED = ResponseWarning(
    "output_schema",
    "the answer is JSON, but was not checked against output_schema: pip install 'understudy[schema]'",
)

UNWRAPPED = ResponseWarning("output_schema", "the answer is JSON with other text around it: `structured` is that JSON")

_FIELDS: tuple[tuple[str, Any, str, Callable[[], Any]], ...] = (  # name, kinds, in words, what stands for None
    ("content", str, "a string", str),
    ("parts", (tuple, list), "a tuple", tuple),
    ("warnings", (tuple, list), "a tuple", tuple),
)
_ANSWERS = (ToolCall, Image, File)  # parts that are an answer without any text
_COUNTS = tuple(field.name for field in fields(Usage))
_OWN = (Scope.TARGET, Scope.REQUEST, Scope.CANCELLED)  # what a caller's own check may raise


def check_validator(validator: Any) -> None:
    """Check that a validator is usable, before anything is sent.

    Raises:
        TypeError: it cannot be called, or what it returns when it is called is not a verdict: a coroutine, a generator.
    """
    if validator is None:
        return
    if not callable(validator):
        raise TypeError(f"expected validator as a function that takes the response, found {validator!r:.80}")
    for function in (validator, type(validator).__call__):
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"expected validator as a plain function, found an async one, {_name(validator)}: nobody awaits it; "
                "write it with def instead of async def, or check the answer after the call"
            )
        if inspect.isgeneratorfunction(function):
            raise TypeError(
                f"expected validator as a function that returns its verdict, found a generator, {_name(validator)}"
            )


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", type(function).__qualname__)


def check_answer(
    response: Any,
    request: Request,
    provider: str,
    policy: Policy,
    validator: Validator | None,
    extensions: Extensions | None,
) -> LLMResponse:
    """Check an answer, and fill in what only the factory knows.

    Raises:
        Failure: the response says that it is one.
        MalformedResponse: it is not an LLMResponse, its content is not a string, it does not follow the request's
            schema, or something about it kept it from being checked.
        EmptyResponse: it holds neither text nor tool calls.
        ResponseRejected: the policy, the caller's validator or an extension refused it.
    """
    if not isinstance(response, LLMResponse):
        raise MalformedResponse(f"expected the provider to return an LLMResponse, found {type(response).__name__}")
    if not response.success:
        raise failure_of(response)
    try:
        answer = without_warning_of_default(_mend(response), request)
        if answer.provider_name != provider:  # not filled in, or it goes by another name on this route
            answer = replace(answer, provider_name=provider)
        _check_ending(answer, policy)
        if request.max_tokens is not None and answer.usage is not None:
            answer = _measure(answer, request.max_tokens, answer.usage)
        if request.output_schema is not None and not answer.tool_calls:
            answer = _check_schema(answer, request)
        if validator is not None:
            _validate(answer, validator)
        if extensions is not None:
            _ask_extensions(answer, request, extensions)
        return answer
    except Failure:
        raise
    except Exception as error:
        raise MalformedResponse(
            f"expected an answer that can be checked, found one at which {_tell(error)}",
            model=response.model,
            request_id=response.request_id,
        ) from error


def _check_ending(response: LLMResponse, policy: Policy) -> None:
    cut = response.finish_reason == FinishReason.LENGTH
    nothing = not response.content.strip() and not any(isinstance(part, _ANSWERS) for part in response.parts)
    if nothing and response.finish_reason != FinishReason.PAUSED:  # a paused turn goes on from its parts
        words = "expected text, a picture, a file or a tool call, found nothing" + (
            ", cut by max_tokens" if cut else ""
        )
        raise EmptyResponse(words, request_id=response.request_id)
    if cut and policy.switch_on_length:
        words = "expected a whole answer, found one cut at max_tokens"
        raise ResponseRejected(words, model=response.model, request_id=response.request_id)


def _mend(response: LLMResponse) -> LLMResponse:
    """Fill in what is None against its type, make texts whole, and leave out a usage that cannot be counted with."""
    plain = type(response.content) is str and type(response.parts) is tuple and type(response.warnings) is tuple
    for name, kind, words, nothing in () if plain else _FIELDS:
        value = getattr(response, name)
        if value is None:  # not as it is typed, but what an SDK gives whose reply has none
            response = replace(response, **{name: nothing()})
        elif not isinstance(value, kind):
            raise MalformedResponse(f"expected {name} as {words}, found {type(value).__name__}")
    response = _in_whole_characters(response, "content", "parts")
    fault = None if response.usage is None else usage_fault(response.usage)
    if fault is not None:
        words = f"expected usage as a Usage, found {fault}: it is left out"
        response = replace(response, usage=None, warnings=(*response.warnings, ResponseWarning("usage", words)))
    return response


def _in_whole_characters(response: LLMResponse, *names: str) -> LLMResponse:
    for name in names:
        if (value := getattr(response, name)) and place_of_half(value):
            mended: dict[str, Any] = {name: in_whole_characters(value)}
            response = replace(response, **mended)
    return response


def _measure(response: LLMResponse, most: int, usage: Usage) -> LLMResponse:
    """Warn of an answer that is longer than asked for: its limit had room for thinking that was not needed."""
    if usage.output_tokens <= most or (not usage.thinking_tokens and response.thinking):
        return response  # thinking is not counted separately
    written = usage.output_tokens - usage.thinking_tokens
    if written <= most:
        return response
    words = f"the answer has {written} tokens, more than the {most} that were asked for: thinking left its room unused"
    return replace(response, warnings=(*response.warnings, ResponseWarning("max_tokens", words)))


def usage_fault(usage: Any) -> str | None:
    """Return what keeps a usage from being counted with; None where nothing does."""
    if not isinstance(usage, Usage):
        return type(usage).__name__
    for name in _COUNTS:
        count = getattr(usage, name)
        if not isinstance(count, int) or count < 0:
            return f"{name} {count!r:.40}"
    return None


def _check_schema(response: LLMResponse, request: Request) -> LLMResponse:
    from understudy.extras import json_schema

    assert request.output_schema is not None
    if response.finish_reason == FinishReason.PAUSED:
        return response
    if response.structured is None:  # its provider left the parsing to us, or the answer is null
        parsed = structured_output(request, response.content, response.finish_reason or FinishReason.UNKNOWN)
        response = response if parsed is None else replace(response, structured=parsed)
    response = _in_whole_characters(response, "structured")
    with suppress(ValueError):
        if json_schema.read_answer(response.content)[1]:
            response = replace(response, warnings=(*response.warnings, UNWRAPPED))
    if not json_schema.is_installed():
        return replace(response, warnings=(*response.warnings, UNCHECKED))
    fault = json_schema.schema_fault(request.output_schema, response.structured)
    if fault is not None:
        raise MalformedResponse(
            f"expected an answer that follows output_schema, found {fault}",
            model=response.model,
            request_id=response.request_id,
        )
    return response


def _validate(response: LLMResponse, validator: Validator) -> None:
    try:
        verdict = validator(response)
        if verdict is None or verdict is True:
            return
        words = verdict if isinstance(verdict, str) and verdict else f"the validator returned {verdict!r:.200}"
        if inspect.isawaitable(verdict):
            _drop(verdict)
            words = "the validator returned something to be awaited, and nobody awaits it: make it a plain function"
    except Exception as error:
        _refuse(f"the validator raised {_tell(error)}", error)
    raise ResponseRejected(words, model=response.model, request_id=response.request_id)


def _drop(awaitable: Any) -> None:
    """Close what is never awaited, so that Python does not warn about it later."""
    for name in ("close", "cancel"):  # of a coroutine; of a task or future
        end = getattr(awaitable, name, None)
        if end is not None:
            end()
            return


def _refuse(words: str, error: Exception) -> NoReturn:
    """Raise what becomes of an exception that a check of the caller's own raised.

    A failure that speaks of a quota or an outage is another vendor's, of a model that judges, say. It says nothing of
    the target that answered.
    """
    if isinstance(error, Failure) and error.scope in _OWN:
        raise error
    raise ResponseRejected(words) from error


def _ask_extensions(response: LLMResponse, request: Request, extensions: Extensions) -> None:
    try:
        extensions.check_response(request, response)
    except Exception as error:
        _refuse(f"an extension failed on the response: {error!r}", error)


def _tell(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # its __str__ raises
        return type(error).__name__
