"""Imports a plugin's modules from the very bytes that were hashed: nothing changes between the check and the import.

Bytecode in a `__pycache__` is ignored. An extension module is hashed just before the system opens it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    ModuleSpec,
    SourceFileLoader,
    SourcelessFileLoader,
)
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from understudy.discovery.distributions import Contents
from understudy.discovery.lock import hash_as_record
from understudy.errors import UntrustedPlugin


def _read_hashed(loader: _Source | _Bytecode | _Extension) -> bytes:
    data = Path(loader.path).read_bytes()
    if hash_as_record(data, loader.digest.partition("=")[0]) != loader.digest:
        raise UntrustedPlugin(f"{loader.path}: expected the file that was checked, found that it has changed since")
    return data


class _Source(SourceFileLoader):
    digest = ""

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(_read_hashed(self), self.path)
        return code


class _Bytecode(SourcelessFileLoader):
    digest = ""

    def get_data(self, path: str) -> bytes:
        return _read_hashed(self) if path == self.path else super().get_data(path)


class _Extension(ExtensionFileLoader):
    digest = ""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        _read_hashed(self)
        return super().create_module(spec)


# As Python looks for them: of several files for one module the first kind counts.
_LOADERS: list[tuple[str, type[_Source | _Bytecode | _Extension]]] = [
    *((suffix, _Extension) for suffix in EXTENSION_SUFFIXES),
    *((suffix, _Source) for suffix in SOURCE_SUFFIXES),
    *((suffix, _Bytecode) for suffix in BYTECODE_SUFFIXES),
]


class _Finder(MetaPathFinder):
    """Finds the modules of the distributions that were checked, and nothing else in their packages."""

    def __init__(self) -> None:
        self.modules: dict[str, ModuleSpec] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        found = self.modules.get(fullname)
        if found is not None:
            return found
        above = self.modules.get(fullname.rpartition(".")[0])
        if above is not None:
            raise ModuleNotFoundError(f"No module named {fullname!r} came with its distribution", name=fullname)
        return None


held = _Finder()


def hold(contents: Contents) -> dict[str, str]:
    """From now on, import the modules of a distribution from the very files that were hashed.

    Returns:
        The file of each module, by the module's name.
    """
    specs: dict[str, ModuleSpec] = {}
    for suffix, kind in _LOADERS:
        for file, digest in contents.files.items():
            parts = file.removesuffix(suffix).split("/")
            if not file.endswith(suffix) or not all(part.isidentifier() for part in parts):
                continue
            is_package = parts[-1] == "__init__"
            name, path = ".".join(parts[:-1] if is_package else parts), os.path.join(contents.folder, file)
            known = specs.get(name)
            if name and (known is None or (is_package and known.submodule_search_locations is None)):
                inside = [os.path.dirname(path)] if is_package else None
                loader = kind(name, path)
                loader.digest = digest
                spec = spec_from_file_location(name, path, loader=loader, submodule_search_locations=inside)
                if spec is not None:
                    specs[name] = spec
    for name in list(specs):  # folders without code, in packages with some
        for above in _names_above(name):
            if above not in specs and any(one in specs for one in _names_above(above)):
                spec = ModuleSpec(above, None, is_package=True)
                spec.submodule_search_locations = [os.path.join(contents.folder, *above.split("."))]
                specs[above] = spec
    held.modules |= specs
    if held not in sys.meta_path:
        sys.meta_path.insert(0, held)
    return {name: spec.origin for name, spec in specs.items() if spec.origin is not None}


def _names_above(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(len(parts) - 1, 0, -1)]
