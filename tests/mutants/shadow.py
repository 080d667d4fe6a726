"""A copy of the package in which mistakes are made, and which tests reach a line of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mutants.mutation import Mutation

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
CORE = ROOT / "core" / "tests"
ROOMS = ("engine", "health", "execution", "discovery")
LONGEST = 1800.0  # seconds for all tests: only what hangs outside of a test takes as long
INTERRUPTED = 2  # pytest's exit status where a module could not be imported
DOES_NOT_END = " (does not end)"  # after the name of such a test
SELDOM = 4  # tests
FEW = 3  # files whose tests run first
PLAIN = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not timing")


def package() -> Path:
    """Return the folder of the package."""
    spec = find_spec("understudy")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


class Shadow:
    """A copy of the package.

    Args:
        package: the package.
        folder: where the copy goes; it is made.
    """

    def __init__(self, package: Path, folder: Path) -> None:
        self.folder = folder
        self.source = folder / "source"
        self.warm: Warm | None = None
        shutil.copytree(package, self.source / package.name, ignore=shutil.ignore_patterns("__pycache__"))

    def failing_test(self, mutation: Mutation, tests: list[str]) -> str | None:
        """Return the first of the tests that fails with a mistake; None where none does."""
        path = self.source.joinpath(*mutation.module.split(".")).with_suffix(".py")
        right = path.read_text("utf-8")
        wrong = mutation.applied_to(right)
        forget_compiled(path)
        if mutation.first and self.warm is None and hasattr(os, "fork"):
            self.warm = Warm(self)
        path.write_text(wrong, "utf-8")
        try:
            while tests:
                failing = self._fail(mutation, path, wrong, tests)
                name = (failing or "").removesuffix(DOES_NOT_END)
                # A test that fails by chance, on a busy machine, notices nothing.
                if failing is None or name not in tests or self._fail(mutation, path, wrong, [name]):
                    return failing
                tests = tests[tests.index(name) + 1 :]
            return None
        finally:
            path.write_text(right, "utf-8")
            forget_compiled(path)

    def _fail(self, mutation: Mutation, path: Path, wrong: str, tests: list[str]) -> str | None:
        if mutation.first and self.warm is not None:
            return self.warm.failing_test(path, wrong, tests)
        # Importing all files takes longer than the tests that notice most mistakes.
        few = [name for name in tests if name.partition("::")[0] in set(files_of(tests)[:FEW])]
        rest = [name for name in tests if name not in set(few)]
        return self.first_failing(few) or self.first_failing(rest)

    def close(self) -> None:
        """End what it has started."""
        if self.warm is not None:
            self.warm.close()

    def first_failing(self, tests: list[str]) -> str | None:
        """Return the first of the tests that fails with the copy as it is; None where none does."""
        if not tests:
            return None
        for name in ("failed", "failing"):
            (self.folder / name).unlink(missing_ok=True)
        chosen = self.folder / "chosen"
        chosen.write_text("\n".join(tests), "utf-8")
        try:
            done = self.run("mutants.chosen", files_of(tests), UNDERSTUDY_CHOSEN=str(chosen))
        except subprocess.TimeoutExpired:
            return "something that does not end"
        if done.returncode == 0:
            return None
        for name in ("failing", "failed"):
            if (self.folder / name).exists():
                return (self.folder / name).read_text("utf-8")
        if done.returncode == INTERRUPTED:
            return "something that cannot be imported"
        raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")

    def run(self, plugin: str, paths: Iterable[str], **environment: str) -> subprocess.CompletedProcess[str]:
        """Run pytest on the copy."""
        command, told = self.command(plugin, paths), self.environment(**environment)
        return subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, timeout=LONGEST)

    def command(self, plugin: str, paths: Iterable[str]) -> list[str]:
        """Return how pytest is started."""
        return [sys.executable, "-m", "pytest", *PLAIN, "-p", plugin, *paths]

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment in which the copy comes first on the path."""
        path = [str(self.source), str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return inherited | {"PYTHONPATH": os.pathsep.join(path), "UNDERSTUDY_SHADOW": str(self.source)} | more


class Warm:
    """A process that has imported all tests, with a copy of the package that has no mistake yet.

    Args:
        shadow: the copy.
    """

    def __init__(self, shadow: Shadow) -> None:
        self._at = shadow.folder / "at"
        questions, self._questions = os.pipe()
        self._answers, answers = os.pipe()
        told = {"UNDERSTUDY_QUESTIONS": str(questions), "UNDERSTUDY_ANSWERS": str(answers)}
        command = shadow.command("mutants.warm", [str(CORE)])
        with (shadow.folder / "said").open("w") as said:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=shadow.environment(**told),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=(questions, answers),
            )
        os.close(questions)
        os.close(answers)
        self._reader = os.fdopen(self._answers, encoding="utf-8")
        if json.loads(self._reader.readline() or "null") != "ready":
            raise RuntimeError((shadow.folder / "said").read_text("utf-8"))

    def failing_test(self, path: Path, source: str, tests: list[str]) -> str | None:
        """Return the first of the tests that fails with a mistake; None where none does."""
        question = {"path": str(path), "source": source, "tests": tests, "at": str(self._at)}
        data = (json.dumps(question) + "\n").encode()
        while data:
            data = data[os.write(self._questions, data) :]
        answer: str | None = json.loads(self._reader.readline())
        return answer

    def close(self) -> None:
        """End it."""
        os.close(self._questions)
        self.process.wait()
        self._reader.close()


class Reach:
    """Which tests reach which lines.

    Args:
        found: of each test the lines by module, its seconds, and whether it starts processes, which may reach any line.
    """

    def __init__(self, found: dict[str, dict[str, Any]]) -> None:
        seen: Counter[str] = Counter()
        self.order: list[str] = []
        self.anywhere = {name for name, test in found.items() if test["processes"]}
        self.lines: dict[tuple[str, int], set[str]] = {}
        self.modules: dict[str, set[str]] = {}
        size = {name: sum(map(len, test["lines"].values())) for name, test in found.items()}
        rank: dict[str, tuple[Any, ...]] = {}
        for name in sorted(found, key=lambda name: (found[name]["seconds"], name)):
            function = name.partition("[")[0]
            rank[name] = (name in self.anywhere, seen[function], size[name])
            seen[function] += 1
            for module, lines in found[name]["lines"].items():
                self.modules.setdefault(module, set()).add(name)
                for line in lines:
                    self.lines.setdefault((module, line), set()).add(name)
        # What tests little tests it closely; of the same test with other arguments one comes first, then the others'.
        self.order = sorted(found, key=rank.__getitem__)

    def tests_of(self, mutation: Mutation) -> list[str]:
        """Return the tests that may notice a mistake, those that are likely to first."""
        if not mutation.first:  # a constant or a default: whoever reaches anything of its module
            near = self.modules.get(mutation.module, set(self.order))
            return [name for name in self.order if name in near]
        reached = self._reaching(mutation.module, mutation.first, mutation.last)
        if len(reached) < SELDOM:  # perhaps it is carried out once in a process, by whoever comes first
            reached |= self._reaching(mutation.module, mutation.begin, mutation.end)
        if not reached or ".discovery." in mutation.module:  # what is found on a path is tried in processes of its own
            reached |= self.anywhere
        return [name for name in self.order if name in reached]

    def _reaching(self, module: str, first: int, last: int) -> set[str]:
        return set().union(*(self.lines.get((module, line), ()) for line in range(first, last + 1)))


def measure(path: Path) -> Reach:
    """Run the tests without a mistake, and return which lines each reaches.

    Args:
        path: where it is written down. What is there of files that have not changed is not measured again.
    """
    sources = hashed([*sorted(package().rglob("*.py")), *sorted(CORE.glob("*.py")), ROOT / "conftest.py"])
    known: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if known.get("sources") != sources:
        known = {"files": {}, "tests": {}}
    files = {str(file.relative_to(ROOT)): hashed([file]) for file in sorted(CORE.rglob("test_*.py"))}
    changed = [name for name, digest in files.items() if known["files"].get(name) != digest]
    tests = {
        name: test for name, test in known["tests"].items() if name.partition("::")[0] in set(files) - set(changed)
    }
    if changed:
        print(f"running the tests of {len(changed)} files without a mistake", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            found = Path(folder, "found.json")
            shadow = Shadow(package(), Path(folder, "shadow"))
            told = {"UNDERSTUDY_REACH": str(found), "UNDERSTUDY_ROOMS": " ".join(ROOMS)}
            done = shadow.run("mutants.reach", changed, **told)
            if done.returncode:
                sys.exit(f"Tests fail without a mistake, so they cannot notice one:\n{done.stdout}{done.stderr}")
            tests |= json.loads(found.read_text("utf-8"))
        path.write_text(json.dumps({"sources": sources, "files": files, "tests": tests}), "utf-8")
    return Reach(tests)


def files_of(tests: Iterable[str]) -> list[str]:
    """Return the files that tests are in, in that order."""
    return list(dict.fromkeys(name.partition("::")[0] for name in tests))


def forget_compiled(path: Path) -> None:
    """Remove what was compiled: within one second, and of the same size, Python takes it for up to date."""
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()


def hashed(paths: Iterable[Path]) -> str:
    """Return a digest of files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()
