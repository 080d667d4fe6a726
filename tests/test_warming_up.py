"""warm_up() imports what the first call would, and opens nothing. In a process of its own, where no SDK is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SDKS = {
    "understudy_claude": "anthropic",
    "understudy_cohere": "cohere",
    "understudy_gemini": "google.genai",
    "understudy_gemini.vertex": "google.genai",
    "understudy_gemini_legacy": "google.ai",
    "understudy_ollama": "ollama",
    "understudy_openai": "openai",
}
OURS = "understudy_toolkit.http"
ON_HTTP = ("understudy_claude", "understudy_cohere", "understudy_gemini", "understudy_ollama", "understudy_openai")
PROGRAM = """
import json, sys
from importlib import import_module
from understudy import Message, Request, Settings
from understudy_sandbox import Sandbox

sys.path[:] = json.loads(sys.argv[2])
found = {}
with Sandbox() as sandbox:
    names = {name.upper() + "_TRANSPORT": sys.argv[4] for name in sandbox.vendors}
    told = sandbox.environment() | {"GOOGLE_CLOUD_PROJECT": "p1"} | names
    settings = Settings(told, environment={}, directory=sys.argv[3])
    for module, sdk in json.loads(sys.argv[1]).items():
        def loaded():
            return {name for name in sys.modules if name == sdk or name.startswith(sdk + ".")}
        provider = import_module(module).understudy_provider(settings)
        provider.warm_up()
        warm = loaded()
        provider.warm_up()
        opened = sum(stand_in.connection_count for stand_in in sandbox.vendors.values())
        if module.endswith("vertex"):  # it would ask Google who it is
            late = set()
        else:
            assert provider.generate(Request(messages=(Message.user("Hello"),))).success
            late = loaded() - warm
        provider.close()
        sandbox.reset()
        found[module] = [bool(warm), sorted(late), opened]
print(json.dumps(found))
"""


def warmed_up(modules: dict[str, str], lane: str, folder: Path) -> dict[str, list[object]]:
    """Return whether each warm_up() loaded a package, what the first call loaded of it, and what was open before."""
    arguments = [json.dumps(modules), json.dumps(sys.path), str(folder), lane]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[object]] = json.loads(done.stdout)
    return found


def test_the_first_question_finds_the_sdk_there_and_nothing_was_opened_before(tmp_path: Path) -> None:
    assert warmed_up(SDKS, "sdk", tmp_path) == {module: [True, [], 0] for module in SDKS}


def test_on_the_http_lane_it_finds_our_own_there_and_no_sdk(tmp_path: Path) -> None:
    assert warmed_up({ON_HTTP[0]: OURS}, "http", tmp_path) == {ON_HTTP[0]: [True, [], 0]}
    sdks = {module: SDKS[module] for module in ON_HTTP}
    assert warmed_up(sdks, "http", tmp_path) == {module: [False, [], 0] for module in ON_HTTP}
