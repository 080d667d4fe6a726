"""Rules of the contract: what a program of its own loads, on which thread, and what it says at its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, ClassVar

import pytest

from understudy.discovery.distributions import InstalledProvider
from understudy.factory import LLMFactory
from understudy.provider import ChatProvider
from understudy_toolkit.conformance.asking import PROMPT
from understudy_toolkit.conformance.fault_server import FaultServer
from understudy_toolkit.conformance.settings_rules import BUSY, EXCEPTIONS, STOLEN, SettingsRules

PROGRAM = """
import asyncio, gc, json, logging, sys, threading
given = json.loads(sys.stdin.read())
sys.path[:] = given["path"]
logging.getLogger("understudy").addHandler(logging.NullHandler())
from understudy import LLMFactory, Message, Request, Settings

on_loop = []


class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in given["sdk"] and asyncio._get_running_loop() is not None:
            on_loop.append(name)


sys.meta_path.insert(0, Watch())


def make():
    settings = Settings(given["settings"], environment={}, directory=given["folder"])
    return LLMFactory(given["name"], [], settings=settings, extensions=[]).route[0][1]


provider = make()
provider.unavailable_reason()
loaded = sorted(set(given["sdk"]) & set(sys.modules))
request = Request(messages=(Message.user(given["prompt"]),), timeout=30)


async def use():
    answers = await asyncio.gather(provider.agenerate(request), provider.agenerate(request))
    stream = provider.astream(request)
    await anext(stream)
    return all(answer.success for answer in answers)


succeeded = []
for _ in range(2):
    succeeded += [asyncio.run(use()), provider.generate(request).success]
    gc.collect()
stream = provider.stream(request)
next(stream)
other = make()
succeeded.append(other.generate(request).success)
del provider, stream
gc.collect()
print(json.dumps({"loaded": loaded, "on_loop": on_loop, "succeeded": all(succeeded)}))
"""


class ProcessRules(SettingsRules):
    """A program of its own."""

    told: ClassVar[tuple[type, dict[str, Any], str] | None] = None

    def test_making_it_loads_no_sdk(self, provider: ChatProvider) -> None:
        self._needs_sdk()
        found = self._run_program()["loaded"]
        assert not found, (
            f"expected no SDK to be loaded before the first request, found {' '.join(found)}; everybody who has "
            "your plugin on the route pays for it: move the import into the functions that use it"
        )

    def test_its_sdk_is_not_loaded_on_the_event_loop(self, provider: ChatProvider) -> None:
        self.needs(provider, "native_async")
        self._needs_sdk()
        found = self._run_program()["on_loop"]
        assert not found, (
            f"expected the SDK to be loaded in a thread, found the event loop held up by the import of "
            f"{' '.join(found)}; understudy_toolkit.clients.Clients does it, or asyncio.to_thread"
        )

    def test_a_program_that_closes_nothing_ends_in_silence(self, provider: ChatProvider) -> None:
        self._run_program()
        assert self.told is not None
        assert not self.told[2], (
            "expected a program that asks, leaves streams, and closes nothing to end silently, found it printing: "
            f"{self.told[2]:.2000}"
        )

    def _needs_sdk(self) -> None:
        if not self.sdk:
            pytest.skip("no `sdk` is named: nothing to look for")

    def _run_program(self) -> dict[str, Any]:
        """Run it once for all rules of a class, in an environment with misleading values."""
        if not isinstance(LLMFactory.PROVIDER_REGISTRY[self.name], InstalledProvider):
            pytest.skip("registered in this process: no other one has it")
        self.arrange("text")
        if self.told is None or self.told[0] is not type(self):
            given = {"name": self.name, "settings": self.given(), "folder": str(self.folder), "sdk": self.sdk}
            command = [sys.executable, "-W", "error::ResourceWarning", "-W", "error::RuntimeWarning", "-c", PROGRAM]
            with FaultServer(lambda request: BUSY) as elsewhere:
                environment = {name: value for name, value in os.environ.items() if name not in EXCEPTIONS}
                done = subprocess.run(
                    command,
                    input=json.dumps({**given, "path": sys.path, "prompt": PROMPT}),
                    env={**environment, **self.astray(elsewhere.url)},
                    cwd=self.folder,
                    capture_output=True,
                    text=True,
                    check=False,
                )
            assert done.returncode == 0, f"expected {self.name} to be asked in a fresh process, found {done.stderr}"
            sent = str(dict(self.received_headers() or {}))
            assert not elsewhere.requests, "expected no address of the environment to be asked, found a request there"
            assert STOLEN not in sent, "expected nothing of the environment to be sent, found a value of it"
            type(self).told = (type(self), json.loads(done.stdout.splitlines()[-1]), done.stderr)
        assert self.told is not None
        assert self.told[1]["succeeded"], "expected every question of a fresh process to be answered"
        return self.told[1]
