"""The one table: what Ollama's API and its SDK report, and which of our failures it is.

The most exact thing decides: the error's type, where the model's own runner gave one, then the HTTP status. For most
errors the API has nothing but a status and a sentence, so where one status stands for several failures, the sentence
decides; those few wordings stand in a table of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from understudy import Failure
from understudy.classify import classify_exception, classify_status, parse_retry_after
from understudy.errors import (
    ConnectionFailed,
    ContextTooLong,
    MalformedResponse,
    ModelNotFound,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    ServerError,
    UnsupportedRequest,
)
from understudy_ollama.models import LEAST_CONTEXT
from understudy_toolkit.bodies import describe, document_of, text_of
from understudy_toolkit.clients import is_this_machine
from understudy_toolkit.lanes import REFUSED

PROVIDER = "ollama"

# error.type, of llama.cpp's server, which Ollama runs most models with and whose errors it hands on.
_OF_TYPE: Mapping[str, type[Failure]] = {
    "exceed_context_size_error": ContextTooLong,
    "not_supported_error": UnsupportedRequest,
    "unavailable_error": Overloaded,
}

# A model that ollama.com has retired is gone.
_OF_STATUS: Mapping[int, type[Failure]] = {410: ModelNotFound}

# What the API says under a status that stands for several failures (ollama/ollama, server/routes.go, server/sched.go,
# llm/llama_server.go, read 2026-11-23; what ollama.com says, from issues there): the failure by the status, the words,
# the failure that they mean. Inside a stream there is no status, and the words stand alone.
_OF_WORDS: tuple[tuple[type[Failure], str, type[Failure]], ...] = (
    (RequestRefused, "exceeds the context length", ContextTooLong),
    (RequestRefused, "exceeds the available context", ContextTooLong),
    (RequestRefused, "exceeded max context length", ContextTooLong),
    (RequestRefused, "longer than the context length", ContextTooLong),
    (RequestRefused, "does not support", UnsupportedRequest),  # tools, thinking, chat, images: this model, not others
    (RequestRefused, "only supports one image", UnsupportedRequest),
    (RequestRefused, "invalid model name", ModelNotFound),
    (RequestRefused, "no compatible manifest", ModelNotFound),
    (RequestRefused, "cannot run this remote model", ModelNotFound),
    (RateLimited, "usage limit", QuotaExhausted),  # of a session, an hour or a week on ollama.com
    (RateLimited, "too many concurrent requests", RateLimited),
    (RateLimited, "too many requests", RateLimited),
    (Overloaded, "server busy", Overloaded),
)

# Where another num_ctx does not help: a server in between that takes no such body, and models of ollama.com, which have
# their largest window already.
_BODY_TOO_LARGE = 413
_FIXED_WINDOW = "exceeded max context length"

# Failures of the server that no second request heals.
_LASTING = ("requires more system memory",)


def failure_of_reply(status: int, headers: Mapping[str, str], body: Any, *, model: str | None = None) -> Failure:
    """Return the failure that a reply means.

    Args:
        status: the HTTP status; 200 for an error inside a stream.
        headers: the reply's headers, their names in any case.
        body: the reply's body, as text, bytes or parsed JSON.
        model: the model that was asked.
    """
    error = error_of(document_of(body))
    type_ = text_of(error.get("type")) if error is not None else None
    message = (text_of(error.get("message")) if error is not None else None) or _description(status, headers, body)
    lower = {name.lower(): value for name, value in headers.items()}
    kind = _kind(status, error is not None, type_, message)
    if kind is ModelNotFound and model:
        message += f"; `ollama pull {model}` brings it" if "pull" not in message else f": ollama pull {model}"
    if kind is ContextTooLong and status != _BODY_TOO_LARGE and _FIXED_WINDOW not in message:
        cure = "set options={'ollama': {'num_ctx': 16384}} or more"
        message += f"; {cure}: the window has {LEAST_CONTEXT} tokens on most machines"
    return kind(
        message,
        provider=PROVIDER,
        model=model,
        status=status,
        code=type_,
        request_id=lower.get("x-request-id"),
        retry_after=parse_retry_after(lower),
        retryable=False if any(words in message for words in _LASTING) else None,
    )


def failure_of_exception(exception: BaseException, *, url: str = "") -> Failure:
    """Return the failure that an exception of the SDK, or of the HTTP library below it, means.

    Args:
        exception: what was raised.
        url: where the server is to be, without credentials.
    """
    failure = classify_exception(exception)
    if type(failure) is ConnectionFailed and (failure.code == REFUSED or _was_refused(exception)):
        # Nobody listens there. On this machine that does not heal within seconds, so nobody waits for it.
        failure = ConnectionFailed(
            f"connection refused at {url}: start the server there (`ollama serve`), or correct the address",
            retryable=False if is_this_machine(url) else None,
        )
        failure.__cause__ = None if isinstance(exception, Failure) else exception
    failure.provider = failure.provider or PROVIDER
    return failure


def error_of(document: Any) -> Mapping[str, Any] | None:
    """Return the error in a reply's JSON as a mapping with a message; None where there is none.

    It is a sentence, or the error of the model's runner: an object, or the text of one.
    """
    error = document.get("error") if isinstance(document, Mapping) else None
    if isinstance(error, str) and error.startswith("{"):
        inner = document_of(error)
        error = (error_of(inner) or inner) if isinstance(inner, Mapping) else error
    if isinstance(error, str) and error:
        return {"message": error}
    return error if isinstance(error, Mapping) else None


def _kind(status: int, told: bool, type_: str | None, message: str) -> type[Failure]:
    in_stream = status == 200 and told
    kind = _OF_TYPE.get(type_ or "") or _OF_STATUS.get(status)
    kind = kind or (ServerError if in_stream else classify_status(status))
    if kind in (RequestRefused, ModelNotFound) and not told:
        return MalformedResponse  # not from Ollama's API: its errors are JSON
    words = message.lower()
    fitting = (meant for given, said, meant in _OF_WORDS if (in_stream or given is kind) and said in words)
    return next(fitting, kind)


def _was_refused(exception: BaseException) -> bool:
    return any(isinstance(link, ConnectionRefusedError) for link in _links(exception, 10))


def _links(exception: BaseException | None, depth: int) -> Iterator[BaseException]:
    """Yield an exception and all that it came from; several addresses of one host fail in a group."""
    if exception is None or depth == 0:
        return
    yield exception
    if isinstance(exception, BaseExceptionGroup):
        for inner in exception.exceptions:
            yield from _links(inner, depth - 1)
    yield from _links(exception.__cause__ or exception.__context__, depth - 1)


def _description(status: int, headers: Mapping[str, str], body: Any) -> str:
    cure = "; the address is to be what stands before /api" if status in (404, 405) else ""
    return describe(status, headers, body) + cure
