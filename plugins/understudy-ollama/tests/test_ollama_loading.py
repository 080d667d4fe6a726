"""A model that is being loaded is not a server that is dead: who is in memory, and what a timeout says of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from understudy import LLMResponse, Message, Request, Settings
from understudy.errors import ConnectionFailed, MalformedResponse, ServerError, Timeout
from understudy_ollama import OllamaProvider
from understudy_ollama import loading as module
from understudy_ollama.wire import loading_body, request_body
from understudy_sandbox import faults

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

    Ask = Callable[[OllamaProvider, Request], LLMResponse]

# The stand-in has gemma4 in memory, and not this one.
REQUEST = Request(messages=(Message.user("Hello"),), model="llama3.2", timeout=10)
SECONDS = 5.0


@pytest.fixture(params=["sync", "async"])
def is_loaded(request: pytest.FixtureRequest, provider: OllamaProvider) -> Callable[[str], bool | None]:
    if request.param == "sync":
        return lambda model: provider.is_loaded(model, SECONDS)
    return lambda model: asyncio.run(provider.ais_loaded(model, SECONDS))


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon, and have long to ask why: nothing here is to depend on how fast the machine is."""
    monkeypatch.setattr(module, "KEPT_BACK", 0.95)
    monkeypatch.setattr(module, "MOST_KEPT_BACK", 60.0)


# ---- who is in memory ----


def test_the_server_tells_who_is_in_memory(sandbox: Sandbox, is_loaded: Callable[[str], bool | None]) -> None:
    names = ("gemma4", "gemma4:latest", "Gemma4", "registry.ollama.ai/library/gemma4:latest", "gpt-oss:20b")
    assert [is_loaded(name) for name in names] == [True] * len(names)
    assert [is_loaded(name) for name in ("llama3.2", "gemma4:31b", "gpt-oss", "me/gemma4")] == [False] * 4
    assert {(request.method, request.path) for request in sandbox.ollama.requests} == {("GET", "/api/ps")}


def test_models_that_run_elsewhere_are_not_asked_for(sandbox: Sandbox, is_loaded: Callable[[str], bool | None]) -> None:
    assert [is_loaded(name) for name in ("gpt-oss:120b-cloud", "qwen3.5:cloud")] == [None, None]
    assert sandbox.ollama.request_count == 0


@pytest.mark.parametrize(
    "fault",
    [
        faults.html_page(),
        faults.null_object(),
        faults.status(404, "404 page not found"),
        faults.status(200, {"models": [{"name": 5}]}),
        faults.status(200, {"models": None}),
        faults.malformed_json(),
        faults.reset(),
        faults.server_error(),
    ],
    ids=str,
)
def test_a_server_that_does_not_tell_leaves_it_open(
    fault: Any, sandbox: Sandbox, is_loaded: Callable[[str], bool | None]
) -> None:
    sandbox.ollama.always(fault)
    assert is_loaded("gemma4") is None


def test_a_server_that_is_not_there_leaves_it_open() -> None:
    provider = OllamaProvider(Settings(environment={"OLLAMA_BASE_URL": "http://127.0.0.1:9"}))
    assert provider.is_loaded("gemma4", SECONDS) is None
    assert asyncio.run(provider.ais_loaded("gemma4", SECONDS)) is None
    provider.close()


# ---- what a timeout says ----


def test_a_timeout_while_the_model_is_loaded_says_so_and_how_to_load_it_beforehand(
    ask: Ask, patience: None, sandbox: Sandbox, provider: OllamaProvider
) -> None:
    sandbox.ollama.next(faults.black_hole())
    with pytest.raises(Timeout) as caught:
        ask(provider, replace(REQUEST, options={"ollama": {"num_ctx": 8192, "think": False}}))
    chat, loaded = sandbox.ollama.requests
    assert (chat.path, loaded.path) == ("/api/chat", "/api/ps")
    told = caught.value.message
    assert told.startswith("llama3.2 was not loaded within 10 s, and loading it stops when its request is given up")
    command, _, body = told.partition(f"curl {sandbox.ollama.url}/api/chat -d '")
    assert command
    loading = {"model": "llama3.2", "shift": False, "keep_alive": "1h", "options": {"num_ctx": 8192}}
    assert json.loads(body.removesuffix("'")) == loading
    assert (caught.value.provider, caught.value.model) == ("ollama", "llama3.2")


def test_a_timeout_of_a_model_that_is_in_memory_says_nothing_of_loading(
    ask: Ask, patience: None, sandbox: Sandbox, provider: OllamaProvider
) -> None:
    sandbox.ollama.next(faults.black_hole())
    with pytest.raises(Timeout) as caught:
        ask(provider, replace(REQUEST, model="gemma4"))
    assert [request.path for request in sandbox.ollama.requests] == ["/api/chat", "/api/ps"]
    assert "load" not in caught.value.message


def test_a_server_that_says_nothing_at_all_is_a_plain_timeout(
    ask: Ask, sandbox: Sandbox, provider: OllamaProvider
) -> None:
    sandbox.ollama.always(faults.black_hole())
    with pytest.raises(Timeout) as caught:
        ask(provider, replace(REQUEST, timeout=1))
    assert "load" not in caught.value.message


def test_an_answer_that_began_is_not_asked_about(ask: Ask, sandbox: Sandbox, provider: OllamaProvider) -> None:
    sandbox.ollama.next(faults.stall())
    with pytest.raises(Timeout):
        ask(provider, replace(REQUEST, timeout=0.5))
    assert [request.path for request in sandbox.ollama.requests] == ["/api/chat"]


def test_what_loads_a_model_has_the_settings_of_the_request_that_it_is_loaded_for(
    sandbox: Sandbox, provider: OllamaProvider
) -> None:
    options = {"shift": True, "options": {"num_ctx": 8192, "top_k": 5}, "num_gpu": 0}
    body, _ = request_body(replace(REQUEST, options={"ollama": options}, max_tokens=5), "llama3.2")
    loading = loading_body(body)
    assert loading["options"] == {"num_ctx": 8192, "num_gpu": 0}
    assert (loading["model"], loading["shift"]) == ("llama3.2", True)
    plain, _ = request_body(REQUEST, "llama3.2")
    assert loading_body(plain) == {"model": "llama3.2", "shift": False, "keep_alive": "1h"}


# ---- the list ----


def test_the_models_that_were_pulled_are_listed(sandbox: Sandbox, provider: OllamaProvider) -> None:
    assert provider.list_models() == ("gemma4:latest", "qwen3.6:latest", "gpt-oss:20b")
    [request] = sandbox.ollama.requests
    assert (request.method, request.path, request.json) == ("GET", "/api/tags", None)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.server_error(), ServerError),
        (faults.html_page(), MalformedResponse),
        (faults.null_object(), MalformedResponse),
        (faults.status(200, {"models": [{"model": "x"}]}), MalformedResponse),
        (faults.refuse(), ConnectionFailed),
        (faults.black_hole(), Timeout),
    ],
    ids=str,
)
def test_a_list_that_does_not_come_is_a_typed_failure(
    fault: Any, kind: type[Exception], sandbox: Sandbox, provider: OllamaProvider
) -> None:
    sandbox.ollama.always(fault)
    with pytest.raises(kind) as caught:
        provider.list_models(timeout=1)
    assert getattr(caught.value, "provider", None) == "ollama"
