"""What one stand-in will do next and what it has seen: the only state in the sandbox, behind one lock."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from understudy_sandbox.exchange import RecordedRequest
from understudy_sandbox.faults import Fault

Scripted = str | Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One place in the schedule: a fault, or None for a healthy reply."""

    fault: Fault | None
    always: bool = False

    @property
    def refused_for(self) -> float | None:
        """The seconds that a refusal lasts, None for one that lasts until it is healed."""
        seconds: float | None = self.fault.options["seconds"] if self.fault is not None else None
        return 1.0 if seconds is None and not self.always else seconds


class Schedule:
    """Thread safe; a fault from a header goes before the script, the script before the standing fault."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._script: deque[Entry] = deque()
        self._standing: Entry | None = None
        self._replies: deque[Scripted] = deque()
        self._requests: list[RecordedRequest] = []
        self._loads: dict[int, Entry] = {}  # by the number of the request that waits for it
        self._connections = 0

    def add(self, faults: Iterable[Fault | None]) -> None:
        """Put faults at the end of the script."""
        with self._lock:
            self._script.extend(Entry(fault) for fault in faults)

    def stand(self, fault: Fault) -> None:
        """Let every request that the script does not cover meet this fault."""
        with self._lock:
            self._standing = Entry(fault, always=True)

    def heal(self) -> None:
        """Forget every fault."""
        with self._lock:
            self._script.clear()
            self._standing = None

    def reset(self) -> None:
        """Forget every fault, scripted reply, request and connection."""
        with self._lock:
            self._script.clear()
            self._standing = None
            self._replies.clear()
            self._requests.clear()
            self._loads.clear()
            self._connections = 0

    def script_replies(self, replies: Iterable[Scripted]) -> None:
        """Put texts or whole bodies at the end of the queue of healthy replies."""
        with self._lock:
            self._replies.extend(replies)

    def take_reply(self) -> Scripted | None:
        """Take the next scripted reply, None when there is none."""
        with self._lock:
            return self._replies.popleft() if self._replies else None

    def meet(self, request: RecordedRequest, fault: Fault | None) -> tuple[RecordedRequest, Fault | None]:
        """Number and record a request, and take the fault that it meets: its own (from a header) or the next.

        A request that was under way when a refusal began meets nothing and leaves the refusal where it is. What is to
        be loaded stays where it is too, until it is loaded.
        """
        with self._lock:
            number = len(self._requests) + 1
            if fault is None and self._refusal() is None:
                entry = self._script[0] if self._script else self._standing
                fault = None if entry is None else entry.fault
                if entry is not None and fault is not None and fault.name == "loading":
                    self._loads[number] = entry
                elif self._script:
                    self._script.popleft()
            text = None if fault is None else str(fault)
            recorded = replace(request, number=number, at=time.monotonic(), fault=text)
            self._requests.append(recorded)
            return recorded, fault

    def loaded(self, number: int) -> None:
        """Take from the script what the request of this number has waited for; others may have waited for it too."""
        with self._lock:
            entry = self._loads.pop(number, None)
            if entry is not None and self._script and self._script[0] is entry:
                self._script.popleft()

    def refusal(self) -> Entry | None:
        """The refusal whose turn it is: it concerns connections, so no request can take it."""
        with self._lock:
            return self._refusal()

    def _refusal(self) -> Entry | None:
        entry = self._script[0] if self._script else self._standing
        return entry if entry is not None and entry.fault is not None and entry.fault.name == "refuse" else None

    def end_refusal(self, entry: Entry) -> None:
        """Take a refusal that has had its time from the schedule; nothing happens when it is gone already."""
        with self._lock:
            if self._script and self._script[0] is entry:
                self._script.popleft()
            if self._standing is entry:
                self._standing = None

    def connected(self) -> None:
        """Count a connection."""
        with self._lock:
            self._connections += 1

    def discount(self) -> None:
        """Take back a connection that was used for control only."""
        with self._lock:
            self._connections = max(0, self._connections - 1)

    @property
    def connections(self) -> int:
        """Connections accepted since the last reset."""
        with self._lock:
            return self._connections

    @property
    def requests(self) -> tuple[RecordedRequest, ...]:
        """Requests since the last reset, in the order in which they were fully read."""
        with self._lock:
            return tuple(self._requests)
