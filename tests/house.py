"""The rooms of the core, read from its sources: which there are, how large they are, and which imports which.

`python tests/house.py` prints the figures.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORE = ROOT / "core" / "src" / "understudy"
# Policy.explain() plays the engine: the one import that points upward.
DECLARED = {("policy", "explain.policy_text")}
NOUNS = "nouns"  # the modules that stand in no room

# What one plain call loads is asked of a new process.
PLAIN_CALL = """
import sys
from understudy import LLMFactory
from understudy.provider import Capabilities, ChatProvider
from understudy.response import FinishReason, LLMResponse

class Own(ChatProvider):
    capabilities = Capabilities(keeps_deadline=True)
    default_model = "own"
    def get_provider_name(self): return "own"
    def generate(self, request): return LLMResponse(True, "Hi.", "own", None, finish_reason=FinishReason.STOP)

assert LLMFactory(Own(), [], settings={}, extensions=[]).generate_content("Hello").success
print("\\n".join(sorted(name for name in sys.modules if name.partition(".")[0] == "understudy")))
"""


@dataclass(frozen=True, slots=True)
class Module:
    """One module of the core.

    Args:
        name: dotted, without the package: "health.breaker".
        path: where it stands.
        room: the package that it stands in, or NOUNS.
        lines: of code: without blanks, comments and docstrings.
    """

    name: str
    path: Path
    room: str
    lines: int


@dataclass(frozen=True, slots=True)
class Import:
    """One import of a module of the core by another.

    Args:
        source: the module that imports.
        target: the module that is imported.
        when: "at once", "lazily" inside a function, or "for typing" alone.
    """

    source: str
    target: str
    when: str


@cache
def modules() -> dict[str, Module]:
    """Return the modules of the core, by name."""
    found = {}
    for path in sorted(CORE.rglob("*.py")):
        parts = path.relative_to(CORE).with_suffix("").parts
        name = ".".join(parts)
        room = parts[0] if len(parts) > 1 else NOUNS
        found[name] = Module(name, path, room, lines_of_code(path.read_text("utf-8")))
    return found


def lines_of_code(text: str) -> int:
    """Count the lines without blanks, comments and docstrings."""
    tree = ast.parse(text)
    left_out: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                left_out.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(1 for number, line in lines if number not in left_out and line.strip() and line.strip()[0] != "#")


@cache
def imports() -> tuple[Import, ...]:
    """Return every import of one module of the core by another."""
    return tuple(found for module in modules().values() for found in _imports_of(module))


def _imports_of(module: Module) -> Iterator[Import]:
    tree = ast.parse(module.path.read_text("utf-8"))
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        for target in _targets(node):
            if target != module.name:
                when = "for typing" if id(node) in typing else "lazily" if id(node) in lazy else "at once"
                yield Import(module.name, target, when)


def _targets(node: ast.AST) -> Iterator[str]:
    """Yield which modules of the core an import names."""
    if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").partition(".")[0] == "understudy":
        base = (node.module or "").removeprefix("understudy").removeprefix(".")
        for alias in node.names:
            inner = f"{base}.{alias.name}".removeprefix(".")
            yield inner if _known(inner) else base if _known(base) else f"{base}.__init__".removeprefix(".")
    elif isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.startswith("understudy."):
                yield alias.name.removeprefix("understudy.")


def _known(name: str) -> bool:
    return name in modules()


def circles() -> list[frozenset[str]]:
    """Return the sets of modules that import each other, lazily or for typing included, but for declared imports."""
    edges: dict[str, set[str]] = {name: set() for name in modules()}
    for found in imports():
        if (found.source, found.target) not in DECLARED:
            edges[found.source].add(found.target)
    reached = {name: _reach(name, edges) for name in edges}
    together = {frozenset({name, *(other for other in reached[name] if name in reached[other])}) for name in edges}
    return sorted((each for each in together if len(each) > 1), key=sorted)


def _reach(name: str, edges: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    left = [name]
    while left:
        for other in edges[left.pop()] - seen:
            seen.add(other)
            left.append(other)
    return seen


@cache
def loaded_by_a_plain_call() -> tuple[str, ...]:
    """Return the modules of the core that a new process has loaded after one call that needs nothing special."""
    path = [str(CORE.parent), *filter(None, sys.path)]
    done = subprocess.run(
        [sys.executable, "-c", PLAIN_CALL],
        env={"PYTHONPATH": ":".join(path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    names = [name.removeprefix("understudy").removeprefix(".") for name in done.stdout.split()]
    return tuple(name if _known(name) else f"{name}.__init__".removeprefix(".") for name in names)


def figures() -> Iterator[tuple[str, int]]:
    """Yield what is counted, by name."""
    found = modules()
    core = [module for module in found.values() if module.room != "testing"]
    yield "lines of code of the core, but for testing", sum(module.lines for module in core)
    yield "lines of code that a plain call loads", sum(found[name].lines for name in loaded_by_a_plain_call())
    for room in dict.fromkeys(module.room for module in found.values()):
        inside = [module for module in found.values() if module.room == room]
        yield f"lines of code in {room}", sum(module.lines for module in inside)
        yield f"files in {room}", len(inside)
    longest = max(found.values(), key=lambda module: len(module.path.read_text("utf-8").splitlines()))
    yield f"lines of the longest module, {longest.name}", len(longest.path.read_text("utf-8").splitlines())


if __name__ == "__main__":
    for name, number in figures():
        print(f"{number:6,}  {name}")
