"""The upstream as a process, and what is said to it."""

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit


@dataclass
class Pair:
    """A primary and a backup, both on ports of their own."""

    upstream: "Upstream"
    name: str
    primary: str
    backup: str

    async def set_fault(self, fault: str, role: str = "primary") -> None:
        """Let one of them have a fault from now on; none where it is ""."""
        await self.upstream.say("fault", self.name, role, fault)

    async def clear(self) -> None:
        """Begin to count anew."""
        await self.upstream.say("clear", self.name)

    async def count(self) -> dict[str, int]:
        """Return the requests to each of the two, and those of the primary's that met its fault."""
        counts: dict[str, int] = await self.upstream.say("count", self.name)
        return counts

    async def log(self) -> list[dict[str, Any]]:
        """Return the requests: to whom, after how many seconds, and whether they met a fault."""
        requests: list[dict[str, Any]] = await self.upstream.say("log", self.name)
        return requests

    async def close(self) -> None:
        """Close both ports."""
        await self.upstream.say("close", self.name)


class Upstream:
    """The upstream, for as long as the block lasts."""

    async def __aenter__(self) -> "Upstream":
        script = Path(__file__).with_name("upstream.py")
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, script, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert self.process.stdout is not None  # a pipe
        self.url = (await self.process.stdout.readline()).decode().strip()
        if not self.url:
            raise RuntimeError("expected the upstream to say its URL, found that it had ended")
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self.process.stdin is not None  # a pipe
        self.process.stdin.close()  # it ends with its input
        await self.process.wait()

    async def open(self) -> Pair:
        """Open two ports."""
        return Pair(self, **await self.say("open", ""))

    async def say(self, command: str, *arguments: str) -> Any:
        """Have a command carried out, and return the reply."""
        address = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        path = f"/{command}?{'&'.join(quote(argument) for argument in arguments)}"
        writer.write(f"POST {path} HTTP/1.1\r\nContent-Length: 0\r\n\r\n".encode())
        reply = await reader.read()
        writer.close()
        return json.loads(reply.partition(b"\r\n\r\n")[2])
