"""What is known beforehand of how long an answer may take: thinking, loading, and where the answer is made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from understudy import Message, Request, Settings, TextDelta
from understudy.errors import InvalidRequest, ModelNotFound, Timeout
from understudy.provider import Pace
from understudy.response import Heartbeat
from understudy_ollama import OllamaProvider
from understudy_ollama.memory import LOADING, MARGIN, Memory, seconds_of
from understudy_ollama.models import KEPT
from understudy_ollama.streaming import StreamReader
from understudy_sandbox import faults

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

Ask = Callable[[OllamaProvider, Request], Any]

ALIVE = Heartbeat()
ASKED = Request(messages=(Message.user("Hello"),), model="llama3.2")
SECONDS = 5.0


def _at(url: str = "http://127.0.0.1:11434") -> OllamaProvider:
    return OllamaProvider(Settings(environment={"OLLAMA_BASE_URL": url}))


def _with(request: Request, **options: Any) -> Request:
    return replace(request, options={"ollama": options})


# ---- heartbeats ----


@pytest.mark.parametrize(
    ("chunk", "told"),
    [
        ({"message": {"role": "assistant", "content": ""}, "done": False}, [ALIVE]),
        ({"message": {"content": "", "thinking": ""}, "done": False}, [ALIVE]),
        ({"message": {"content": "", "tool_calls": []}, "done": False, "logprobs": [{"token": "x"}]}, [ALIVE]),
        ({"message": {"content": "Hi"}, "done": False}, [TextDelta("Hi")]),
        ({"message": {"content": ""}, "done": True}, []),
    ],
    ids=str,
)
def test_a_line_is_a_heartbeat_where_it_brings_nothing(chunk: Any, told: list[Any]) -> None:
    assert list(StreamReader({}, ASKED).feed(chunk)) == told


# ---- thinking, and where ----


@pytest.mark.parametrize(
    ("model", "options", "thinks"),
    [
        ("gemma4", {}, True),
        ("gemma4", {"think": False}, False),
        ("llama3.2", {}, False),
        ("gpt-oss", {}, False),  # a short answer is asked for with little thinking
        ("gpt-oss", {"think": "high"}, True),
        ("gpt-oss", {"think": "low"}, False),
    ],
)
def test_the_pace_tells_thinking(model: str, options: dict[str, Any], thinks: bool) -> None:
    asked = _with(replace(ASKED, model=model, max_tokens=1024), **options)
    assert _at().pace(asked) == Pace(thinks=thinks, loading=LOADING, local=True)


@pytest.mark.parametrize(
    ("url", "model", "loading", "local"),
    [
        ("http://127.0.0.1:11434", "llama3.2", LOADING, True),
        ("http://localhost:11434", "llama3.2", LOADING, True),
        ("http://[::1]:11434", "llama3.2", LOADING, True),
        ("http://192.168.1.5:11434", "llama3.2", LOADING, False),
        ("http://127.0.0.1:11434", "gpt-oss:120b-cloud", 0.0, False),
        ("https://ollama.com", "gpt-oss:120b", 0.0, False),
    ],
)
def test_the_pace_tells_where_the_answer_is_made(url: str, model: str, loading: float, local: bool) -> None:
    asked = _with(replace(ASKED, model=model), think=False)
    pace = _at(url).pace(asked)
    assert (pace.loading, pace.local, pace.heartbeat) == (loading, local, None)


# ---- loading ----


class Clock:
    """A clock that stands still until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("keep_alive", "seconds"),
    [
        (None, KEPT),
        (60, 60.0),
        (0, 0.0),
        ("0", 0.0),
        (-1, float("inf")),
        ("-1m", float("inf")),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("1.5s", 1.5),
        ("500ms", 0.5),
        ("nonsense", KEPT),
        (True, KEPT),
    ],
)
def test_a_time_to_keep_a_model_is_read_as_the_server_reads_it(keep_alive: Any, seconds: float) -> None:
    assert seconds_of(keep_alive) == seconds


def test_a_model_is_in_memory_for_a_while_after_its_last_answer() -> None:
    memory = Memory(clock := Clock())
    assert memory.loading("gemma4", {}) == LOADING
    memory.answered("gemma4", {})
    assert (memory.loading("gemma4", {}), memory.loading("gemma4:latest", {})) == (0.0, 0.0)
    clock.now += KEPT - MARGIN - 1
    assert memory.loading("gemma4", {}) == 0.0
    clock.now += 1
    assert memory.loading("gemma4", {}) == LOADING


def test_a_caller_says_for_how_long_a_model_is_kept() -> None:
    memory = Memory(clock := Clock())
    memory.answered("gemma4", {"keep_alive": -1})
    clock.now += 1e9
    assert memory.loading("gemma4", {}) == 0.0
    memory.answered("gemma4", {"keep_alive": 0})
    assert memory.loading("gemma4", {}) == LOADING


@pytest.mark.parametrize("options", [{"num_ctx": 8192}, {"shift": True}, {"num_gpu": 0}])
def test_other_settings_load_a_model_anew(options: dict[str, Any]) -> None:
    memory = Memory(Clock())
    memory.answered("gemma4", {})
    assert memory.loading("gemma4", {"top_k": 5, "think": False}) == 0.0
    assert memory.loading("gemma4", options) == LOADING


def test_another_model_may_have_taken_the_place() -> None:
    memory = Memory(Clock())
    memory.answered("gemma4", {})
    memory.answered("llama3.2", {})
    assert (memory.loading("gemma4", {}), memory.loading("llama3.2", {})) == (LOADING, 0.0)


def test_an_answer_shows_that_the_model_is_in_memory(ask: Ask, sandbox: Sandbox, provider: OllamaProvider) -> None:
    assert provider.pace(ASKED).loading == LOADING
    ask(provider, ASKED)
    assert provider.pace(ASKED).loading == 0.0
    assert provider.pace(_with(ASKED, options={"num_ctx": 8192})).loading == LOADING
    assert [request.path for request in sandbox.ollama.requests] == ["/api/chat"]  # nobody was asked for the pace


def test_a_stream_that_broke_off_has_shown_it_too(sandbox: Sandbox, provider: OllamaProvider) -> None:
    events = provider.stream(ASKED)
    next(events)
    events.close()  # type: ignore[attr-defined]  # it is a generator
    assert provider.pace(ASKED).loading == 0.0


def test_what_was_refused_has_loaded_nothing(ask: Ask, sandbox: Sandbox, provider: OllamaProvider) -> None:
    sandbox.ollama.next(faults.model_not_found())
    with pytest.raises(ModelNotFound):
        ask(provider, ASKED)
    assert provider.pace(ASKED).loading == LOADING


@pytest.mark.parametrize("on_loop", [False, True])
def test_a_server_that_says_so_is_believed(on_loop: bool, provider: OllamaProvider) -> None:
    provider.generate(ASKED)
    assert provider.pace(ASKED).loading == 0.0
    if on_loop:
        assert asyncio.run(provider.ais_loaded("llama3.2", SECONDS)) is False
    else:
        assert provider.is_loaded("llama3.2", SECONDS) is False
    assert provider.pace(ASKED).loading == LOADING


def test_options_of_another_shape_are_the_calls_to_refuse(provider: OllamaProvider) -> None:
    odd = replace(ASKED, options={"ollama": "fast"})  # type: ignore[dict-item]  # what a caller may pass all the same
    assert provider.pace(odd) == Pace(loading=LOADING, local=True)
    with pytest.raises(InvalidRequest):
        provider.generate(odd)


# ---- through the SDK, with a server that loads ----


def test_a_model_that_is_loaded_first_answers_late_and_whole(
    ask: Ask, sandbox: Sandbox, provider: OllamaProvider
) -> None:
    gemma = replace(ASKED, model="gemma4")
    sandbox.ollama.next(faults.loading(0.05))
    assert provider.is_loaded("gemma4", SECONDS) is False
    assert ask(provider, gemma).content
    assert provider.is_loaded("gemma4", SECONDS) is True


def test_loading_that_is_given_up_begins_anew(ask: Ask, sandbox: Sandbox, provider: OllamaProvider) -> None:
    sandbox.ollama.next(faults.loading(60))
    for _ in range(2):
        with pytest.raises(Timeout):
            ask(provider, replace(ASKED, model="gemma4", timeout=0.5))
    assert provider.pace(replace(ASKED, model="gemma4")).loading == LOADING
    chats = [request.fault for request in sandbox.ollama.requests if request.path == "/api/chat"]
    assert chats == ["loading seconds=60"] * 2
