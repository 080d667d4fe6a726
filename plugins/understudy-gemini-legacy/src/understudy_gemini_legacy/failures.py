"""What google-generativeai and the libraries below it report besides: of replies, the shared package has the table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from understudy import Failure
from understudy.errors import ConnectionFailed, MalformedResponse, ModelNotFound, ProviderUnavailable, Timeout
from understudy_gemini_legacy.models import NEWER_MODEL
from understudy_gemini_wire import failures as shared
from understudy_gemini_wire.failures import KeyForm

# "This model models/gemini-2.5-flash-lite is no longer available to new users.": 404 to projects that did not use it
# before. https://github.com/crewAIInc/crewAI/pull/7003, read 2026-11-30.
_OLD_PROJECTS_ONLY = re.compile(r"no longer available to new users", re.I)
_NEWER_MODEL_ADVICE = (
    f"; it answers older projects only: set GEMINI_LEGACY_MODEL={NEWER_MODEL}, which takes no results of tools from "
    "google-generativeai, or use understudy-gemini"
)

# Exceptions of urllib3 by the names of their classes, the most telling first; the core's table knows the rest. A
# connection that was refused comes first, because urllib3 counts it among the timeouts.
_OF_EXCEPTION: tuple[tuple[str, type[Failure]], ...] = (
    ("NewConnectionError", ConnectionFailed),
    ("TimeoutError", Timeout),
    ("ProtocolError", ConnectionFailed),
    ("IncompleteRead", ConnectionFailed),
    ("SSLError", ConnectionFailed),
    ("DecodeError", MalformedResponse),
    ("LocationValueError", ProviderUnavailable),
)


def failure_of_reply(status: int, headers: Mapping[str, str], body: Any, key_form: KeyForm | None = None) -> Failure:
    """Return the failure that a reply means, as the shared table has it, with what to do about an older model.

    Args:
        status: the HTTP status.
        headers: the reply's headers, their names in any case.
        body: the reply's body, as text, bytes or parsed JSON.
        key_form: whether the key has the form that Google refuses by now; None where no key was sent.
    """
    failure = shared.failure_of_reply(status, headers, body, key_form)
    if type(failure) is ModelNotFound and _OLD_PROJECTS_ONLY.search(failure.message):
        failure.message += _NEWER_MODEL_ADVICE
    return failure


def failure_of_exception(exception: BaseException) -> Failure:
    """Return the failure that an exception of the SDK, or of the libraries below it, means."""
    if isinstance(exception, Failure):
        return exception
    failure = shared.failure_of_exception(exception)
    names = {kind.__name__ for link in _causes(exception) for kind in type(link).__mro__}
    exact = next((kind for name, kind in _OF_EXCEPTION if name in names), None)
    return failure if exact is None else exact(failure.message)


def _causes(exception: BaseException) -> Iterator[BaseException]:
    """Walk down to the first cause: requests wraps what urllib3 raised, the reason among its arguments or not."""
    link: BaseException | None = exception
    for _ in range(10):  # chains can be circular
        if link is None:
            return
        yield link
        link = link.__cause__ or link.__context__
