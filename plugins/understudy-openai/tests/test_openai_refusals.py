"""Refusals as public reports and references have them, server by server: each is typed, and mended where it says how.

They stand in refusals.jsonl: after a line with a server and where its forms were read on 2026-11-30, a line for each.
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from understudy import Failure, Message, Request, Settings, errors
from understudy.errors import ContextTooLong, Overloaded, QuotaExhausted, RateLimited, ServerError
from understudy_openai import OpenAIProvider
from understudy_openai.failures import adaptation_of, error_in, failure_of_reply, told_limit
from understudy_openai.remedies import ADAPTATIONS, is_lasting, room_left

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Ask

HERE = Path(__file__).parent
LINES = [json.loads(line) for line in (HERE / "refusals.jsonl").read_text("utf-8").splitlines()]
SERVERS = [line["server"] for line in LINES if "server" in line]


def _forms(server: str) -> Iterator[dict[str, Any]]:
    among = ""
    for line in LINES:
        among = line.get("server", among)
        if among == server and "status" in line:
            yield line


def _failure(status: int, body: Any, headers: dict[str, str] | None = None) -> Failure:
    return failure_of_reply("x", status, headers or {}, body)


@pytest.mark.parametrize("server", SERVERS)
def test_each_recorded_refusal_is_typed_and_mended(server: str) -> None:
    wrong = []
    for form in _forms(server):
        for sent in (form["body"], json.dumps(form["body"]).encode()):
            failure = _failure(form["status"], sent)
            assert failure.message
            found = (type(failure).__name__, failure.adaptation)
            wrong += [(form, found)] if found != (form["kind"], form.get("adaptation")) else []
    assert not wrong


class _Refuses(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a reply goes out in one piece

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        status, body = self.server.reply  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def test_refusals_of_each_status_and_kind_are_the_same_on_the_wire(ask: Ask, lane: str) -> None:
    server = HTTPServer(("127.0.0.1", 0), _Refuses)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    environment = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "not-a-real-key", "OPENAI_TRANSPORT": lane}
    provider = OpenAIProvider(Settings(environment=environment))
    wrong = []
    first = {(line["status"], line["kind"]): line for line in reversed(LINES) if "status" in line}
    for number, form in enumerate(first.values()):
        server.reply = form["status"], json.dumps(form["body"]).encode()  # type: ignore[attr-defined]
        with pytest.raises(Failure) as caught:
            ask(provider, Request(messages=(Message.user("Hello"),), model=f"m{number}", timeout=5))
        wrong += [(form, caught.value)] if type(caught.value).__name__ != form["kind"] else []
    provider.close()
    server.shutdown()
    server.server_close()
    assert not wrong


def test_every_kind_of_refusal_is_among_the_recorded_ones() -> None:
    kinds = {line["kind"] for line in LINES if "kind" in line}
    assert all(issubclass(getattr(errors, kind), Failure) for kind in kinds)
    assert kinds >= {"AuthenticationFailed", "ContentBlocked", "ContextTooLong", "MalformedResponse", "ModelNotFound"}
    assert kinds >= {"Overloaded", "PermissionDenied", "QuotaExhausted", "RateLimited", "RequestRefused"}
    assert {line["adaptation"] for line in LINES if "adaptation" in line} >= {"in JSON mode", "without strict"}


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("Unsupported parameter: 'seed' is not supported with this model.", "seed"),
        ("Unknown parameter: 'messages[1].reasoning_details'.", "reasoning in messages"),
        ("Unrecognized request arguments supplied: top_k, min_p", "top_k"),
        ("got an unexpected keyword argument 'logit_bias'", "logit_bias"),
        ('Unknown name "logprobs": Cannot find field.', "logprobs"),
        ("Argument not supported on this model: stop", "stop"),
        ("Model x does not support parameter frequencyPenalty.", "frequency_penalty"),
        ("stream_options: Extra inputs are not permitted", "stream_options"),
        ("Extra inputs are not permitted, field: 'service_tier', value: 'auto'", "service_tier"),
        ("The `top_p` parameter is not supported by this model", "top_p"),
        ("`temperature` has been removed for this model", "temperature"),
        ("temperature is not supported", "temperature"),
        ("This model does not support temperature", "temperature"),
        ("`verbosity` cannot be set for this model", "verbosity"),
        ("parallel_tool_calls=False is not supported", "parallel_tool_calls"),
    ],
)
def test_a_field_is_found_in_every_way_to_name_one_that_is_refused(message: str, field: str) -> None:
    failure = _failure(400, _limited(message, type="invalid_request_error"))
    assert (type(failure).__name__, failure.adaptation) == ("UnsupportedRequest", f"without {field}")


def test_the_page_on_choosing_providers_has_each_server_and_how_many_refusals_of_it_are_tried() -> None:
    page = Path(__file__).parents[3] / "docs" / "choosing-providers.md"
    rows = [line.split(" | ") for line in page.read_text("utf-8").splitlines() if line.startswith("| ")]
    told = {row[0].removeprefix("| "): row[1] for row in rows}
    assert {server: told.get(server) for server in SERVERS} == {s: str(len(list(_forms(s)))) for s in SERVERS}


NOW = "Mon, 01 Jan 2029 00:00:00 GMT"
SPENT = {"x-ratelimit-reset-requests": "1m30.5s", "x-ratelimit-remaining-requests": "0"}
LEFT = {"x-ratelimit-reset-tokens": "3m", "x-ratelimit-remaining-tokens": "90"}


def _limited(message: str = "no", **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


@pytest.mark.parametrize(
    ("headers", "body", "hint"),
    [
        ({"retry-after": "20", **SPENT}, _limited("Please try again in 6m30.5s."), 20.0),
        (SPENT, _limited("Please try again in 6m30.5s."), 90.5),
        ({**SPENT, **LEFT}, _limited(), 90.5),
        (LEFT, _limited(), None),
        ({"x-ratelimit-reset-tokens": "20ms"}, _limited(), 0.02),  # nothing else is said
        ({"x-ratelimit-reset-tokens": "20ms"}, _limited("Please try again in 2s."), 2.0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1861920042000"}, _limited(), 42.0),
        (
            {},
            _limited(metadata={"headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1861920042000"}}),
            42.0,
        ),
        ({}, [_limited(details=[{"@type": "google.rpc.RetryInfo", "retryDelay": "37s"}])], 37.0),
        ({}, _limited(metadata={"resets_at": "2029-01-01T00:01:00Z"}), 60.0),
        ({}, {"detail": "no", "retry_after": 7}, 7.0),
        ({}, {"error": "Model x is currently loading", "estimated_time": 20.5}, 20.5),
        ({}, _limited(metadata={"raw": _limited("slow", retry_after_seconds="x")["error"]}), None),
        ({}, _limited("Please try again in 6m30.5s. Visit https://x/6"), 390.5),
        ({}, _limited("Please try again in 20ms."), 0.02),
        ({}, _limited("Please retry after 34 seconds."), 34.0),
        ({}, _limited("Please retry in 37.542s."), 37.542),
        ({}, _limited("Please wait 120 seconds before retrying."), 120.0),
        ({}, _limited("No deployments available for selected model, Try again in 5 seconds. Passed model=x"), 5.0),
        ({}, _limited("Try again in 1 hour 30 minutes"), 5400.0),
        ({}, _limited("Try again in a moment, you used 5 seconds"), None),
    ],
)
def test_when_to_come_back_is_read_wherever_it_is_said(headers: dict[str, str], body: Any, hint: float | None) -> None:
    assert _failure(429, body, {**headers, "date": NOW}).retry_after == pytest.approx(hint)


def test_what_a_request_may_not_do_has_no_time_to_come_back() -> None:
    assert _failure(400, _limited("Bad. Please try again in 5s.", retry_after=5)).retry_after is None


@pytest.mark.parametrize(
    ("asked", "room"), [((1024, 4096, 3500), 596), ((1024, 4096, 3600), None), ((99999, 32768, 100), 32668)]
)
def test_room_that_is_left_is_used_if_it_is_enough(asked: tuple[int, int, int], room: int | None) -> None:
    told = room_left("too large ({} > {} - {})".format(*asked))
    assert told_limit(told) == room
    assert told is None or not is_lasting(told)  # the next prompt has another length
    assert is_lasting("with a limit of at most 8000")
    assert told_limit("with a limit of at most 8000") == 8000
    assert told_limit("without temperature") is None
    assert told_limit(None) is None


def test_an_adaptation_that_is_refused_too_is_not_asked_for_again() -> None:
    refused = error_in(_limited("This response_format type is unavailable now"))
    assert refused is not None
    told = [adaptation_of(400, refused, known) for known in ((), ("in JSON mode",), ("without strict", "in JSON mode"))]
    assert told == ["in JSON mode", "without a response format", "without a response format"]
    assert adaptation_of(400, refused, ("in JSON mode", "without a response format")) is None
    failure = failure_of_reply("x", 400, {}, _limited("Unknown parameter: 'seed'"), known=["without seed"])
    assert failure.adaptation is None
    assert adaptation_of(401, refused) is None
    assert ADAPTATIONS["max_tokens"] == "with max_completion_tokens"


@pytest.mark.parametrize(
    "message",
    [
        "temperature must be between 0 and 2",
        "Invalid 'messages[2].role': 'user' is not allowed after 'tool'",
        "This model does not support user messages after tools",
        "Missing required parameter: 'seed'",
        "'n' must be at least 1",
        "The `functions` field has been deprecated",
    ],
)
def test_a_mistake_of_the_callers_is_not_mended(message: str) -> None:
    failure = _failure(400, _limited(message, type="invalid_request_error"))
    assert (type(failure).__name__, failure.adaptation) == ("RequestRefused", None)


@pytest.mark.parametrize(
    "document",
    [
        *(None, 5, "text", [], {}, [{}], [5], {"error": None}, {"error": ""}, {"error": []}),
        {"choices": [{"delta": {"content": "x"}}], "error": {}, "base_resp": {"status_code": 0, "status_msg": ""}},
        {"choices": [{"message": {"content": "x"}, "error": None}], "message": "ok"},
        {"object": "list", "data": []},
        {"code": 200, "message": "success"},
    ],
)
def test_what_is_no_error_is_not_taken_for_one(document: Any) -> None:
    assert not error_in(document)


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ({"choices": [{"message": {"content": ""}, "error": {"code": 429, "message": "wait"}}]}, RateLimited, "wait"),
        ({"choices": [{"delta": {}, "error": "broken"}], "usage": None}, ServerError, "broken"),
        ({"error": {"code": 503, "message": "busy"}, "choices": [{"finish_reason": "error"}]}, Overloaded, "busy"),
        ({"code": "InternalError", "message": "boom", "request_id": "r"}, ServerError, "boom"),
        ({"error": {"type": "insufficient_quota", "message": "no"}}, QuotaExhausted, "no"),
        ({"error": True, "message": "Error", "status_code": 503}, Overloaded, "Error"),
        ({"error": "credit_unresolved", "message": "being reconciled"}, ServerError, "being reconciled"),
        ({"detail": {"error_type": "overloaded", "message": "Unavailable"}}, Overloaded, "Unavailable"),
        (
            {"object": "error", "message": "the context length is 5", "code": 400},
            ContextTooLong,
            "the context length is 5",
        ),
    ],
)
def test_an_error_in_place_of_an_answer_is_typed_by_what_it_says(body: Any, kind: type[Failure], words: str) -> None:
    failure = _failure(200, body)
    assert (type(failure), failure.message) == (kind, words)


def test_the_words_of_an_error_within_an_error_are_told_beside_the_outer_ones() -> None:
    inner = json.dumps({"error": {"message": "too long", "code": "context_length_exceeded", "param": "messages"}})
    failure = _failure(400, {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": inner}}})
    assert type(failure) is ContextTooLong
    assert (failure.message, failure.code) == ("Provider returned error: too long", "context_length_exceeded")
    twice = _failure(
        500, {"error": {"message": f"upstream said {json.dumps({'error': inner})} and left", "code": "500"}}
    )
    assert (type(twice), twice.message) == (ContextTooLong, "upstream said: too long")


def test_an_id_of_the_request_is_found_in_a_body_too() -> None:
    assert _failure(400, {"error": {"message": "x"}, "request_id": "r1"}).request_id == "r1"
    assert _failure(400, {"error": {"message": "x"}, "request_id": "r1"}, {"x-request-id": "r2"}).request_id == "r2"
