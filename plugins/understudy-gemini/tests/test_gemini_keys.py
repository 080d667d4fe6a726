"""Keys that Google refuses by now, and what is said of them: never the key itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from understudy import Failure, LLMResponse, Message, Request
from understudy.errors import AuthenticationFailed, PermissionDenied
from understudy_gemini import GeminiProvider
from understudy_gemini_wire.failures import failure_of_reply
from understudy_sandbox import Sandbox, faults

Ask = Callable[[GeminiProvider, Request], LLMResponse]
ASKED = Request(messages=(Message.user("hello"),), timeout=5)
OLD, NEW = "AIza" + "Sy0123456789" * 3, "AQ." + "Ab0123456789" * 4
NO_TOKEN = {
    "code": 401,
    "message": "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
    "valid authentication credential.",
    "status": "UNAUTHENTICATED",
    "details": [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "ACCESS_TOKEN_TYPE_UNSUPPORTED", "metadata": {}}
    ],
}


def test_an_old_key_that_is_refused_is_told_apart(
    sandbox: Sandbox, connect: Callable[..., GeminiProvider], ask: Ask
) -> None:
    with pytest.raises(AuthenticationFailed, match="begin with AIza: make a new key in AI Studio") as caught:
        ask(connect(sandbox.gemini.url, GOOGLE_API_KEY=OLD), ASKED)
    assert (caught.value.status, caught.value.code) == (401, "ACCESS_TOKEN_TYPE_UNSUPPORTED")
    assert OLD not in repr(vars(caught.value))


def test_an_old_key_that_is_not_valid_gets_the_same_words(
    sandbox: Sandbox, connect: Callable[..., GeminiProvider], ask: Ask
) -> None:
    sandbox.gemini.next(faults.authentication_failed())
    with pytest.raises(AuthenticationFailed, match=r"API key not valid.*make a new key in AI Studio") as caught:
        ask(connect(sandbox.gemini.url, GOOGLE_API_KEY=OLD), ASKED)
    assert (caught.value.status, caught.value.code) == (400, "API_KEY_INVALID")


def test_a_new_key_is_taken_and_one_that_is_wrong_is_plainly_wrong(
    sandbox: Sandbox, connect: Callable[..., GeminiProvider], ask: Ask
) -> None:
    provider = connect(sandbox.gemini.url, GOOGLE_API_KEY=NEW)
    assert ask(provider, ASKED).success
    assert sandbox.gemini.requests[0].headers["x-goog-api-key"] == NEW
    sandbox.gemini.next(faults.authentication_failed())
    with pytest.raises(AuthenticationFailed) as caught:
        ask(provider, ASKED)
    assert "AI Studio" not in caught.value.message
    sandbox.gemini.next(faults.status(401, {"error": NO_TOKEN}))
    with pytest.raises(AuthenticationFailed, match="it is the key that is not accepted: copy it again"):
        ask(provider, ASKED)


@pytest.mark.parametrize(
    ("status", "error", "failure"),
    [
        (401, NO_TOKEN, AuthenticationFailed),
        (403, {"code": 403, "message": "x", "status": "PERMISSION_DENIED"}, PermissionDenied),
    ],
)
def test_nothing_is_said_of_keys_where_none_was_sent_or_it_was_accepted(
    status: int, error: dict[str, Any], failure: type[Failure]
) -> None:
    found = failure_of_reply(status, {}, {"error": error}, "old" if failure is PermissionDenied else None)
    assert type(found) is failure
    assert found.message == error["message"]
