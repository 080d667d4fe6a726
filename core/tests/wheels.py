"""A provider as an installer leaves it, with a RECORD of hashes, and settings that trust it."""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy import LLMFactory, LLMProvider, Settings
from understudy.discovery import PluginLock
from understudy.errors import UntrustedPlugin

if TYPE_CHECKING:
    from conftest import Site

HOOK = "@hookimpl\ndef understudy_provider(settings): return Parrot()\n"


def install(site: Site, name: str = "parrot", *, provider: str | None = None, version: str = "1.0") -> Path:
    """Install a provider as a wheel: a package of two modules, with a RECORD of hashes."""
    module = f"understudy_{name}"
    (site.folder / module).mkdir()
    modules = {f"{module}/__init__": f"from {module}.bird import *\n{HOOK}", f"{module}/bird": site.parrot}
    modules[f"{module}/bird"] += '__all__ = ["Parrot", "hookimpl"]\n'
    info = site.install(f"understudy-{name}", version=version, providers={provider or name: module}, modules=modules)
    record(info)
    return info


def record(info: Path, *extra: str) -> None:
    """Write the RECORD as an installer does: with hashes, and with files of its own that have one or none."""
    lines = []
    for row in (info / "RECORD").read_text("utf-8").splitlines():
        name = row.split(",")[0]
        data = (info.parent / name).read_bytes()
        lines.append(row if name.endswith("/RECORD") else f"{name},{digest(data)},{len(data)}")
    (info / "RECORD").write_text("\n".join([*lines, *extra, ""]), "utf-8")


def digest(data: bytes) -> str:
    return f"sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')}"


def trusting(site: Site, names: str = "", lock: bool = False) -> Settings:
    """Return settings with a list, a lock of what is installed now, both or none."""
    home = site.folder.parent
    if lock:
        (home / "understudy.lock").write_text(str(PluginLock.of_installed()), "utf-8")
    return Settings(environment={"LLM_TRUSTED_PLUGINS": names}, directory=home)


def build(settings: Settings, name: str = "parrot") -> LLMProvider:
    return LLMFactory.PROVIDER_REGISTRY.build(name, settings)


def refuse(settings: Settings, *facts: str, name: str = "parrot") -> None:
    """Make sure that it is refused with these words, and that nothing of it ran."""
    with pytest.raises(UntrustedPlugin) as caught:
        LLMFactory(name, settings=settings, extensions=[])
    assert [fact for fact in facts if fact not in str(caught.value)] == [], str(caught.value)
    assert f"understudy_{name}" not in sys.modules
