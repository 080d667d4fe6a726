"""Starting and stopping: nothing stays behind, whatever was going on; fixtures and imports cost nothing unused."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from understudy_sandbox import Sandbox, faults
from understudy_sandbox.fixtures import SCRUBBED


def run(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def sockets() -> int:
    return sum(1 for one in Path("/proc/self/fd").iterdir() if os.path.islink(one) and "socket:" in os.readlink(one))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts sockets in /proc, which this system has not")
def test_twenty_starts_and_stops_leave_nothing() -> None:
    before, threads = sockets(), threading.active_count()
    for _ in range(20):
        with Sandbox() as sandbox:
            socket.create_connection(("127.0.0.1", sandbox.gemini.port), timeout=60).close()
        assert threading.active_count() == threads
    assert sockets() <= before  # fewer: the shared sandbox has meanwhile seen that an earlier test's client is gone


def test_close_ends_what_is_going_on() -> None:
    started = time.monotonic()
    with Sandbox() as sandbox:
        sandbox.claude.next(faults.black_hole(), faults.huge(megabytes=20))
        sandbox.gemini.always(faults.refuse())
        request = b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-api-key: k\r\nanthropic-version: 1\r\n\r\n"
        clients = [socket.create_connection(("127.0.0.1", sandbox.claude.port), timeout=60) for _ in range(3)]
        for number, client in enumerate(clients[:2], start=1):
            client.sendall(request)
            while sandbox.claude.request_count < number:
                time.sleep(0.002)
    for client in clients:
        client.close()
    assert time.monotonic() - started < 30  # the black hole is one for a minute


def test_nothing_is_left_to_warn_about() -> None:
    done = run(
        "import http.client, threading\n"
        "from understudy_sandbox import Sandbox, faults\n"
        "with Sandbox() as sandbox:\n"
        "    sandbox.claude.always(faults.stall(after=0))\n"
        "    caller = http.client.HTTPConnection('127.0.0.1', sandbox.claude.port, timeout=60)\n"
        "    caller.request('GET', '/v1/models', headers={'x-api-key': 'k', 'anthropic-version': '1'})\n"
        "    response = caller.getresponse()\n"
        "response.close(); caller.close()\n"
        "print([thread.name for thread in threading.enumerate()])\n"
    )
    assert (done.stderr, done.stdout) == ("", "['MainThread']\n")


def test_start_and_close_can_be_repeated() -> None:
    sandbox = Sandbox()
    with pytest.raises(RuntimeError, match="the sandbox is not running"):
        _ = sandbox.gemini.url
    sandbox.close()
    sandbox.gemini.always(faults.refuse())
    assert sandbox.start() is sandbox.start()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", sandbox.gemini.port), timeout=60)
    sandbox.close()
    sandbox.close()
    assert sandbox.gemini.open_connections == 0
    with sandbox:
        assert sandbox["gemini"] is sandbox.gemini is sandbox.vendors["gemini"]


def test_ports_can_be_chosen_and_a_taken_one_is_named() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.listen()
        with pytest.raises(OSError, match=f"cannot listen for Claude on 127.0.0.1:{port}"):
            Sandbox(claude_port=port).start()
    with Sandbox(claude_port=port) as sandbox:
        assert sandbox.claude.url == f"http://127.0.0.1:{port}"
    with pytest.raises(TypeError, match="takes no 'cloud_port'; expected gemini_port, claude_port, openai_port"):
        Sandbox(cloud_port=1)
    with pytest.raises(KeyError, match="no stand-in for 'palm'; there are: gemini, claude, openai, cohere, ollama"):
        sandbox["palm"]


def test_environment_points_at_the_stand_ins(
    sandbox: Sandbox, sandbox_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sandbox_environment == sandbox.environment()
    assert os.environ["ANTHROPIC_BASE_URL"] == sandbox.claude.url
    assert os.environ["GEMINI_BASE_URL"] == os.environ["VERTEX_BASE_URL"] == sandbox.gemini.url
    assert os.environ["GOOGLE_API_KEY"] == os.environ["ANTHROPIC_API_KEY"] == "sandbox-key"
    assert os.environ["OPENAI_BASE_URL"] == f"{sandbox.openai.url}/v1"
    assert os.environ["COHERE_BASE_URL"] == os.environ["CO_API_URL"] == sandbox.cohere.url
    assert os.environ["COHERE_API_KEY"] == os.environ["CO_API_KEY"] == os.environ["OPENAI_API_KEY"] == "sandbox-key"
    assert os.environ["OLLAMA_BASE_URL"] == os.environ["OLLAMA_HOST"] == sandbox.ollama.url
    assert os.environ["NO_PROXY"] == "127.0.0.1"
    assert [name for name in SCRUBBED if name in os.environ and name not in sandbox_environment] == []


def test_unused_it_loads_nothing() -> None:
    done = run(
        "import sys, understudy_sandbox.fixtures\n"
        "print([name for name in ('h11', 'understudy_sandbox.server', 'anthropic', 'google.genai', 'understudy') "
        "if name in sys.modules])\n"
        "from understudy_sandbox import Sandbox, faults, Fault, StandIn, RecordedRequest\n"
        "print([name for name in ('anthropic', 'google.genai', 'understudy') if name in sys.modules])\n"
    )
    assert (done.stdout, done.stderr) == ("[]\n[]\n", "")
