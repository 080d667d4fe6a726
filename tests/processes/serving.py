"""A web server with several workers as the tests see it: started, asked by many at once, looked into, ended."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlencode

HERE = Path(__file__).parent
LISTENS = re.compile(r"(?:Listening at: |running on )http://127\.0\.0\.1:(\d+)")
PATIENCE = 120.0  # seconds after which something that must happen is taken not to happen
TRIES = 20  # of a request whose worker is killed or ends, which no answer tells
UNWANTED = ("Traceback", "WORKER TIMEOUT", "DeprecationWarning", "ResourceWarning")


class Server:
    """A server in a process of its own, with workers in others.

    Args:
        command: what follows `python -m`.
        served: what apps.py is told.
    """

    def __init__(self, command, served):
        self._lines, self._known = [], threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=HERE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "SERVED": json.dumps(served)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        self.port = int(self.wait_for_line(LISTENS).group(1))
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            workers = self.workers()
            self.process.kill()
            self.process.wait()
            for worker in workers:
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
        self._reader.join(PATIENCE)

    @property
    def log(self):
        """What the server and its workers have said."""
        with self._known:
            return "".join(self._lines)

    def wait_for_line(self, pattern, after=0):
        """Return the first match in what the server says, from a place in its log on."""
        with self._known:
            found = self._known.wait_for(
                lambda: re.search(pattern, "".join(self._lines)[after:]) or self.process.poll() is not None, PATIENCE
            )
            match = re.search(pattern, "".join(self._lines)[after:])
            assert match, f"{pattern} is not in {''.join(self._lines)[after:]!r} ({found})"
            return match

    def workers(self):
        """Return the workers' process ids."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
        command = [Path(f"/proc/{child}/cmdline") for child in children.split()]
        return {int(file.parent.name) for file in command if b"resource_tracker" not in file.read_bytes()}

    def end(self):
        """End it as its administrator does, and return its exit code; nothing of it is left."""
        workers = self.workers()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert [worker for worker in workers if Path(f"/proc/{worker}").exists()] == []
        return code

    def _read(self):
        with self.process.stderr as said:
            for line in said:
                with self._known:
                    self._lines.append(line)
                    self._known.notify_all()
        with self._known:
            self._known.notify_all()


class Crowd:
    """Many clients at once: each asks for words of its own, again where its worker was lost, and notes what it is told.

    Args:
        server: who is asked.
        names: the providers, in turn.
        clients: how many there are.
        requests: how many each has answered before it ends.
    """

    def __init__(self, server, names, clients=8, requests=12):
        self.server, self.names, self.requests = server, names, requests
        self.answers, self.wrong, self.lost = [], [], 0
        self._known = threading.Condition()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]
        self.expected = clients * requests

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        for thread in self._threads:
            thread.join(PATIENCE * 2)

    def wait_for(self, count):
        """Wait until so many answers have come."""
        with self._known:
            assert self._known.wait_for(lambda: len(self.answers) + len(self.wrong) >= count, PATIENCE * 2)

    def _ask(self, number):
        for turn in range(self.requests):
            words = f"client {number} asks {turn}"
            asked = {"name": self.names[turn % len(self.names)], "how": ("whole", "stream")[turn // 2 % 2]}
            told = self._told(urlencode({**asked, "words": words}))
            with self._known:
                right = told is not None and told["success"] and words in told["text"]
                (self.answers if right else self.wrong).append((words, told))
                self._known.notify_all()

    def _told(self, query):
        for _ in range(TRIES):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
                with closing(connection):
                    connection.request("GET", f"/?{query}")
                    reply = connection.getresponse()
                    body = reply.read()
                return json.loads(body) if reply.status == 200 else {"success": False, "text": body.decode()}
            except (OSError, http.client.HTTPException):
                with self._known:
                    self.lost += 1
                time.sleep(0.05)
        return None


def sockets_to(pid, ports):
    """Return the sockets (inodes) of a process that are connected to one of these ports."""
    table = [line.split() for line in Path("/proc/self/net/tcp").read_text("ascii").splitlines()[1:]]
    connected = {row[9] for row in table if int(row[2].rpartition(":")[2], 16) in ports}
    held = set()
    with suppress(OSError):  # the process ends
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                held.add(os.readlink(file).removeprefix("socket:[").removesuffix("]"))
    return held & connected
