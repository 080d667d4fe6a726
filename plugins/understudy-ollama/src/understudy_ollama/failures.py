"""The one table: what Ollama's API and its SDK report, and which of our failures it is.

The most specific thing decides: the error's type, where the model's own runner gave one, then the HTTP status. For most
errors the API has nothing but a status and a sentence, so if one status stands for several failures, the sentence
decides; those few wordings are in a table of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from understudy import Failure
from understudy.classify import classify_exception, classify_status
from understudy.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    ContentBlocked,
    ContextTooLong,
    MalformedResponse,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    ServerError,
    Timeout,
    UnsupportedRequest,
)
from understudy_ollama.models import LEAST_CONTEXT
from understudy_ollama.refusals import is_of_format, remedy
from understudy_toolkit.bodies import describe, document_of, text_of
from understudy_toolkit.clients import is_this_machine
from understudy_toolkit.lanes import REFUSED
from understudy_toolkit.waits import told_wait

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
    (RequestRefused, "exceeds maximum context length", ContextTooLong),
    (RequestRefused, "prompt is too long", ContextTooLong),
    (ServerError, "exceeds the available context", ContextTooLong),  # of versions that hand on the runner's words
    (ServerError, "exceeds the context length", ContextTooLong),
    (ServerError, "input length exceeds", ContextTooLong),
    (ServerError, "context size has been exceeded", ContextTooLong),
    (RequestRefused, "does not support", UnsupportedRequest),  # tools, thinking, chat, images: this model, not others
    (RequestRefused, "only supports one image", UnsupportedRequest),
    (RequestRefused, "think value", UnsupportedRequest),
    (ServerError, "does not support", UnsupportedRequest),  # of the runner: a picture for a model that sees none
    (ServerError, "missing data required for image input", UnsupportedRequest),
    (ServerError, "image: unknown format", UnsupportedRequest),
    # What the model has written is no call of a tool: ollama/ollama#17638, #18563, #14492, continuedev/continue#10896;
    # read 2026-12-01.
    (ServerError, "error parsing tool call", MalformedResponse),
    (ServerError, "xml syntax error", MalformedResponse),
    (ServerError, "failed to parse json", MalformedResponse),
    (ServerError, "expected element type", MalformedResponse),
    (RequestRefused, "invalid model name", ModelNotFound),
    (RequestRefused, "no compatible manifest", ModelNotFound),
    (RequestRefused, "cannot run this remote model", ModelNotFound),
    (ModelNotFound, "' not found", ModelNotFound),
    (AuthenticationFailed, "unauthorized", AuthenticationFailed),
    (PermissionDenied, "requires a subscription", PermissionDenied),
    (QuotaExhausted, "usage credits", QuotaExhausted),
    (RateLimited, "usage limit", QuotaExhausted),  # of a session, an hour or a week on ollama.com
    (RateLimited, "too many concurrent requests", RateLimited),
    (RateLimited, "too many requests", RateLimited),
    (Overloaded, "server busy", Overloaded),
    (ServerError, "server loading model", Overloaded),  # "llm server loading model", of a runner that is not ready
    (ServerError, "overloaded", Overloaded),
    (ServerError, "timed out waiting for", Timeout),  # "... llama runner to start"
)

# What a reason for an end means that is none of Ollama's own, of servers that stand in for it or that it asks itself.
_BLOCKED = re.compile(r"filter|sensitive|safety|block|polic|refus", re.IGNORECASE)
_FAULT = re.compile(r"error|abort|cancel|overload|unavailable|timeout|interrupt", re.IGNORECASE)

# Where another num_ctx does not help: a server in between that takes no such body, and models of ollama.com, which have
# their largest window already.
_BODY_TOO_LARGE = 413
_FIXED_WINDOW = "exceeded max context length"

# Failures of the server that no second request heals.
_LASTING = (
    *("requires more system memory", "requires more memory", "error loading model", "unable to load model"),
    *("unknown model architecture", "not supported by your version"),
)


def failure_of_reply(
    status: int,
    headers: Mapping[str, str],
    body: Any,
    *,
    model: str | None = None,
    sent: Mapping[str, Any] | None = None,
) -> Failure:
    """Return the failure that a reply means.

    Args:
        status: the HTTP status; 200 for an error inside a stream.
        headers: the reply's headers, their names in any case.
        body: the reply's body, as text, bytes or parsed JSON.
        model: the model that was asked.
        sent: the request's JSON, as it was sent, where it may be sent in another way.
    """
    document = document_of(body)
    error = error_of(document)
    status = _told_status(document) or status if status == 200 else status
    type_ = text_of(error.get("type")) if error is not None else None
    message = (text_of(error.get("message")) if error is not None else None) or _description(status, headers, body)
    lower = {name.lower(): value for name, value in headers.items()}
    kind = _kind(status, error is not None, type_, message)
    if kind is ServerError and is_of_format(message):
        kind = RequestRefused  # the server calls it its own fault
    mended = remedy(message, sent) if sent is not None and kind in (RequestRefused, UnsupportedRequest) else None
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
        retry_after=told_wait(kind, lower, document, message),
        retryable=False if any(words in message for words in _LASTING) else None,
        adaptation=mended,
    )


def failure_of_done_reason(reason: Any) -> Failure | None:
    """Return the failure that the reason for an answer's end means; None where it ends an answer."""
    if not isinstance(reason, str) or not (_BLOCKED.search(reason) or _FAULT.search(reason)):
        return None
    kind = ContentBlocked if _BLOCKED.search(reason) else ServerError
    return kind(f"the model stopped by {reason}", provider=PROVIDER, status=200, code=reason)


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
    if not isinstance(document, Mapping):
        return None
    error = document.get("error")
    if error is None and "message" not in document and (said := document.get("error parsing tool call")):
        error = f"error parsing tool call: {said}"  # it stands under its own words: ollama/ollama#11781
    if error is None and not {"message", "done"} & document.keys():
        error = document.get("detail")  # of what stands in front of it, or in its place
    if isinstance(error, str) and error.startswith("{"):
        inner = document_of(error)
        error = (error_of(inner) or inner) if isinstance(inner, Mapping) else error
    if isinstance(error, str) and error:
        return {"message": error}
    return error if isinstance(error, Mapping) else None


def _told_status(document: Any) -> int | None:
    """Return the status that an error of ollama.com's brings along where the local server hands it on in a stream."""
    for name in ("StatusCode", "status_code", "status"):
        told = document.get(name) if isinstance(document, Mapping) else None
        if isinstance(told, int) and 400 <= told <= 599:
            return told
    return None


def _kind(status: int, told: bool, type_: str | None, message: str) -> type[Failure]:
    in_stream = status == 200 and told
    kind = _OF_TYPE.get(type_ or "") or _OF_STATUS.get(status)
    kind = kind or (ServerError if in_stream else classify_status(status))
    if kind is ModelNotFound and not told:
        return RequestRefused  # not from Ollama's API, whose errors are JSON: it says nothing of a model
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
