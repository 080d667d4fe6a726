"""Behind gunicorn and uvicorn: workers that fork, threads, restarts, a worker that is killed (`nox -s processes`)."""

import os
import signal
from itertools import combinations
from pathlib import Path

import pytest
from serving import UNWANTED, Crowd, Server, sockets_to

pytest.importorskip("gunicorn", reason="expected gunicorn, which `nox -s processes` installs")
pytest.importorskip("uvicorn", reason="expected uvicorn, which `nox -s processes` installs")
pytestmark = pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="sockets are looked up in /proc")

NAMES = ["openai", "claude"]
WORKERS = 3
ALL_BOOT, ALL_START = (f"(?s)({words}.*){{{WORKERS}}}" for words in ("Booting worker", "startup complete"))


def served(sandbox, lane, policy, when):
    lanes = {f"{name.upper()}_TRANSPORT": lane for name in NAMES}
    return {"names": NAMES, "settings": {**sandbox.environment(), **lanes}, "policy": policy, "when": when}


def check_that_no_socket_is_shared(server, sandbox, workers):
    ports = {sandbox[name].port for name in NAMES}
    held = {pid: sockets_to(pid, ports) for pid in (server.process.pid, *workers)}
    shared = {(one, other): held[one] & held[other] for one, other in combinations(held, 2)}
    assert {pair: sockets for pair, sockets in shared.items() if sockets} == {}
    return held


def check_the_answers(crowd):
    assert crowd.wrong == []
    assert len(crowd.answers) == crowd.expected


@pytest.mark.parametrize("lane", ["sdk", "http"])
@pytest.mark.parametrize("policy", ["plain", "timed"])
@pytest.mark.parametrize("when", ["import", "request"])
@pytest.mark.parametrize("kind", [["sync"], ["gthread", "--threads", "4"]], ids=["sync", "gthread"])
def test_gunicorn_answers_through_kills_and_restarts(kind, when, policy, lane, sandbox):
    preload = ["--preload"] if when == "import" else []
    bind = ["--bind", "127.0.0.1:0", "--workers", str(WORKERS), "--graceful-timeout", "20", "--no-control-socket"]
    command = ["gunicorn", *bind, "--worker-class", *kind, *preload, "apps:app"]
    with Server(command, served(sandbox, lane, policy, when)) as server:
        with Crowd(server, NAMES) as crowd:
            crowd.wait_for(crowd.expected // 2)
        check_the_answers(crowd)
        assert crowd.lost == 0
        workers = server.workers()
        held = check_that_no_socket_is_shared(server, sandbox, workers)
        assert bool(held[server.process.pid]) == (when == "import")
        assert any(held[pid] for pid in workers)

        with Crowd(server, NAMES) as crowd:
            crowd.wait_for(crowd.expected // 4)
            place = len(server.log)
            os.kill(min(workers), signal.SIGKILL)
            server.wait_for_line(r"Booting worker", after=place)
        check_the_answers(crowd)
        check_that_no_socket_is_shared(server, sandbox, server.workers())

        with Crowd(server, NAMES) as crowd:
            crowd.wait_for(crowd.expected // 4)
            place = len(server.log)
            server.process.send_signal(signal.SIGHUP)
            server.wait_for_line(ALL_BOOT, after=place)
        check_the_answers(crowd)
        check_that_no_socket_is_shared(server, sandbox, server.workers())
        assert server.end() == 0
        assert [word for word in UNWANTED if word in server.log] == [], server.log


@pytest.mark.parametrize("lane", ["sdk", "http"])
@pytest.mark.parametrize("policy", ["plain", "timed"])
def test_uvicorn_answers_through_kills_and_restarts(policy, lane, sandbox):
    many = ["--workers", str(WORKERS), "--timeout-worker-healthcheck", "20"]
    command = ["uvicorn", "--host", "127.0.0.1", "--port", "0", *many, "apps:asgi"]
    with Server(command, served(sandbox, lane, policy, "request")) as server:
        server.wait_for_line(ALL_START)
        with Crowd(server, NAMES) as crowd:
            crowd.wait_for(crowd.expected // 2)
        check_the_answers(crowd)
        workers = server.workers()
        held = check_that_no_socket_is_shared(server, sandbox, workers)
        assert any(held[pid] for pid in workers)

        with Crowd(server, NAMES) as crowd:
            crowd.wait_for(crowd.expected // 4)
            place = len(server.log)
            os.kill(min(workers), signal.SIGKILL)
            server.wait_for_line(r"startup complete", after=place)
        check_the_answers(crowd)
        check_that_no_socket_is_shared(server, sandbox, server.workers())

        place = len(server.log)
        with Crowd(server, NAMES) as crowd:
            server.process.send_signal(signal.SIGHUP)
            server.wait_for_line(ALL_START, after=place)
        check_the_answers(crowd)
        assert server.end() == 0
        assert [word for word in UNWANTED if word in server.log] == [], server.log
