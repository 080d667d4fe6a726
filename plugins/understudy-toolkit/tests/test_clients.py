"""The life of clients: made once, one for each event loop, closed with it, and made again after closing."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from understudy_toolkit.clients import Clients, is_this_machine


class Workshop:
    """Makes clients that remember what became of them."""

    def __init__(self):
        self.prepared = 0
        self.prepared_on_loop = False
        self.made = []
        self.closed = []
        self.clients = Clients(
            prepare=self.prepare,
            open=lambda: self.make("sync"),
            close=self.closed.append,
            open_async=lambda: self.make("async"),
            close_async=self.aclose,
        )

    def prepare(self):
        self.prepared += 1
        try:
            asyncio.get_running_loop()
            self.prepared_on_loop = True
        except RuntimeError:
            pass
        time.sleep(0.01)

    def make(self, kind):
        client = f"{kind} {len(self.made)}"
        self.made.append(client)
        return client

    async def aclose(self, client):
        await asyncio.sleep(0)
        self.closed.append(client)


@pytest.fixture
def workshop():
    return Workshop()


def test_nothing_is_made_before_it_is_needed(workshop):
    workshop.clients.close()
    assert (workshop.prepared, workshop.made, workshop.closed) == (0, [], [])


def test_one_sync_client_for_all_threads(workshop):
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: workshop.clients.get(), range(50))) == {"sync 0"}
    assert workshop.prepared == 1
    workshop.clients.close()
    workshop.clients.close()
    assert workshop.closed == ["sync 0"]
    assert workshop.clients.get() == "sync 1"


def test_each_loop_has_its_own_client_which_ends_with_it(workshop):
    async def use():
        return set(await asyncio.gather(*(workshop.clients.aget() for _ in range(5))))

    assert asyncio.run(use()) == {"async 0"}
    assert workshop.closed == ["async 0"]
    assert asyncio.run(use()) == {"async 1"}
    assert workshop.closed == ["async 0", "async 1"]
    assert (workshop.prepared, workshop.prepared_on_loop) == (1, False)
    assert workshop.clients._of_loops == {}  # nothing of an ended loop is kept


def test_aclose_closes_this_loops_client_and_the_sync_one(workshop):
    async def use():
        workshop.clients.get()
        await workshop.clients.aget()
        await workshop.clients.aclose()
        assert workshop.closed == ["async 1", "sync 0"]
        return await workshop.clients.aget()

    assert asyncio.run(use()) == "async 2"
    assert workshop.closed[-1] == "async 2"


def test_close_reaches_idle_and_busy_loops(workshop):
    idle, busy = asyncio.new_event_loop(), asyncio.new_event_loop()
    idle.run_until_complete(workshop.clients.aget())
    thread = threading.Thread(target=busy.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(workshop.clients.aget(), busy).result(5)
    workshop.clients.close()
    assert "async 0" in workshop.closed
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0.02), busy).result(5)
    assert sorted(workshop.closed) == ["async 0", "async 1"]
    busy.call_soon_threadsafe(busy.stop)
    thread.join(5)
    idle.close()
    busy.close()


def test_clients_of_loops_closed_by_hand_are_let_go_of_with_the_next_call(workshop):
    for next_call in (
        workshop.clients.get,
        workshop.clients.close,
        workshop.clients.sweep,
        lambda: asyncio.run(workshop.clients.aget()),
    ):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(workshop.clients.aget())
        loop.close()
        assert list(workshop.clients._of_loops) == [loop]
        next_call()
        assert workshop.clients._of_loops == {}


def test_neither_preparing_nor_opening_holds_up_what_closes(workshop):
    for name in ("_prepare", "_open"):
        begun, gate = threading.Event(), threading.Event()
        done = getattr(workshop.clients, name)
        setattr(
            workshop.clients, name, lambda begun=begun, gate=gate, done=done: (begun.set(), gate.wait(20), done())[2]
        )
        thread = threading.Thread(target=workshop.clients.get)
        thread.start()
        assert begun.wait(20)
        asyncio.run(workshop.clients.aclose())
        assert not gate.is_set()
        gate.set()
        thread.join(20)
        workshop.clients.close()


def test_without_an_event_loop_aclose_closes_as_close_does(workshop):
    workshop.clients.get()
    with pytest.raises(StopIteration):  # it waits for nothing: under another library than asyncio it ends as well
        workshop.clients.aclose().send(None)
    assert workshop.closed == ["sync 0"]


def test_a_failed_preparation_is_tried_again():
    workshop = Workshop()
    errors = [ImportError("no SDK"), None]

    def prepare():
        error = errors.pop(0)
        if error:
            raise error

    workshop.clients._prepare = prepare
    with pytest.raises(ImportError):
        workshop.clients.get()
    assert workshop.clients.get() == "sync 0"


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:80", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:80/x", True),
        ("http://localhost", True),
        ("https://api.localhost", True),
        ("https://api.anthropic.com", False),
        ("http://10.0.0.1", False),
        ("http://localhost.example", False),
    ],
)
def test_this_machine(url, here):
    assert is_this_machine(url) is here
