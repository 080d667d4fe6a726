"""`understudy demo` and `understudy sandbox`: the stand-ins, watched and in the foreground."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from understudy_sandbox import Sandbox

NOTICE = "stand-ins, no model is asked, no key is used"
pytestmark = pytest.mark.usefixtures("started")  # with the first test; the last ones read it


def test_live_without_a_key_says_which_to_set(here: Any) -> None:
    live, nowhere = here.together(("demo", "--live"), ("demo", "--svg", "no/such/directory.svg"))
    assert "GOOGLE_API_KEY is not set" in live.stderr
    assert "ANTHROPIC_API_KEY is not set" in live.stderr
    assert "found no directory no/such" in nowhere.stderr
    assert [(done.stdout, done.returncode) for done in (live, nowhere)] == [("", 2), ("", 2)]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_sandbox_runs_until_it_is_stopped_and_tells_of_each_request(understudy: Any, stop: signal.Signals) -> None:
    process = understudy.start("sandbox", "--fault", "gemini: status 418", "--always", "claude: overloaded")
    variables: dict[str, str] = {}
    while "ANTHROPIC_BASE_URL" not in variables:
        name, _, value = process.stdout.readline().strip().removeprefix("export ").partition("=")
        variables[name] = value
    for name, path, status in (
        ("GEMINI_BASE_URL", "/v1beta/models?key=secret", 418),
        ("GEMINI_BASE_URL", "/v1beta/models?key=secret", 200),
        ("ANTHROPIC_BASE_URL", "/v1/models", 529),
    ):
        request = urllib.request.Request(variables[name] + path, headers={"x-api-key": "k"})
        assert fetch(request) == status
    process.stderr.readline()
    told = sorted(process.stderr.readline()[10:].rstrip() for _ in range(3))
    process.send_signal(stop)
    assert understudy.finish(process, None).returncode == 0
    assert told == [
        "claude  GET /v1/models  overloaded",
        "gemini  GET /v1beta/models  healthy",
        "gemini  GET /v1beta/models  status code=418",
    ]


def fetch(request: urllib.request.Request) -> int:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_the_sandbox_explains_faults_and_mistakes(here: Any) -> None:
    faults, unknown = here.together(("sandbox", "--faults"), ("sandbox", "--fault", "gemini: rat_limited"))
    assert re.search(r"rate_limited +retry_after=None +Too many requests", faults.stdout)
    assert "did you mean 'rate_limited'?" in unknown.stderr
    assert (faults.returncode, unknown.returncode) == (0, 2)


def test_each_stand_in_has_an_option_for_its_port(understudy: Any, here: Any) -> None:
    names = list(Sandbox().vendors)
    options = re.findall(r"--(\w+)-port", here("sandbox", "--help", COLUMNS="120").stdout)
    assert options == names
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
        ports = dict(zip(names, [one.getsockname()[1] for one in sockets], strict=True))
        taken = here("sandbox", "--ollama-port", str(ports["ollama"]))
    assert (taken.returncode, taken.stdout) == (2, "")
    assert f"cannot listen for Ollama on 127.0.0.1:{ports['ollama']}" in taken.stderr
    asked = [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]
    process = understudy.start("sandbox", *asked)
    told = ""
    while "OLLAMA_HOST" not in told and (line := process.stdout.readline()):
        told += line
    process.send_signal(signal.SIGINT)
    assert understudy.finish(process, None).returncode == 0
    variables = ("GEMINI_BASE_URL", "ANTHROPIC_BASE_URL", "OPENAI_BASE_URL", "COHERE_BASE_URL", "OLLAMA_BASE_URL")
    found = [re.search(rf"{name}=http://127.0.0.1:(\d+)", told) for name in variables]
    assert [int(one[1]) for one in found if one] == list(ports.values())


def test_the_stand_ins_that_are_not_installed_are_in_a_clone(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "understudy_sandbox", None)
    done = here("sandbox")
    assert (done.returncode, done.stderr) == (
        2,
        "error: the stand-ins are not installed: they are in plugins/understudy-sandbox in a clone\n",
    )


@pytest.fixture
def scenes(started: Callable[[], str]) -> list[str]:
    """The demo's text, cut before each scene's title, with single spaces."""
    text = " ".join(started().split())
    return re.split(r" (?=[1-5] [A-Z][\w ]+ ──)", text)


def test_the_demo_says_first_that_no_model_is_asked(scenes: list[str]) -> None:
    assert len(scenes) == 6
    assert NOTICE in scenes[0]


@pytest.mark.parametrize(
    ("number", "lines"),
    [
        (
            1,
            [
                "INFO LLMFactory initialized with primary provider: gemini INFO Using gemini for content generation",
                "gemini answered",
                "the Understudy sandbox standing in for Gemini, not a real model.",
            ],
        ),
        (
            2,
            [
                "stand-in for gemini: rate_limited retry_after=30",
                "WARNING gemini quota exceeded, switching to claude INFO Using claude for content generation",
                "gemini quota exceeded (429)",
                "claude answered",
                "- after gemini: quota exceeded",
                "the Understudy sandbox standing in for Claude, not a real model.",
            ],
        ),
        (
            3,
            [
                "WARNING gemini timeout, retry 1 in 0.5 s WARNING gemini timeout, retry 2 in 1 s "
                "WARNING gemini timeout, switching to claude",
                "0.50 retry 1 of 2 after timeout",
                "1.00 retry 2 of 2 after timeout",
                "the Understudy sandbox standing in for Claude",
            ],
        ),
        (
            4,
            [
                "factory.stream_content(",
                "WARNING gemini connection failed, switching to claude",
                "pieces: This is the Understudy sandbox standing in for Claude",
            ],
        ),
        (
            5,
            [
                "claude overloaded (529)",
                "response.success is False, response.error is: "
                "All LLM providers failed: [gemini: connection failed, claude: overloaded]",
            ],
        ),
    ],
)
def test_each_scene_shows_what_happens(scenes: list[str], number: int, lines: list[str]) -> None:
    assert [line for line in lines if line not in scenes[number]] == []


def test_the_demo_is_recorded_as_text_and_as_a_picture(started: Any) -> None:
    text = [line.rstrip() for line in started().splitlines()]
    recorded = (started.home / "demo.txt").read_text("utf-8").splitlines()
    at_200_columns_too = [line for line in recorded if line in text]
    assert at_200_columns_too == recorded
    picture = (started.home / "demo.svg").read_text("utf-8")
    assert picture.startswith("<svg")
    assert "quota&#160;exceeded,&#160;switching&#160;to&#160;claude" in picture
