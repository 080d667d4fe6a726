"""Imports, warnings, clients, event loops and threads: what is opened, by whom it is used, and that it is closed."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points

import pytest

from understudy import Message, Request, Settings, TextDelta
from understudy_gemini_legacy import GeminiLegacyProvider
from understudy_sandbox import Sandbox

ASKED = Request(messages=(Message.user("hello"),), timeout=5)
KEY = "key-0123456789"
BEGIN = """
import asyncio, gc, logging, sys, threading, time, warnings
from understudy import Message, Request, Settings
from understudy_gemini_legacy import understudy_provider
settings = Settings(environment={{"GOOGLE_API_KEY": "{key}", "GEMINI_BASE_URL": "{url}"}})
provider = understudy_provider(settings)
request = Request(messages=(Message.user("hello"),), timeout=5)
"""


def run_python(sandbox: Sandbox, code: str, *options: str) -> list[str]:
    """Run a program of its own, and return the lines that it printed and complained."""
    command = [sys.executable, *options, "-c", BEGIN.format(key=KEY, url=sandbox.gemini.url) + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).splitlines()


def test_the_name_is_an_entry_point_with_our_hook() -> None:
    (entry,) = entry_points(group="understudy.providers", name="gemini-legacy")
    made = entry.load().understudy_provider(settings=Settings(environment={}))
    assert made.get_provider_name() == "gemini-legacy"
    assert made.default_model == "gemini-2.5-flash-lite"
    assert made.model_notice("gemini-2.0-flash").startswith("gemini-2.0-flash retires on 2026-06-01")
    assert made.model_notice(made.default_model) is None


def test_what_it_cannot_do_is_told() -> None:
    capabilities = GeminiLegacyProvider.capabilities
    assert (capabilities.native_async, capabilities.thinking) == (False, False)
    assert (capabilities.streaming, capabilities.tools, capabilities.images, capabilities.files) == (True,) * 4


def test_the_end_of_the_sdk_is_told_once_in_the_log_and_never_on_the_screen(sandbox: Sandbox) -> None:
    code = """
class Handler(logging.Handler):
    def emit(self, record):
        print(record.levelname, record.name, record.getMessage())
logging.getLogger().addHandler(Handler())
for _ in range(2):
    print(provider.generate(request).finish_reason)
print(understudy_provider(settings).generate(request).finish_reason)
print([entry for entry in warnings.filters if entry[2] is FutureWarning])
"""
    told = (
        "WARNING understudy google-generativeai, which the provider gemini-legacy uses, is past its end of life: "
        "understudy-gemini is the supported way to Gemini"
    )
    assert run_python(sandbox, code) == [told, "stop", "stop", "stop", "[]"]


def test_warnings_of_others_go_on_while_the_sdk_is_loaded(sandbox: Sandbox) -> None:
    code = """
heard, done = [], threading.Event()
warnings.simplefilter("always")
warnings.showwarning = lambda message, *_, **__: heard.append(str(message))
logging.getLogger("understudy").addHandler(logging.NullHandler())
def warn():
    while not done.is_set():
        warnings.warn("mine", FutureWarning)
        time.sleep(0.001)
thread = threading.Thread(target=warn)
thread.start()
said = len(heard)
provider.generate(request)
done.set()
thread.join()
print(len(heard) > said + 5, {*heard})
"""
    assert run_python(sandbox, code) == ["True {'mine'}"]


def test_one_provider_serves_many_threads_and_one_connection_serves_many_calls(
    sandbox: Sandbox, provider: GeminiLegacyProvider, caplog: pytest.LogCaptureFixture
) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: provider.generate(ASKED).content, range(64)))
    assert len(answers) == 64
    assert sandbox.gemini.request_count == 64
    assert sandbox.gemini.connection_count <= 16
    assert [record.message for record in caplog.records if record.name.startswith("urllib3")] == []


def test_a_stream_outlives_the_close_of_its_provider(sandbox: Sandbox, provider: GeminiLegacyProvider) -> None:
    events = provider.stream(ASKED)
    assert next(events) == TextDelta("This")
    provider.close()
    assert provider.generate(ASKED).success
    assert len(list(events)) > 5
