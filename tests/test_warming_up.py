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
PROGRAM = """
import json, sys
from importlib import import_module
from understudy import Message, Request, Settings
from understudy_sandbox import Sandbox

sys.path[:] = json.loads(sys.argv[2])
found = {}
with Sandbox() as sandbox:
    settings = Settings(sandbox.environment() | {"GOOGLE_CLOUD_PROJECT": "p1"}, environment={}, directory=sys.argv[3])
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


def test_the_first_question_finds_the_sdk_there_and_nothing_was_opened_before(tmp_path: Path) -> None:
    arguments = [json.dumps(SDKS), json.dumps(sys.path), str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {module: [True, [], 0] for module in SDKS}
