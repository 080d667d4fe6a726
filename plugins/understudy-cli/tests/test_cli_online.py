"""`understudy doctor --online`: asks whoever is configured, and nobody without being told to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from understudy_sandbox import Sandbox, faults

ROUTE = {"LLM_PRIMARY_PROVIDER": "gemini", "LLM_FALLBACK_PROVIDERS": "claude:claude-opus-5-5"}


@pytest.fixture
def understudy(here: Any) -> Any:
    """The command in this process: the SDKs are imported once for all tests."""
    return here


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox() as started:
        yield started


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    running.reset()
    return running


def online(done: Any) -> dict[str, list[tuple[str, str, str]]]:
    """Return what was found of each target that was asked, by its name."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for one in json.loads(done.stdout)["checks"]:
        before, _, target = one["about"].partition(" ")
        if before == "online":
            found.setdefault(target, []).append((one["result"], one["what"], one["cure"]))
    return found


def keys_of(sandbox: Sandbox, *names: str) -> dict[str, str]:
    """Return the environment that configures these vendors alone."""
    wanted = tuple(name.upper() for name in names)
    return {name: value for name, value in sandbox.environment().items() if name.startswith((*wanted, "NO_PROXY"))}


def test_no_vendor_is_asked_without_being_told_to(understudy: Any, sandbox: Sandbox) -> None:
    assert understudy("doctor", **ROUTE, **sandbox.environment()).returncode == 0
    assert [stand_in.connection_count for stand_in in sandbox.vendors.values()] == [0] * 5


def test_each_configured_target_is_asked_for_its_models_and_one_answer(understudy: Any, sandbox: Sandbox) -> None:
    environment = keys_of(sandbox, "google", "gemini", "anthropic", "openai")
    done = understudy("doctor", "--online", "--json", **ROUTE, **environment, OLLAMA_HOST="http://127.0.0.1:9")
    found = online(done)
    assert list(found)[:2] == ["gemini", "claude:claude-opus-5-5"]
    assert {"openai", "gemini-legacy", "ollama"} <= set(found)
    assert "echo" not in found
    assert "cohere" not in found  # it has no key
    (result, what, _), *_ = found["gemini"]
    assert result == "ok"
    assert " said 'This is the Understudy sandbox" in what
    assert "tokens in and" in what
    assert "claude-opus-5-5 said" in found["claude:claude-opus-5-5"][0][1]
    assert found["ollama"][0][0] == "warning"  # nobody listens there, and it is not on the route
    assert "did not answer: connection failed" in found["ollama"][0][1]
    assert done.returncode == 0
    answers = [request for request in sandbox.openai.requests if request.method == "POST"]
    assert len(answers) == 1


def test_a_target_on_the_route_that_does_not_answer_is_a_problem(understudy: Any, sandbox: Sandbox) -> None:
    sandbox.claude.always(faults.authentication_failed())
    done = understudy("doctor", "--online", "--json", **ROUTE, **keys_of(sandbox, "google", "gemini", "anthropic"))
    (result, what, cure), *_ = online(done)["claude:claude-opus-5-5"]
    assert (result, done.returncode) == ("problem", 1)
    assert what.startswith("did not answer: authentication failed (401 authentication_error)")
    assert cure.startswith("the vendor does not know this key")
    assert sandbox.claude.request_count <= 2  # its list, and one question: nobody retries here


def test_nobody_configured_is_a_problem_with_a_cure(understudy: Any) -> None:
    done = understudy("doctor", "--online", "--json", LLM_PRIMARY_PROVIDER="macaw", OLLAMA_BASE_URL="nonsense")
    asked = {one["about"]: one["what"] for one in json.loads(done.stdout)["checks"]}
    assert asked["online"] == "no vendor is configured, so none was asked"


def test_a_class_without_a_list_of_models_is_asked_for_an_answer_alone(understudy: Any) -> None:
    done = understudy("doctor", "--online", "--json", LLM_PRIMARY_PROVIDER="parrot", PARROT_API_KEY="no-secret-000000")
    (result, what, _), *rest = online(done)["parrot"]
    assert (result, rest) == ("ok", [])
    assert what.startswith("parrot-2 said 'parrot heard: Reply with the one word: ")
    assert "2 tokens in and 3 out" in what
