"""The public names of the core and the toolkit, with their signatures: docs/public-api.txt.

`python tests/public_api.py` writes the list. A change of it is a change for those who build on us.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

LIST = Path(__file__).parents[1] / "docs/public-api.txt"
MODULES = (
    "understudy",
    "understudy.errors",
    "understudy.events",
    "understudy.classify",
    "understudy.provider",
    "understudy.response",
    "understudy.health",
    "understudy.discovery",
    "understudy.explain",
    "understudy.routing",
    "understudy.testing",
)


def list_names() -> str:
    """Return the list."""
    return "".join(f"{line}\n" for module in MODULES for line in _module(module))


def names_of(module: str) -> list[str]:
    """Return a module's public names: its __all__, else the classes and functions that are defined in it."""
    found = import_module(module)
    names = getattr(found, "__all__", None)
    if names is not None:
        return sorted(names)
    own = ((name, value) for name, value in vars(found).items() if not name.startswith("_"))
    return sorted(name for name, value in own if getattr(value, "__module__", None) == module and callable(value))


def _module(module: str) -> Iterator[str]:
    yield module
    for name in names_of(module):
        value = getattr(import_module(module), name)
        yield f"    {_line(name, value)}"
        if module == "understudy" and inspect.isclass(value):
            yield from (f"        {line}" for line in _members(value))
    yield ""


def _line(name: str, value: Any) -> str:
    if inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        return f"class {name}({bases})" if bases else f"class {name}"
    return f"{name}{_signature(value)}" if callable(value) else f"{name}: {type(value).__name__}"


def _members(kind: type) -> Iterator[str]:
    if "__init__" in vars(kind):  # not one that differs between versions of Python
        yield f"__init__{_signature(kind.__init__)}"
    for name, value in sorted(vars(kind).items()):
        if not name.startswith("_") and (callable(value) or isinstance(value, property | classmethod | staticmethod)):
            inner = getattr(value, "__func__", value)
            yield f"{name}{_signature(inner)}" if callable(inner) else name


def _signature(function: Any) -> str:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ""
    return "(" + ", ".join(f"{(each.kind.name[0] == 'V' and '*') or ''}{each.name}" for each in parameters) + ")"


if __name__ == "__main__":
    LIST.write_text(list_names(), encoding="utf-8")
    print("wrote", LIST.relative_to(Path.cwd()) if LIST.is_relative_to(Path.cwd()) else LIST.name, file=sys.stderr)
