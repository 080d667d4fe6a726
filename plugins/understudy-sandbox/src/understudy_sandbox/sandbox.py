"""The sandbox as its users see it: starts and stops the servers in a thread of their own, and holds their handles."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeVar

from understudy_sandbox.exchange import RecordedRequest
from understudy_sandbox.faults import Fault
from understudy_sandbox.schedule import Schedule, Scripted
from understudy_sandbox.server import HOST, VendorServer
from understudy_sandbox.vendors import VENDORS, Vendor

T = TypeVar("T")
PATIENCE = 10.0  # seconds that a caller waits for the sandbox's thread before it says that something is wrong


def _check_fault(fault: object) -> None:
    if not isinstance(fault, Fault):
        raise TypeError(f"expected a fault like faults.reset() or faults.parse('reset'); found {fault!r}")


class StandIn:
    """The stand-in for one vendor: where it listens, what it will do, what it has seen. Thread safe."""

    def __init__(self, vendor: Vendor, sandbox: Sandbox, port: int) -> None:
        self._vendor = vendor
        self._sandbox = sandbox
        self._wanted_port = port
        self._schedule = Schedule()
        self._server: VendorServer | None = None

    @property
    def name(self) -> str:
        """The provider's name, as in ``LLM_PRIMARY_PROVIDER``."""
        return self._vendor.NAME

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        if self._server is None:
            raise RuntimeError("the sandbox is not running: use it in a with statement, or call start()")
        return self._server.port

    @property
    def url(self) -> str:
        """The base URL for a client, without a path."""
        return f"http://{HOST}:{self.port}"

    def next(self, *faults: Fault | None, times: int = 1) -> None:
        """Let the next requests meet these faults, one each, in this order.

        A refusal is no request's: it begins when its turn comes and lasts its ``seconds`` (1 by default), because
        nobody can see a refused connection to count it.

        Args:
            faults: What happens to each request; None stands for a healthy reply.
            times: How often the whole sequence is repeated, at least 1.
        """
        if times < 1:
            raise ValueError(f"times must be at least 1; found {times!r}")
        for fault in faults:
            if fault is not None:
                _check_fault(fault)
        self._schedule.add([*faults] * times)
        self._settle()

    def always(self, fault: Fault) -> None:
        """Let every request meet this fault, once the script of ``next`` is used up, until ``heal`` or ``reset``."""
        _check_fault(fault)
        self._schedule.stand(fault)
        self._settle()

    def heal(self) -> None:
        """Forget every fault; what was recorded and the scripted replies stay."""
        self._schedule.heal()
        self._settle()

    def reply(self, *replies: Scripted) -> None:
        """Say what the next healthy replies say, one each.

        Args:
            replies: A text, which is cut by stop sequences and token limits like any other, or a whole JSON body in
                the vendor's shape, which is sent as it is (and taken apart into events for a stream).
        """
        self._schedule.script_replies(replies)

    def reset(self) -> None:
        """Forget every fault, scripted reply and count."""
        self._schedule.reset()
        self._settle()

    def hang_up(self) -> None:
        """End every connection that is open; the next request has to connect."""
        if self._server is not None:
            self._sandbox._run(self._server.hang_up())

    @property
    def requests(self) -> tuple[RecordedRequest, ...]:
        """Every request since the last reset, in the order in which they were fully read."""
        return self._schedule.requests

    @property
    def request_count(self) -> int:
        """How many requests were fully read since the last reset."""
        return len(self._schedule.requests)

    @property
    def connection_count(self) -> int:
        """How many connections were accepted since the last reset."""
        return self._schedule.connections

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return 0 if self._server is None else len(self._server.connections)

    def _settle(self) -> None:
        """Make the listener agree with the schedule before the caller goes on."""
        if self._server is not None:
            self._sandbox._run(self._server.settle())

    async def _open(self) -> None:
        self._server = VendorServer(self._vendor, self._schedule, self._wanted_port)
        await self._server.open()

    async def _close(self) -> None:
        if self._server is not None:
            await self._server.close()
        self._server = None


class Sandbox:
    """Stand-ins for the vendors' HTTP APIs on 127.0.0.1, one port each, in a background thread.

    Use it in a with statement, or call :meth:`start` and :meth:`close`. ``sandbox.gemini`` and ``sandbox["gemini"]``
    are the same :class:`StandIn`.

    Args:
        ports: ``gemini_port=8001, openai_port=8003``: ports instead of free ones that the system chooses.
    """

    gemini: StandIn
    claude: StandIn
    openai: StandIn
    cohere: StandIn
    ollama: StandIn

    def __init__(self, **ports: int) -> None:
        known = [f"{name}_port" for name in VENDORS]
        for name in ports:
            if name not in known:
                raise TypeError(f"Sandbox() takes no {name!r}; expected {', '.join(known)}")
        stand_ins = {name: StandIn(vendor, self, ports.get(f"{name}_port", 0)) for name, vendor in VENDORS.items()}
        self.vendors: Mapping[str, StandIn] = MappingProxyType(stand_ins)
        for name, stand_in in stand_ins.items():
            setattr(self, name, stand_in)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> StandIn:
        try:
            return self.vendors[name]
        except KeyError:
            raise KeyError(f"no stand-in for {name!r}; there are: {', '.join(self.vendors)}") from None

    def start(self) -> Self:
        """Start listening; returns when every stand-in does. Does nothing when it is running."""
        with self._lock:
            if self._thread is None:
                self._loop = asyncio.SelectorEventLoop()  # the one that can watch a listener, on every system
                self._thread = threading.Thread(
                    target=self._work, args=(self._loop,), name="understudy-sandbox", daemon=True
                )
                self._thread.start()
                try:
                    self._run(self._open())
                except BaseException:
                    self._stop()
                    raise
        return self

    def close(self) -> None:
        """End every connection and stop listening; returns when the thread has ended. Does nothing when it has."""
        with self._lock:
            if self._thread is not None:
                self._stop()

    def reset(self) -> None:
        """Forget every fault, scripted reply and count, of every stand-in."""
        for stand_in in self.vendors.values():
            stand_in._schedule.reset()
        if self._loop is not None:
            self._run(self._settle())

    def environment(self) -> dict[str, str]:
        """The environment variables that point the providers' plugins at the stand-ins, with keys that are not keys."""
        variables = {"NO_PROXY": HOST, "no_proxy": HOST}
        for name, stand_in in self.vendors.items():
            variables |= VENDORS[name].environment(stand_in.url)
        return variables

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the sandbox's loop and wait for it."""
        assert self._loop is not None  # only called between start and close
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _open(self) -> None:
        for stand_in in self.vendors.values():
            await stand_in._open()

    async def _close(self) -> None:
        for stand_in in self.vendors.values():
            await stand_in._close()

    async def _settle(self) -> None:
        for stand_in in self.vendors.values():
            if stand_in._server is not None:
                await stand_in._server.settle()

    def _stop(self) -> None:
        assert self._loop is not None
        assert self._thread is not None
        try:
            self._run(self._close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(PATIENCE)
            self._loop, self._thread = None, None
