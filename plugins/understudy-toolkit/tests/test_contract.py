"""The contract over providers that keep it, its guard, and the package where pytest is missing."""

from __future__ import annotations

import http.client
import json
import runpy
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from understudy_toolkit.conformance import ContractSetup, FaultServer, ProviderContract, Reply, overrides
from understudy_toolkit.conformance.asking import becomes, unclosed

run = runpy.run_path(str(Path(__file__).parent / "contract" / "running.py"))["run"]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run("good.py", tmp_path_factory.mktemp("good"))


@pytest.mark.parametrize("name", ["TestParrot", "TestMynah", "TestPlayer"])
def test_good_providers_keep_every_rule(name: str, good: Any) -> None:
    results = good[0][name]
    assert {test for test, outcome in results.items() if outcome == "failed"} == set()
    assert {test.partition("[")[0] for test in results} == set(ProviderContract.standard)


def test_only_what_does_not_apply_is_skipped(good: Any) -> None:
    skipped = {test.partition("[")[0] for test, outcome in good[0]["TestParrot"].items() if outcome == "skipped"}
    assert skipped == {  # it takes everything, and opens a connection for each call
        "test_what_it_does_not_take_is_not_asked_of_it",
        "test_one_connection_serves_many_calls",
    }


def test_the_end_of_the_run_counts_the_skips_and_tells_what_is_overridden(good: Any) -> None:
    outcomes = list(good[0]["TestParrot"].values())
    assert f"parrot: {outcomes.count('passed')} passed, 0 failed, 2 skipped" in good[1]
    assert "  1 skipped: every capability is on" in good[1]
    assert "  test_its_three_methods_are_there is overridden: to see that it can be done" in good[1]


def test_an_override_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="a sentence that says why"):
        overrides(reason=" ")


def test_a_rule_that_is_taken_away_or_replaced_by_a_base_fails_too() -> None:
    class Mixin:
        def test_usage_is_counted(self) -> None: ...

    class Taken(Mixin, ProviderContract):
        name = "taken"
        test_deltas_joined_are_the_text = None

    class Inherited(Taken):
        @overrides(reason="the vendor counts elsewhere")
        def test_usage_is_counted(self) -> None: ...

    for rule in ("test_usage_is_counted", "test_deltas_joined_are_the_text"):
        with pytest.raises(AssertionError, match=f"expected Taken to leave {rule} as the contract has it"):
            getattr(Taken(), rule)()
    Inherited().test_usage_is_counted()
    with pytest.raises(AssertionError, match="expected Taken to leave"):
        getattr(Inherited(), "test_deltas_joined_are_the_text")()  # noqa: B009  # it is None for a type checker


def test_a_class_may_have_tests_and_helpers_of_its_own() -> None:
    class Extended(ProviderContract):
        name = "extended"

        def fault(self, kind: str) -> None: ...

        def test_of_its_own(self) -> str:
            return "ran"

    assert Extended().test_of_its_own() == "ran"


def test_without_pytest_the_package_imports_and_the_contract_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['pytest'] = None\n"
        "import importlib.util; importlib.util.find_spec = lambda name, package=None: None\n"
        "from understudy_toolkit.conformance import FAULTS, FaultServer, Reply, overrides\n"
        "try:\n"
        "    from understudy_toolkit.conformance import ProviderContract\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "understudy_toolkit.conformance.ProviderContract needs pytest, and found none: "
        'pip install "understudy-toolkit[testing]"\n'
    )


def test_a_programs_tests_load_nothing_of_the_contract() -> None:
    program = "import sys; from understudy.testing import no_waiting; print('pytest' in sys.modules, end='')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False"


def test_a_fault_that_nobody_arranges_says_how_to() -> None:
    with pytest.raises(NotImplementedError, match="override fault"):
        ContractSetup().fault("reset")


def test_what_is_never_closed_is_found_and_nothing_else() -> None:
    with unclosed() as left:
        loop = [socket.socket()]
        loop.append(loop)  # type: ignore[arg-type]  # a cycle, which only a collection ends
        del loop
        socket.socket().close()
    assert len(left) == 1
    assert "unclosed <socket" in left[0]


def test_the_fault_server_replays_counts_and_reads_chunked_requests() -> None:
    with FaultServer(lambda request: Reply({"heard": request.json, "path": request.path})) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)
        for _ in range(2):  # one connection for both
            connection.request("POST", "/a?b=c", iter([b'{"x": ', b"1}"]), encode_chunked=True)
            assert json.load(connection.getresponse()) == {"heard": {"x": 1}, "path": "/a?b=c"}
        assert (len(server.requests), server.open_connections) == (2, 1)
        connection.close()
        assert becomes(lambda: server.open_connections == 0)
        assert "Authorization" not in repr(server.requests)


def test_the_fault_server_refuses_and_leaves_nobody_waiting() -> None:
    with FaultServer(lambda request: Reply("never")) as server:
        server.fault = "black_hole"
        waiting = socket.create_connection(("127.0.0.1", server.port), 5)
        waiting.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert becomes(lambda: len(server.requests) == 1)
        server.refuse()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), 5)
    assert waiting.recv(1) == b""
    waiting.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "FaultServer"]
