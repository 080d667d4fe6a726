"""Which request meets which fault, what is counted, and the three ways to ask: object, header, HTTP control."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from understudy_sandbox import Sandbox, StandIn, faults

BODY = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


class Caller:
    """A keep-alive connection to a stand-in."""

    def __init__(self, stand_in: StandIn) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", stand_in.port, timeout=60)

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def send(self, method: str = "POST", path: str = "/v1/messages", body: Any = BODY, **headers: str) -> Any:
        """Return the status and the parsed body."""
        all_headers = {"x-api-key": "secret-key", "anthropic-version": "2023-06-01", **headers}
        self.connection.request(method, path, json.dumps(body), all_headers)
        response = self.connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if content else None

    def status(self, **headers: str) -> int:
        status: int = self.send(**headers)[0]
        return status


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited 60 s in vain"
        time.sleep(0.005)


@pytest.fixture
def own_sandbox() -> Iterator[Sandbox]:
    """A sandbox with no other test's connections."""
    with Sandbox() as sandbox:
        yield sandbox


def test_script_then_standing_fault_then_healthy(sandbox: Sandbox) -> None:
    claude = sandbox.claude
    claude.always(faults.overloaded())
    claude.next(faults.status(418), None, times=2)
    with Caller(claude) as caller:
        assert [caller.status() for _ in range(6)] == [418, 200, 418, 200, 529, 529]
        claude.heal()
        assert caller.status() == 200
    assert [request.fault for request in claude.requests] == [
        *("status code=418", None, "status code=418", None, "overloaded", "overloaded", None)
    ]
    assert [request.number for request in claude.requests] == [1, 2, 3, 4, 5, 6, 7]
    assert claude.connection_count == 1


def test_stand_ins_do_not_share_anything(sandbox: Sandbox) -> None:
    sandbox.gemini.always(faults.reset())
    with Caller(sandbox.claude) as caller:
        assert caller.status() == 200
    assert (sandbox.claude.request_count, sandbox.gemini.request_count) == (1, 0)


def test_reset_forgets_and_heal_keeps(sandbox: Sandbox) -> None:
    claude = sandbox.claude
    with Caller(claude) as caller:
        caller.send()
        claude.next(faults.overloaded())
        claude.reply("kept")
        claude.heal()
        assert claude.request_count == 1
        assert caller.send()[1]["content"][0]["text"] == "kept"
        claude.reply("forgotten")
        claude.next(faults.overloaded())
        claude.reset()
        assert (claude.request_count, claude.connection_count, claude.requests) == (0, 0, ())
        assert "forgotten" not in caller.send()[1]["content"][0]["text"]
        assert claude.requests[0].number == 1


def test_header_goes_first_and_leaves_the_script(sandbox: Sandbox) -> None:
    sandbox.claude.next(faults.overloaded())
    with Caller(sandbox.claude) as caller:
        assert caller.status(**{"X-Sandbox-Fault": "status 418"}) == 418
        assert caller.status() == 529


def test_header_that_is_no_fault_says_so_and_is_not_counted(sandbox: Sandbox) -> None:
    with Caller(sandbox.claude) as caller:
        status, body = caller.send(**{"x-sandbox-fault": "nonsense"})
        assert status == 400
        assert "x-sandbox-fault: unknown fault 'nonsense'" in body["error"]["message"]
        assert caller.status(**{"x-sandbox-fault": "refuse"}) == 400
    assert sandbox.claude.request_count == 0


def test_control_over_http(sandbox: Sandbox) -> None:
    claude = sandbox.claude
    with Caller(claude) as control, Caller(claude) as caller:
        status, body = control.send(path="/_sandbox/next", body={"fault": "status 418", "times": 2})
        assert (status, body["provider"], body["requests"]) == (200, "claude", 0)
        control.send(path="/_sandbox/always", body={"fault": "overloaded"})
        assert [caller.status() for _ in range(3)] == [418, 418, 529]
        control.send(path="/_sandbox/heal")
        control.send(path="/_sandbox/reply", body={"reply": "said over HTTP"})
        assert caller.send()[1]["content"][0]["text"] == "said over HTTP"
        _, seen = control.send("GET", "/_sandbox/requests")
        assert [one["fault"] for one in seen["requests"]] == ["status code=418", "status code=418", "overloaded", None]
        assert seen["requests"][0]["json"] == BODY
        assert seen["requests"][0]["headers"]["x-api-key"] == "[hidden]"
        assert "secret-key" not in json.dumps(seen)
        assert (claude.request_count, claude.connection_count) == (4, 1)
        control.send(path="/_sandbox/reset")
        assert claude.request_count == 0


@pytest.mark.parametrize(
    ("path", "body", "complaint"),
    [
        ("/next", {"fault": "nonsense"}, "unknown fault 'nonsense'"),
        ("/next", {}, 'expected a body like {"fault"'),
        ("/next", {"fault": "reset", "times": 0}, "times must be a whole number"),
        ("/always", {"fault": "refuse"}, "give it an end"),
        ("/reply", {"reply": 5}, 'expected a body like {"reply"'),
        ("/elsewhere", {}, "there is no POST /_sandbox/elsewhere"),
    ],
)
def test_control_says_what_was_wrong(sandbox: Sandbox, path: str, body: Any, complaint: str) -> None:
    with Caller(sandbox.claude) as control:
        status, answer = control.send(path=f"/_sandbox{path}", body=body)
    assert status == 400
    assert complaint in answer["error"]["message"]


def test_connections_are_counted_and_seen_to_go(own_sandbox: Sandbox) -> None:
    claude = own_sandbox.claude
    with Caller(claude) as one, Caller(claude) as two:
        one.send()
        one.send()
        two.send()
        assert (claude.connection_count, claude.open_connections, claude.request_count) == (2, 2, 3)
    wait_for(lambda: claude.open_connections == 0)
    assert claude.connection_count == 2


def test_silence_ends_when_the_client_goes_away(own_sandbox: Sandbox) -> None:
    claude = own_sandbox.claude
    claude.next(faults.black_hole(), faults.stall(), faults.slow_first_token(60))
    for _ in range(3):
        with Caller(claude) as caller:
            caller.connection.request("POST", "/v1/messages", json.dumps(BODY), {"x-api-key": "k"})
            wait_for(lambda: claude.open_connections == 1)
        wait_for(lambda: claude.open_connections == 0)


def test_refusal_takes_its_turn_and_ends_by_itself(sandbox: Sandbox) -> None:
    claude = sandbox.claude
    with Caller(claude) as caller:
        assert caller.status() == 200
        claude.next(faults.status(418), faults.refuse(seconds=0.2), faults.overloaded())
        assert caller.status() == 418
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", claude.port), timeout=60)
        wait_for(lambda: reachable(claude.port))
    with Caller(claude) as caller:
        assert caller.status() == 529
    assert claude.request_count == 3


def reachable(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    except ConnectionRefusedError:
        return False
    return True


def test_refusal_keeps_its_port_and_can_be_repeated(sandbox: Sandbox) -> None:
    claude = sandbox.claude
    port = claude.port
    for _ in range(5):
        claude.always(faults.refuse())
        assert not reachable(port)
        with socket.socket() as thief, pytest.raises(OSError, match="in use"):
            thief.bind(("127.0.0.1", port))
        claude.heal()
        assert reachable(port)
    claude.next(faults.refuse(seconds=0.05), times=2)
    assert not reachable(port)
    wait_for(lambda: reachable(port))
    claude.always(faults.refuse(seconds=0.05))
    wait_for(lambda: reachable(port))


def test_many_threads_each_meet_one_fault(sandbox: Sandbox) -> None:
    claude = sandbox.claude
    claude.next(faults.status(418), faults.overloaded(), None, times=40)
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen = claude.requests
            assert [request.number for request in seen] == list(range(1, len(seen) + 1))
            time.sleep(0.005)

    def work(_: int) -> list[int]:
        with Caller(claude) as caller:
            return [caller.status() for _ in range(15)]

    with ThreadPoolExecutor(9) as pool:
        watcher = pool.submit(look)
        seen = [status for statuses in pool.map(work, range(8)) for status in statuses]
        stop.set()
        watcher.result()
    assert {status: seen.count(status) for status in seen} == {418: 40, 529: 40, 200: 40}
    assert claude.connection_count == 8
    assert [request.number for request in claude.requests] == list(range(1, 121))


def test_faults_can_be_added_from_many_threads_while_it_serves(sandbox: Sandbox) -> None:
    claude = sandbox.claude
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: claude.next(faults.overloaded()), range(40)))
    with Caller(claude) as caller:
        assert [caller.status() for _ in range(41)] == [529] * 40 + [200]


def test_head_and_expect_continue_and_nonsense_do_no_harm(sandbox: Sandbox) -> None:
    claude = sandbox.claude
    with Caller(claude) as caller:
        assert caller.send("HEAD")[0] == 405
        assert caller.status() == 200
    with socket.create_connection(("127.0.0.1", claude.port), timeout=60) as raw:
        raw.sendall(b"\x16\x03\x01 not HTTP at all\r\n\r\n")
        assert raw.recv(100) == b""
    payload = json.dumps(BODY).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {len(payload)}"
    with socket.create_connection(("127.0.0.1", claude.port), timeout=60) as raw:
        raw.sendall(head.encode() + b"\r\nx-api-key: k\r\nanthropic-version: 2023-06-01\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 100")
        raw.sendall(payload)
        assert raw.recv(100).startswith(b"HTTP/1.1 200")
    assert claude.request_count == 3


def test_a_body_that_nobody_foresaw_is_complained_about(sandbox: Sandbox) -> None:
    with Caller(sandbox.claude) as caller:
        status, body = caller.send(body={**BODY, "tools": 5})
        assert status == 500
        assert "cannot make sense of this request" in body["error"]["message"]
        assert caller.status() == 200


def test_http_1_0_and_connection_close(sandbox: Sandbox) -> None:
    for head in (b"GET /v1/models HTTP/1.0", b"GET //[x HTTP/1.1\r\nhost: x\r\nconnection: close"):
        with socket.create_connection(("127.0.0.1", sandbox.claude.port), timeout=60) as raw:
            raw.sendall(head + b"\r\nx-api-key: k\r\n\r\n")
            received = b"".join(iter(lambda: raw.recv(9999), b""))
        assert received.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404"))


def test_what_is_no_fault_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="times must be at least 1; found 0"):
        sandbox.claude.next(faults.reset(), times=0)
    with pytest.raises(TypeError, match=r"expected a fault like faults.reset\(\)"):
        sandbox.claude.next("reset")  # type: ignore[arg-type] # the mistake that is tested
    with pytest.raises(TypeError, match="found <function reset"):
        sandbox.claude.always(faults.reset)  # type: ignore[arg-type] # the mistake that is tested


def test_hanging_up_ends_connections_and_goes_on_listening(sandbox: Sandbox) -> None:
    with Caller(sandbox.claude) as caller:
        assert caller.status() == 200
        assert sandbox.claude.open_connections == 1
        sandbox.claude.hang_up()
        assert sandbox.claude.open_connections == 0
    with Caller(sandbox.claude) as caller:
        assert caller.status() == 200
    assert sandbox.claude.connection_count == 2
