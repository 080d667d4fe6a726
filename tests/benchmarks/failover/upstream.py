"""The upstream that every library is pointed at: pairs of ports, a primary and a backup, that count and misbehave.

It runs as a process of its own, prints the URL where it is controlled, and ends when its input does. All is JSON:

    POST /open              {"name": 3, "primary": "http://127.0.0.1:...", "backup": "http://127.0.0.1:..."}
    POST /fault?3&hang      from now on the primary of pair 3 hangs; "" makes it well; "refused" closes its port;
                            "5/5:500" lets the fifth of five requests have the fault "500", again and again,
                            "5,6/10:500" the fifth and sixth of ten
    POST /count?3           {"primary": requests since the last /clear, "backup": ...}
    POST /clear?3           the counts begin at 0
    POST /close?3           both ports are closed
"""

import asyncio
import contextlib
import itertools
import json
import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import unquote

from replies import Cut, faulty, plain, sound


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
        self.pair.counts[self.role] += 1
        fault = self.pair.fault_of(self.role)
        if not fault:
            writer.write(sound(self.role, bool(json.loads(body).get("stream"))))
            await writer.drain()
            return
        async for piece in faulty(fault, self.role, asyncio.sleep):
            writer.write(piece)
            await writer.drain()


@dataclass
class Pair:
    """A primary and a backup, the fault of the first and the requests to both."""

    name: str
    fault: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    ports: dict[str, Port] = field(default_factory=dict)

    async def open(self) -> None:
        """Open both ports."""
        self.ports = {role: Port(self, role) for role in ("primary", "backup")}
        for port in self.ports.values():
            await port.open()

    def set_fault(self, fault: str) -> None:
        """Let the primary have a fault from now on."""
        if fault == "refused":
            self.ports["primary"].close()
        else:
            self.fault = fault

    def fault_of(self, role: str) -> str:
        """Return the fault with which the latest request is answered; "" for none."""
        if role != "primary":
            return ""
        some, _, fault = self.fault.rpartition(":")
        which, _, among = some.partition("/")
        if some and str((self.counts[role] - 1) % int(among) + 1) not in which.split(","):
            return ""
        return fault

    def close(self) -> None:
        """Close both ports."""
        for port in self.ports.values():
            port.close()


class Control:
    """What the benchmark says to the upstream."""

    def __init__(self) -> None:
        self.pairs: dict[str, Pair] = {}
        self.names = map(str, itertools.count(1))

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry out one command."""
        path, _ = await read_request(reader)
        command, _, arguments = unquote(path).partition("?")
        result = json.dumps(await self.obey(command.strip("/"), *arguments.split("&", 1)))
        writer.write(plain("200 OK", result, "Connection: close"))
        await writer.drain()
        writer.close()

    async def obey(self, command: str, name: str, fault: str = "") -> dict[str, object]:
        """Carry out a command on a pair, and return what there is to say."""
        if command == "open":
            pair = Pair(next(self.names))
            self.pairs[pair.name] = pair
            await pair.open()
            return {"name": pair.name, **{role: port.url for role, port in pair.ports.items()}}
        pair = self.pairs[name]
        if command == "fault":
            pair.set_fault(fault)
        elif command == "clear":
            pair.counts.clear()
        elif command == "close":
            self.pairs.pop(name).close()
        return {role: pair.counts[role] for role in pair.ports}


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
