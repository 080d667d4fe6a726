"""The upstream that every library is pointed at: pairs of ports, a primary and a backup, that count and misbehave.

It runs as a process of its own, prints the URL where it is controlled, and ends when its input does. All is JSON:

    POST /open                   {"name": 3, "primary": "http://127.0.0.1:...", "backup": "http://127.0.0.1:..."}
    POST /fault?3&primary&hang   from now on the primary of pair 3 hangs; "" makes it well; "refused" closes its port;
                                 "1:500" lets the first request have the fault "500", "5/5:500" the fifth of five again
                                 and again, "5,6/10:500" the fifth and sixth of ten; "60s:503" those of a minute, and
                                 "5s/10s:503" those of 5 seconds in every 10; both counts begin with /clear
    POST /count?3                {"primary": requests since the last /clear, "backup": ..., "faulty": of the primary's,
                                 those that met the fault}
    POST /log?3                  [{"role": ..., "at": seconds since the last /clear, "faulty": ...}, ...]
    POST /clear?3                the counts begin at 0
    POST /close?3                both ports are closed
"""

import asyncio
import contextlib
import itertools
import json
import os
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import unquote

from replies import Asked, Cut, Reset, faulty, plain, sound

AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER, so that closing a socket resets the connection


@dataclass
class Port:
    """One side of a pair, with the connections that are open to it."""

    pair: "Pair"
    role: str
    server: asyncio.Server | None = None
    url: str = ""
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def open(self) -> None:
        """Listen on a free port."""
        self.server = await asyncio.start_server(self.talk, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """Refuse connections from now on and end those that are there."""
        if self.server is not None:
            self.server.close()
        for writer in self.writers:
            writer.transport.abort()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.writers.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, Cut):
                while True:
                    await self.answer(await read_request(reader), writer)
        finally:
            self.writers.discard(writer)
            writer.transport.abort()

    async def answer(self, request: tuple[str, bytes], writer: asyncio.StreamWriter) -> None:
        """Count a request and reply to it, soundly or not."""
        path, body = request
        if not path.endswith("/chat/completions"):
            writer.write(plain("404 Not Found", "{}"))
            return
        fault = self.pair.take(self.role)
        asked = self.read(json.loads(body))
        if not fault:
            writer.write(sound(asked))
            await writer.drain()
            return
        try:
            async for piece in faulty(fault, asked, asyncio.sleep):
                writer.write(piece)
                await writer.drain()
        except Reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            raise

    def read(self, body: dict[str, Any]) -> Asked:
        """Return what the reply to a request depends on."""
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        begun = bool(body.get("messages")) and body["messages"][-1].get("role") == "assistant"
        return Asked(self.role, body.get("model", ""), bool(body.get("stream")), usage, begun)


@dataclass
class Request:
    """One request that came: to whom, how many seconds after the counts began, and whether it met the fault."""

    role: str
    at: float
    faulty: bool


@dataclass
class Pair:
    """A primary and a backup, their faults and the requests to both."""

    name: str
    faults: dict[str, str] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    ports: dict[str, Port] = field(default_factory=dict)

    async def open(self) -> None:
        """Open both ports."""
        self.ports = {role: Port(self, role) for role in ("primary", "backup")}
        for port in self.ports.values():
            await port.open()

    def set_fault(self, role: str, fault: str) -> None:
        """Let one of them have a fault from now on."""
        if fault == "refused":
            self.ports[role].close()
        else:
            self.faults[role] = fault

    def take(self, role: str) -> str:
        """Note a request, and return the fault with which it is answered; "" for none."""
        at = time.monotonic() - self.began
        number = sum(request.role == role for request in self.requests) + 1
        fault = fault_at(self.faults.get(role, ""), number, at)
        self.requests.append(Request(role, at, bool(fault)))
        return fault

    def clear(self) -> None:
        """Begin to count anew."""
        self.requests.clear()
        self.began = time.monotonic()

    def count(self) -> dict[str, int]:
        """Return the requests to each, and those of the primary's that met its fault."""
        counts = {role: sum(request.role == role for request in self.requests) for role in self.ports}
        return {**counts, "faulty": sum(request.faulty and request.role == "primary" for request in self.requests)}

    def close(self) -> None:
        """Close both ports."""
        for port in self.ports.values():
            port.close()


def fault_at(told: str, number: int, seconds: float) -> str:
    """Return the fault of a request, "" for none.

    Args:
        told: the fault, and which requests have it.
        number: of the request, from 1.
        seconds: since the counts began.
    """
    some, _, fault = told.rpartition(":")
    which, _, among = some.partition("/")
    if which.endswith("s"):
        moment = seconds % float(among.rstrip("s")) if among else seconds
        return fault if moment < float(which.rstrip("s")) else ""
    place = (number - 1) % int(among) + 1 if among else number
    return fault if not some or str(place) in which.split(",") else ""


class Control:
    """What the benchmark says to the upstream."""

    def __init__(self) -> None:
        self.pairs: dict[str, Pair] = {}
        self.names = map(str, itertools.count(1))

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry out one command."""
        path, _ = await read_request(reader)
        command, _, arguments = unquote(path).partition("?")
        result = json.dumps(await self.obey(command.strip("/"), *arguments.split("&", 2)))
        writer.write(plain("200 OK", result, "Connection: close"))
        await writer.drain()
        writer.close()

    async def obey(self, command: str, name: str, role: str = "", fault: str = "") -> object:
        """Carry out a command on a pair, and return what there is to say."""
        if command == "open":
            pair = Pair(next(self.names))
            self.pairs[pair.name] = pair
            await pair.open()
            return {"name": pair.name, **{role: port.url for role, port in pair.ports.items()}}
        pair = self.pairs[name]
        if command == "fault":
            pair.set_fault(role, fault)
        elif command == "clear":
            pair.clear()
        elif command == "close":
            self.pairs.pop(name).close()
        elif command == "log":
            return [asdict(request) for request in pair.requests]
        return pair.count()


async def read_request(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """Read one request; return its path and its body."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return lines[0].split(" ")[1], body


async def serve() -> None:
    """Run until the input ends."""
    server = await asyncio.start_server(Control().talk, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)  # what hangs, hangs: nobody waits for it


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # the benchmark says it
        asyncio.run(serve())
