"""A folder with real distributions in it, as pip would leave them; `timed` is importable from everywhere here."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

PARROT = """
from understudy import ChatProvider, LLMResponse, hookimpl

class Parrot(ChatProvider):
    def generate(self, request):
        return LLMResponse(True, "hello", "parrot")

    def get_provider_name(self):
        return "parrot"
"""


class Site:
    """Stands for site-packages.

    Args:
        folder: where distributions go.
    """

    parrot = PARROT  # a provider class for a plugin's module to begin with

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self,
        distribution: str,
        *,
        version: str = "1.0",
        providers: Mapping[str, str] | None = None,
        extensions: Mapping[str, str] | None = None,
        modules: Mapping[str, str] | None = None,
    ) -> Path:
        """Put a distribution there.

        Args:
            distribution: its name.
            version: its version.
            providers: entry points of the group understudy.providers.
            extensions: entry points of the group understudy.extensions.
            modules: the source of each module, by the module's name.

        Returns:
            The folder of its metadata.
        """
        lines = ["[console_scripts]", "nothing = nowhere:main"]
        for group, points in (("understudy.providers", providers), ("understudy.extensions", extensions)):
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in (points or {}).items())]
        files = {f"{name}.py": source for name, source in (modules or {}).items()}
        metadata = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        files[f"{metadata.name}/METADATA"] = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        files[f"{metadata.name}/entry_points.txt"] = "\n".join(lines) + "\n"
        files[f"{metadata.name}/RECORD"] = "".join(f"{name},,\n" for name in files)
        for name, text in files.items():
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_text(text, "utf-8")
        return metadata

    def run(self, program: str) -> str:
        """Run a program in a Python of its own that has this folder on its path, and return what it prints."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(self.folder), *sys.path])}
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def little_garbage() -> Iterator[None]:
    """What is alive already is left alone by gc.collect(), which takes half a second once all SDKs are loaded."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An empty site-packages, the only one on this process's sys.path until the test ends."""
    from understudy.discovery import loader

    folder = tmp_path / "site"
    folder.mkdir()
    # Whatever else is installed must not change what the tests see: any plugin could be.
    library = [entry for entry in sys.path if not any(Path(entry or ".").glob("*-info"))]
    monkeypatch.setattr(sys, "path", [str(folder), *library])
    before = set(sys.modules)
    yield Site(folder)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]
    if hashed := sys.modules.get("understudy.discovery.hashed"):
        hashed.held.modules.clear()
    loader._load.cache_clear()  # the next test's parrot has the same name and version
