"""Whether an answer will do. One that will not is a failure of its target: the next one is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from understudy.errors import EmptyResponse, Failure, MalformedResponse, ResponseRejected
from understudy.messages import Request
from understudy.provider import structured_output
from understudy.response import FinishReason, LLMResponse, ResponseWarning, Usage

if TYPE_CHECKING:
    from understudy.extensions import Extensions
    from understudy.policy import Policy

Validator: TypeAlias = Callable[[LLMResponse], Any]
UNCHECKED = ResponseWarning(
    "output_schema",
    "the answer is JSON, but was not checked against output_schema: pip install 'understudy[schema]'",
)


def check_answer(
    response: Any,
    request: Request,
    provider: str,
    policy: Policy,
    validator: Validator | None,
    extensions: Extensions | None,
) -> LLMResponse:
    """Check an answer, and fill in what is the factory's to know.

    Raises:
        Failure: the response says that it is one.
        MalformedResponse: it is no LLMResponse, its content is no text, or it does not follow the request's schema.
        EmptyResponse: it holds neither text nor tool calls.
        ResponseRejected: the policy, the caller's validator or an extension refused it.
    """
    if not isinstance(response, LLMResponse):
        raise MalformedResponse(f"expected the provider to return an LLMResponse, found {type(response).__name__}")
    return _check(response, request, provider, policy, validator, extensions)


def _check(
    response: LLMResponse,
    request: Request,
    provider: str,
    policy: Policy,
    validator: Validator | None,
    extensions: Extensions | None,
) -> LLMResponse:
    if not response.success:
        response.raise_for_failure()
    if response.content is None:  # not as it is typed, but what an SDK gives whose reply has no text
        response = replace(response, content="")
    if not isinstance(response.content, str):
        raise MalformedResponse(f"expected content as a text, found {type(response.content).__name__}")
    if response.provider_name != provider:  # not filled in, or it goes by another name on this route
        response = replace(response, provider_name=provider)
    if response.usage is not None and not isinstance(response.usage, Usage):
        words = f"expected usage as a Usage, found {type(response.usage).__name__}: it is left out"
        response = replace(response, usage=None, warnings=(*response.warnings, ResponseWarning("usage", words)))
    cut = response.finish_reason == FinishReason.LENGTH
    nothing = not response.content.strip() and not response.tool_calls
    if nothing and response.finish_reason != FinishReason.PAUSED:  # a paused turn goes on from its parts
        words = "expected text or a tool call, found nothing" + (", cut by max_tokens" if cut else "")
        raise EmptyResponse(words, request_id=response.request_id)
    if cut and policy.switch_on_length:
        words = "expected a whole answer, found one cut at max_tokens"
        raise ResponseRejected(words, model=response.model, request_id=response.request_id)
    if request.output_schema is not None and not response.tool_calls:
        response = _check_schema(response, request)
    if validator is not None:
        _validate(response, validator)
    if extensions is not None:
        _ask_extensions(response, request, extensions)
    return response


def _check_schema(response: LLMResponse, request: Request) -> LLMResponse:
    from understudy import schema

    if request.output_schema is None or response.finish_reason == FinishReason.PAUSED:
        return response
    if response.structured is None:  # its provider left the parsing to us, or the answer is null
        parsed = structured_output(request, response.content, response.finish_reason or FinishReason.UNKNOWN)
        response = response if parsed is None else replace(response, structured=parsed)
    if not schema.is_installed():
        return replace(response, warnings=(*response.warnings, UNCHECKED))
    fault = schema.schema_fault(request.output_schema, response.structured)
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
    except Failure:
        raise
    except Exception as error:
        raise ResponseRejected(f"the validator raised {type(error).__name__}: {error}") from error
    if verdict is None or verdict is True:
        return
    words = verdict if isinstance(verdict, str) and verdict else f"the validator returned {verdict!r}"
    raise ResponseRejected(words, model=response.model, request_id=response.request_id)


def _ask_extensions(response: LLMResponse, request: Request, extensions: Extensions) -> None:
    try:
        extensions.check_response(request, response)
    except Failure:
        raise
    except Exception as error:
        raise ResponseRejected(f"an extension failed on the response: {error!r}") from error
