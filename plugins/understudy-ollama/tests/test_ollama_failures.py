"""The table of failures, without SDK and socket."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from understudy import Failure, Secret
from understudy.errors import (
    AuthenticationFailed,
    ConnectionFailed,
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
from understudy_ollama.failures import failure_of_exception, failure_of_reply

LOCAL = "http://127.0.0.1:11434"


def _runner(type_: str, message: str, code: int = 400) -> dict[str, Any]:
    """What Ollama makes of an error of the model's runner: an object's text as its sentence."""
    return {"error": json.dumps({"error": {"code": code, "message": message, "type": type_}})}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, {"error": "model 'llama9' not found"}, ModelNotFound),
        (404, {"error": 'model "llama9" not found, try pulling it first'}, ModelNotFound),
        (400, {"error": "invalid model name"}, ModelNotFound),
        (400, {"error": "no compatible manifest found"}, ModelNotFound),
        (400, {"error": "this server cannot run this remote model"}, ModelNotFound),
        (410, {"error": "retired"}, ModelNotFound),
        (404, "404 page not found", RequestRefused),
        (405, "<html>Not Allowed</html>", RequestRefused),
        (400, {"error": "the input length exceeds the context length"}, ContextTooLong),
        (400, _runner("exceed_context_size_error", "request (9 tokens) exceeds the available context"), ContextTooLong),
        (400, _runner("exceed_context_size_error", "other words"), ContextTooLong),
        (400, {"error": "the prompt is longer than the context length currently available"}, ContextTooLong),
        (400, {"error": "prompt too long; exceeded max context length by 9 tokens"}, ContextTooLong),
        (400, {"error": {"message": "prompt too long; exceeded max context length by 9"}}, ContextTooLong),
        (413, "<html>too large</html>", ContextTooLong),
        (400, {"error": "registry.ollama.ai/library/x does not support tools"}, UnsupportedRequest),
        (400, {"error": '"x" does not support thinking'}, UnsupportedRequest),
        (400, _runner("invalid_request_error", "model does not support multimodal requests."), UnsupportedRequest),
        (400, {"error": 'think value "low" is not supported for this model'}, UnsupportedRequest),
        (400, {"error": 'invalid think value: "false" (must be "high", true, or false)'}, UnsupportedRequest),
        (400, {"error": 'invalid format: expected "json" or a JSON schema'}, RequestRefused),
        (500, {"error": "invalid JSON schema in format"}, RequestRefused),
        (500, {"error": "Failed to initialize samplers: failed to parse grammar"}, RequestRefused),
        (500, {"error": "model does not support image input"}, UnsupportedRequest),
        (500, {"error": "the request exceeds the available context size"}, ContextTooLong),
        (500, {"error": "input length exceeds maximum context length"}, ContextTooLong),
        (500, {"error": "llm server loading model"}, Overloaded),
        (500, {"error": "timed out waiting for llama runner to start - progress 0.00 -"}, Timeout),
        (500, {"error": "unable to load model: /blobs/x"}, ServerError),
        (500, {"error": "error loading model: unknown model architecture: 'x'"}, ServerError),
        (501, _runner("not_supported_error", "no"), UnsupportedRequest),
        (400, {"error": "json: cannot unmarshal string into Go struct field"}, RequestRefused),
        (400, _runner("invalid_request_error", "wrong"), RequestRefused),
        (401, {"error": "unauthorized", "signin_url": "https://ollama.com/connect"}, AuthenticationFailed),
        (401, "<html>who are you</html>", AuthenticationFailed),
        (402, {"error": "this model requires a subscription or usage credits"}, QuotaExhausted),
        (403, {"error": "this model requires a subscription, upgrade for access"}, PermissionDenied),
        (429, {"error": "you've reached your weekly usage limit, please wait or upgrade"}, QuotaExhausted),
        (
            429,
            {"StatusCode": 429, "Status": "429", "error": "you have reached your session usage limit"},
            QuotaExhausted,
        ),
        (429, {"error": "too many requests"}, RateLimited),
        (429, "", RateLimited),
        (408, "", Timeout),
        (499, {"error": "request canceled"}, ServerError),
        (500, {"error": "llama runner process has terminated: exit status 2"}, ServerError),
        (500, {"error": "model requires more system memory (8.0 GiB) than is available (4.0 GiB)"}, ServerError),
        (502, {"error": "dial tcp: lookup ollama.com"}, ServerError),
        (502, "<html>bad gateway</html>", ServerError),
        (503, {"error": "server busy, please try again.  maximum pending requests exceeded"}, Overloaded),
        (500, _runner("unavailable_error", "Loading model", 503), Overloaded),
        (504, "", Timeout),
        (200, {"error": "an error was encountered while running the model"}, ServerError),
        (200, {"error": {"no": "message"}}, ServerError),
        (200, {"error": "server busy, please try again"}, Overloaded),
        (200, {"error": "you have reached your session usage limit"}, QuotaExhausted),
        (200, {"error": "too many concurrent requests"}, RateLimited),
        (200, _runner("exceed_context_size_error", "full"), ContextTooLong),
        (200, "<html>please log in</html>", MalformedResponse),
        (302, "", MalformedResponse),
        (500, ["a", "list"], ServerError),
        (500, "a text", ServerError),
        (500, None, ServerError),
        (500, {"error": 7}, ServerError),
        (500, {"error": "{not json"}, ServerError),
    ],
)
def test_each_row_of_the_table(status: int, body: Any, kind: type[Failure]) -> None:
    failures = [failure_of_reply(status, {}, body)]
    if isinstance(body, dict):
        failures += [failure_of_reply(status, {}, json.dumps(body).encode())]
    for failure in failures:
        assert type(failure) is kind
        assert (failure.provider, failure.status) == ("ollama", status)
        lasting = any(words in str(body) for words in ("system memory", "load model:", "loading model:"))
        assert failure.retryable is (False if lasting else None)
        assert failure.message


def test_a_model_that_is_not_there_comes_with_its_cure() -> None:
    body = {"error": "model 'llama3:8b' not found"}
    failure = failure_of_reply(404, {}, body, model="llama3:8b")
    assert failure.message == "model 'llama3:8b' not found; `ollama pull llama3:8b` brings it"
    assert failure.model == "llama3:8b"
    body = {"error": 'model "x" not found, try pulling it first'}
    assert failure_of_reply(404, {}, body, model="x").message.endswith("try pulling it first: ollama pull x")


def test_an_error_of_the_runner_is_told_in_its_own_words() -> None:
    failure = failure_of_reply(400, {}, _runner("unavailable_error", "loading the model"))
    assert (failure.message, failure.code) == ("loading the model", "unavailable_error")


def test_a_window_that_is_too_small_comes_with_its_cure_where_one_may_be_set() -> None:
    cure = "; set options={'ollama': {'num_ctx': 16384}} or more: the window has 4096 tokens on most machines"
    failure = failure_of_reply(400, {}, _runner("exceed_context_size_error", "request (9 tokens) exceeds"))
    assert (failure.message, failure.code) == (f"request (9 tokens) exceeds{cure}", "exceed_context_size_error")
    of_the_cloud = {"error": "prompt too long; exceeded max context length by 9 tokens"}
    for status, body in ((400, of_the_cloud), (413, {"error": "http: request body too large"})):
        assert failure_of_reply(status, {}, body).message == body["error"]


def test_hints_and_ids_are_found_in_headers_of_any_case() -> None:
    failure = failure_of_reply(429, {"Retry-After": "7", "X-Request-Id": "r1"}, {"error": "slow down"})
    assert (failure.retry_after, failure.request_id) == (7.0, "r1")


def test_a_wrong_address_and_a_page_are_described() -> None:
    wrong = failure_of_reply(404, {}, b"404 page not found")
    assert wrong.message == "expected JSON, found: 404 page not found; the address is to be what stands before /api"
    redirected = failure_of_reply(302, {"Location": "https://elsewhere.example"}, "")
    assert "https://elsewhere.example, which is not followed" in redirected.message
    page = failure_of_reply(502, {}, "<html>" + "x" * 1000)
    assert page.message.startswith("expected JSON, found: <html>xxx")
    assert len(page.message) < 250


def test_keys_are_masked_in_what_the_server_says() -> None:
    key = Secret("not-a-real-key-but-secret").reveal()
    failure = failure_of_reply(401, {}, {"error": f"bad key {key}"})
    assert failure.message == "bad key ***"
    assert key not in repr(failure)


# ---- exceptions ----


def _chained(*links: BaseException) -> BaseException:
    for outer, inner in itertools.pairwise(links):
        outer.__cause__ = inner
    return links[0]


def test_a_refused_connection_says_what_to_start_and_is_not_asked_again_on_this_machine() -> None:
    refused = _chained(ConnectionError("no"), OSError("all failed"), ConnectionRefusedError(111, "refused"))
    failure = failure_of_exception(refused, url=LOCAL)
    assert type(failure) is ConnectionFailed
    assert (failure.retryable, failure.provider, failure.__cause__) == (False, "ollama", refused)
    assert failure.message == (
        "connection refused at http://127.0.0.1:11434: start the server there (`ollama serve`), or correct the address"
    )
    assert failure_of_exception(refused, url="http://gpu.example:11434").retryable is None


def test_a_refusal_by_each_of_several_addresses_is_one_too() -> None:
    group = ExceptionGroup("several", [OSError("no route"), ConnectionRefusedError()])
    assert failure_of_exception(_chained(ConnectionError(), group), url=LOCAL).retryable is False
    other = failure_of_exception(_chained(ConnectionError("reset"), ConnectionResetError()), url=LOCAL)
    assert (type(other), other.retryable) == (ConnectionFailed, None)


def test_exceptions_that_are_no_reply_are_told_by_their_kind() -> None:
    timeout = failure_of_exception(TimeoutError())
    assert (type(timeout), timeout.provider) == (Timeout, "ollama")
    own = Overloaded("busy")
    assert failure_of_exception(own) is own


def test_a_connection_that_the_http_lane_was_refused_says_the_same() -> None:
    refused = failure_of_exception(ConnectionFailed("nobody is there", code="ECONNREFUSED"), url=LOCAL)
    assert (refused.retryable, refused.__cause__) == (False, None)
    assert "`ollama serve`" in refused.message
