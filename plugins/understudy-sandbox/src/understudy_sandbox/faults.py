"""Everything that can go wrong with a vendor, by name.

Each function returns one :class:`Fault` for ``stand_in.next(...)`` or ``stand_in.always(...)``. A fault has a string
form too, for headers, the command line and HTTP control: ``parse("rate_limited retry_after=30")``; ``str(fault)`` gives
it back. ``ALL`` is the table of names.

``after=k`` counts the content deltas of a stream: 0 is before the first byte of the body, k is right after the k-th
delta. A plain reply has no deltas: there 0 is before the first byte too, and anything else is in the middle.
"""

from __future__ import annotations

import difflib
import inspect
import json
import math
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

#: The failures that a vendor reports with an HTTP error of its own shape, or with an error inside a stream.
FAILURES = (
    "rate_limited",
    "quota_exhausted",
    "billing",
    "request_too_large",
    "overloaded",
    "server_error",
    "timeout",
    "authentication_failed",
    "permission_denied",
    "model_not_found",
    "context_too_long",
    "invalid_request",
)

#: Seconds between two heartbeats at least: a stream holds all of them.
SHORTEST = 0.001
_HEADER_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong with one request: a name of ``ALL`` and all of its options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        defaults = inspect.signature(ALL[self.name]).parameters
        given = {name: value for name, value in self.options.items() if value != defaults[name].default}
        return " ".join([self.name, *(f"{name}={shlex.quote(_text(value))}" for name, value in given.items())])

    def __repr__(self) -> str:
        return f"faults.parse({str(self)!r})"


def _fault(name: str, **options: Any) -> Fault:
    return Fault(name, MappingProxyType(options))


def _at_least(name: str, value: Any, least: float, whole: bool = False) -> None:
    wanted = "a whole number" if whole else "a number"
    kind = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value) or value < least:
        raise ValueError(f"{name} must be {wanted}, at least {least:g}; found {value!r}")


def _status(value: Any) -> None:
    _at_least("code", value, 200, whole=True)
    if value > 599:
        raise ValueError(f"code must be an HTTP status from 200 to 599; found {value!r}")


def _headers(headers: Any) -> None:
    if headers is None:
        return
    if not isinstance(headers, Mapping) or not all(isinstance(one, str) for pair in headers.items() for one in pair):
        raise ValueError(f"headers must be a mapping of header names to strings; found {headers!r}")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not (value.isascii() and value.isprintable() and value == value.strip()):
            raise ValueError(f"headers: {name!r}: {value!r} cannot be sent as an HTTP header")
        if name.lower() in ("content-length", "transfer-encoding", "connection"):
            raise ValueError(f"headers: {name!r} is set by the sandbox itself; use cut or stream_end for a broken body")


def status(code: int, body: str | Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None) -> Fault:
    """Any HTTP status with any body and headers; without a body, the vendor's own error for that status."""
    _status(code)
    if body is not None and not isinstance(body, str | Mapping):
        raise ValueError(f"body must be a string or a JSON object; found {body!r}")
    _headers(headers)
    return _fault("status", code=code, body=body, headers=headers)


def rate_limited(retry_after: float | None = None) -> Fault:
    """Too many requests this minute (429), with the vendor's hint to wait so many seconds, or without a hint."""
    if retry_after is not None:
        _at_least("retry_after", retry_after, 0)
    return _fault("rate_limited", retry_after=retry_after)


def quota_exhausted() -> Fault:
    """The account's spend limit, daily or monthly quota is used up (429)."""
    return _fault("quota_exhausted")


def billing() -> Fault:
    """The account has to pay first (402; OpenAI: 429 with a code that says so)."""
    return _fault("billing")


def request_too_large() -> Fault:
    """This one request can never fit (Claude and OpenAI: 429; Gemini: 400 payload size; the others: 413)."""
    return _fault("request_too_large")


def overloaded() -> Fault:
    """The model has no capacity left (Claude 529, the others 503; OpenAI's is plain text)."""
    return _fault("overloaded")


def server_error() -> Fault:
    """The vendor broke (500)."""
    return _fault("server_error")


def timeout(code: int = 504) -> Fault:
    """The vendor ran out of time: status 504 (default) or 408."""
    if code not in (408, 504):
        raise ValueError(f"code must be 408 or 504; found {code!r}")
    return _fault("timeout", code=code)


def authentication_failed() -> Fault:
    """The key is not valid (Gemini 400 API_KEY_INVALID, the others 401)."""
    return _fault("authentication_failed")


def permission_denied() -> Fault:
    """The key is valid, but not for this (403)."""
    return _fault("permission_denied")


def model_not_found() -> Fault:
    """There is no such model (404)."""
    return _fault("model_not_found")


def context_too_long() -> Fault:
    """The prompt does not fit into the model's context window (400)."""
    return _fault("context_too_long")


def invalid_request() -> Fault:
    """The request is malformed (400)."""
    return _fault("invalid_request")


def blocked(where: str = "reply") -> Fault:
    """The vendor's safety system blocks the reply or, with where=prompt, the prompt.

    Gemini and Claude say so in an HTTP 200 (SAFETY, refusal), as OpenAI does of a reply (content_filter; a refusal in
    words where a schema was asked for); OpenAI turns a prompt away with 400, Cohere either with 498. Ollama has no such
    system: its model refuses in words.
    """
    if where not in ("reply", "prompt"):
        raise ValueError(f"where must be 'reply' or 'prompt'; found {where!r}")
    return _fault("blocked", where=where)


def empty() -> Fault:
    """A sound reply (200) that ends normally and has no content."""
    return _fault("empty")


def out_of_tokens() -> Fault:
    """A sound reply (200) that was cut by its length limit before any text."""
    return _fault("out_of_tokens")


def stream_error(after: int = 0, kind: str = "overloaded") -> Fault:
    """HTTP 200, then an error event, first or after k deltas; a plain request gets the error as a 200 body."""
    _at_least("after", after, 0, whole=True)
    if kind not in FAILURES:
        raise ValueError(f"kind must be one of {', '.join(FAILURES)}; found {kind!r}")
    return _fault("stream_error", after=after, kind=kind)


def stream_end(after: int = 1) -> Fault:
    """The stream ends cleanly after k deltas, without its end marker; a plain body ends in the middle."""
    _at_least("after", after, 0, whole=True)
    return _fault("stream_end", after=after)


def cut(after: int = 1) -> Fault:
    """The connection is closed in the middle of the body, after k deltas."""
    _at_least("after", after, 0, whole=True)
    return _fault("cut", after=after)


def cut_character(after: int = 1) -> Fault:
    """The connection is closed in the middle of a character of several bytes, k deltas or more into the body."""
    _at_least("after", after, 0, whole=True)
    return _fault("cut_character", after=after)


def stall(after: int = 1, seconds: float = 60) -> Fault:
    """Silence after k deltas, until the client goes away or so many seconds have passed; then the connection drops."""
    _at_least("after", after, 0, whole=True)
    _at_least("seconds", seconds, 0)
    return _fault("stall", after=after, seconds=seconds)


def reset(after: int | None = None) -> Fault:
    """The connection is reset (TCP RST), before any reply or after k deltas."""
    if after is not None:
        _at_least("after", after, 0, whole=True)
    return _fault("reset", after=after)


def refuse(seconds: float | None = None) -> Fault:
    """Nobody listens: connections are refused for so many seconds (next: 1 by default; always: until healed)."""
    if seconds is not None:
        _at_least("seconds", seconds, 0)
    return _fault("refuse", seconds=seconds)


def black_hole(seconds: float = 60) -> Fault:
    """The request is read and never answered; after so many seconds the connection drops."""
    _at_least("seconds", seconds, 0)
    return _fault("black_hole", seconds=seconds)


def slow_first_token(seconds: float, every: float = 30) -> Fault:
    """A healthy reply whose first content comes after so many seconds; until then a heartbeat every so many."""
    _at_least("seconds", seconds, 0)
    _at_least("every", every, SHORTEST)
    return _fault("slow_first_token", seconds=seconds, every=every)


def heartbeats(every: float = 1, seconds: float = 60) -> Fault:
    """A stream in which only heartbeats come, one every so many seconds, where the vendor sends any, and no answer."""
    _at_least("every", every, SHORTEST)
    _at_least("seconds", seconds, 0)
    return _fault("heartbeats", every=every, seconds=seconds)


def loading(seconds: float) -> Fault:
    """A healthy reply whose first byte comes after so many seconds, as when a model is loaded first."""
    _at_least("seconds", seconds, 0)
    return _fault("loading", seconds=seconds)


def dribble(seconds: float, size: int | None = None) -> Fault:
    """A healthy reply with so many seconds between its pieces: its frames, or ``size`` bytes each."""
    _at_least("seconds", seconds, 0)
    if size is not None:
        _at_least("size", size, 1, whole=True)
    return _fault("dribble", seconds=seconds, size=size)


def malformed_json(after: int = 0) -> Fault:
    """HTTP 200 with broken JSON: the plain body, or the stream's event after k deltas."""
    _at_least("after", after, 0, whole=True)
    return _fault("malformed_json", after=after)


def html_page(code: int = 200) -> Fault:
    """A page of HTML where JSON was expected, as proxies and captive portals send it."""
    _status(code)
    return _fault("html_page", code=code)


def empty_body() -> Fault:
    """HTTP 200 and not one byte of body."""
    return _fault("empty_body")


def null_object() -> Fault:
    """HTTP 200 and the JSON object ``{}``."""
    return _fault("null_object")


def huge(megabytes: float = 8) -> Fault:
    """A healthy reply whose text is one word of so many megabytes."""
    _at_least("megabytes", megabytes, 0)
    return _fault("huge", megabytes=megabytes)


def wrong_content_type(content_type: str = "text/plain") -> Fault:
    """A healthy reply under a content type that is not its own."""
    if not isinstance(content_type, str) or not content_type.isascii() or not content_type.isprintable():
        raise ValueError(f"content_type must be a media type like text/plain; found {content_type!r}")
    return _fault("wrong_content_type", content_type=content_type)


#: Every fault by its name; the first line of each function's docstring says what it does.
ALL: Mapping[str, Callable[..., Fault]] = MappingProxyType(
    {
        build.__name__: build
        for build in (
            *(status, rate_limited, quota_exhausted, billing, request_too_large, overloaded, server_error, timeout),
            *(authentication_failed, permission_denied, model_not_found, context_too_long, invalid_request),
            *(blocked, empty, out_of_tokens, stream_error, stream_end, cut, cut_character, stall, reset, refuse),
            *(black_hole, slow_first_token, heartbeats, loading, dribble, malformed_json, html_page, empty_body),
            *(null_object, huge, wrong_content_type),
        )
    }
)


def parse(text: str) -> Fault:
    """Read a fault from its text form: the name, then options as ``name=value`` or in their order.

    Args:
        text: For example ``"rate_limited retry_after=30"``, ``"status 418"``, ``"stall after=2 seconds=5"``. Words are
            split as a shell does; a value is read as JSON where it is JSON, else as text.

    Raises:
        ValueError: Names what was wrong and, for an unknown name, the known faults.
    """
    try:
        name, *rest = shlex.split(text) or [""]
    except ValueError as error:
        raise ValueError(f"cannot read the fault {text!r} ({error}); expected 'rate_limited retry_after=30'") from None
    build = ALL.get(name)
    if build is None:
        near = difflib.get_close_matches(name, ALL, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"unknown fault {name!r}{hint}; the known faults are: {', '.join(ALL)}")
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for word in rest:
        option, equals, value = word.partition("=")
        if equals and option.isidentifier():
            named[option] = _value(value)
        else:
            positional.append(_value(word))
    try:
        return build(*positional, **named)
    except TypeError:
        expected = f"{name}{inspect.signature(build)}".partition(" -> ")[0]
        raise ValueError(f"the fault {name!r} does not take {' '.join(rest)!r}; expected {expected}") from None
    except ValueError as error:
        raise ValueError(f"the fault {name!r}: {error}") from None


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return text


def _text(value: Any) -> str:
    """The text that ``_value`` reads back as this value."""
    if isinstance(value, str) and value.isprintable() and value.isascii() and _value(value) == value:
        return value
    return json.dumps(dict(value) if isinstance(value, Mapping) else value)
