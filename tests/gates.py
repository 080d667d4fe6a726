"""What holds a call up until something has happened, so that no test hopes that a machine is quick, or slow."""

import asyncio
import copy
import threading
import time
from contextlib import aclosing

from understudy import hookimpl

PATIENCE = 20.0  # seconds: what has not happened by then does not happen


class Gate:
    """Holds requests back while it is shut, with all that their calls have taken; it is open at first.

    It is an extension, so that an event can open it.
    """

    def __init__(self):
        self._kind, self._times, self._when = None, 0, None
        self._lock = threading.Lock()
        self._opened = threading.Event()
        self._opened.set()

    def shut(self, until=None, times=1, when=None):
        """Hold requests back from now on, until `open` is called, or what else is said here has come.

        Args:
            until: an event that opens the gate.
            times: how often that must have been heard.
            when: a function that says whether a request may go.
        """
        self._kind, self._times, self._when = until, times, when
        self._opened.clear()

    def open(self):
        """Let go who is held back, and whoever comes."""
        self._opened.set()

    def before(self, provider):
        """Return a provider like this one, with the same connections, whose requests come by here."""
        gate = self

        class Held(type(provider)):
            def generate(self, request):
                gate._wait()
                return super().generate(request)

            def stream(self, request):
                gate._wait()
                yield from super().stream(request)

            async def agenerate(self, request):
                await gate._await()
                return await super().agenerate(request)

            async def astream(self, request):
                await gate._await()
                async with aclosing(super().astream(request)) as events:
                    async for event in events:
                        yield event

        twin = copy.copy(provider)
        twin.__class__ = Held
        return twin

    @hookimpl
    def understudy_event(self, event):
        if self._kind is not None and isinstance(event, self._kind):
            with self._lock:
                self._times -= 1
                if self._times == 0:
                    self._opened.set()

    def _is_open(self):
        return self._opened.is_set() or (self._when is not None and self._when())

    def _wait(self):
        latest = time.monotonic() + PATIENCE
        while not self._is_open():
            assert time.monotonic() < latest, "nothing has opened the gate"
            self._opened.wait(0.002)

    async def _await(self):
        async with asyncio.timeout(PATIENCE):
            while not self._is_open():
                await asyncio.sleep(0.002)


def happens(stage, condition):
    """Wait until something is so, while what was left under way goes on; whether it comes to that."""
    latest = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < latest:
        stage.loop.run_until_complete(asyncio.sleep(0.002))
    return condition()
