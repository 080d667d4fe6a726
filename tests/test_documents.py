"""Every code block of the README files and of docs/ is run, and what it prints is compared with what the page shows.

    python              run; the blocks of a page share their names. What one prints stands in a `text` block after it.
    python file=NAME    written to that file, beside toml, dotenv, json with file=NAME; these three are parsed, too
    text                what the python block before it prints; ... stands for anything
    http                requests to the sandbox, `METHOD /path {body} (remark)`
    console             `$ command`, and below it what the command prints
    sh                  commands to be copied: not run, but what they name must be there, options included

A page runs in a folder of its own, its providers talk to the sandbox, and no retry waits. A block below the comment
`<!-- not run: reason -->` is left alone; test_document_facts.py counts those.
"""

import ast
import contextlib
import gc
import importlib.metadata
import io
import json
import logging
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
import tomllib
import types
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dotenv
import pytest

from understudy import ChatProvider, LLMFactory
from understudy.discovery.packages import FOLDERS
from understudy.testing import no_waiting

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("core/*.md"), *ROOT.glob("plugins/*/*.md"), *ROOT.glob("docs/**/*.md")])
PLUGINS = ROOT / "plugins"
FENCE = re.compile(r"^( *)(```+)([^`]*)$")
NOT_RUN = re.compile(r"^<!-- not run: .+ -->$")


@dataclass(frozen=True)
class Block:
    """A fenced block: the line of its first word, its kind, the file it names, and its text."""

    line: int
    kind: str
    file: str | None
    text: str


def read_blocks(page: Path) -> Iterator[Block]:
    """Read the fenced blocks of a page, those with a reason not to be run left out."""
    lines = page.read_text("utf-8").splitlines()
    number = 0
    while number < len(lines):
        opening = FENCE.match(lines[number])
        number += 1
        if opening is None:
            continue
        indent, fence, words = opening.groups()
        start = number
        while lines[number].strip() != fence:  # a fence that nobody closes is an IndexError here
            number += 1
        kind, *options = words.split() or [""]
        file = next((option.removeprefix("file=") for option in options if option.startswith("file=")), None)
        text = "".join(line.removeprefix(indent) + "\n" for line in lines[start:number])
        number += 1
        if start < 2 or not NOT_RUN.match(lines[start - 2].strip()):
            yield Block(start + 1, kind, file, text)


def same(shown: str, printed: str) -> bool:
    """Whether a text is what a page shows: `...` stands for anything in a line, alone on a line for any lines."""
    pattern = ""
    for line in shown.strip("\n").splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += re.escape(line.rstrip()).replace(r"\.\.\.", ".*") + r"\n"
    lines = [line.rstrip() for line in printed.strip("\n").splitlines()]
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines)) is not None


class Stage:
    """One page on its way through: its folder, its names, and what was printed last."""

    def __init__(self, page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.page = page
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.module = types.ModuleType("page")
        self.output = io.StringIO()
        monkeypatch.setitem(sys.modules, "page", self.module)

    def printed(self) -> str:
        """Return what was printed since this was asked last."""
        text = self.output.getvalue()
        self.output.seek(0)
        self.output.truncate()
        return text

    def play(self, blocks: list[Block]) -> None:
        """Run the blocks in order."""
        # A program finds no handlers but the library's own, which drops the lines; pytest's come after the fixtures.
        self.monkeypatch.setattr(logging.getLogger(), "handlers", [])
        self.monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)
        self.monkeypatch.setattr(logging.getLogger("understudy"), "level", logging.NOTSET)
        for number, block in enumerate(blocks):
            before, following = [None, *blocks, None][number : number + 3 : 2]
            where = f"{self.page.relative_to(ROOT)}:{block.line}"
            if block.file is not None:
                (self.folder / block.file).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / block.file).write_text(block.text, encoding="utf-8")
            match block.kind:
                case "python" if block.file is not None:
                    ast.parse(block.text, where)
                case "python":
                    self.run_python(block)
                    printed = self.printed()
                    shown = following.text if following is not None and following.kind == "text" else ""
                    if not shown and PLUGINS in self.page.parents:
                        continue  # a package's own README may leave out what its examples print
                    assert same(shown, printed), f"{where} prints\n{printed}\nand the page shows\n{shown}"
                case "text":
                    assert getattr(before, "kind", "") == "python", f"{where}: nothing printed this text"
                case "console" | "sh":
                    self.run_commands(block, where)
                case "toml":
                    tomllib.loads(block.text)
                case "json":
                    json.loads(block.text)
                case "dotenv":
                    values = dotenv.dotenv_values(stream=io.StringIO(block.text), interpolate=False)
                    assert all(values.values()), f"{where}: a name without a value in {values}"
                case "http":
                    self.send_requests(block, where)
                case kind:
                    raise AssertionError(f"{where}: a block of the kind {kind!r}, which nobody checks")

    def run_python(self, block: Block) -> None:
        """Run a block in the page's namespace, so that an error shows the page's line."""
        code = compile("\n" * (block.line - 1) + block.text, str(self.page), "exec")
        with contextlib.redirect_stdout(self.output), contextlib.redirect_stderr(self.output):
            exec(code, vars(self.module))

    def run_commands(self, block: Block, where: str) -> None:
        """Run the commands of a block and compare what they print; those of `sh` are only looked at."""
        if block.kind == "sh":
            for line in block.text.splitlines():
                check_command(self, line, where)
            return
        for scene in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, shown = scene.partition("\n")
            run_command(self, command, where)
            printed = self.printed()
            assert same(shown, printed), f"{where}: {command!r} prints\n{printed}\nand the page shows\n{shown}"

    def send_requests(self, block: Block, where: str) -> None:
        """Send each line, `METHOD /path {"a": "body"} (a remark)`, to the stand-in for Gemini."""
        for line in block.text.splitlines():
            found = re.fullmatch(r"(GET|POST) +(/\S+) *(\{.*\})? *(?:\(.*\))?", line)
            assert found, f"{where}: {line!r} is no request"
            url, body = os.environ["GEMINI_BASE_URL"] + found[2], (found[3] or "").encode()
            request = urllib.request.Request(url, body or None, method=found[1])
            with urllib.request.urlopen(request, timeout=10) as reply:
                assert reply.status == 200, f"{where}: {line!r} is answered {reply.status}"


# ---- commands ----


def run_command(stage: Stage, line: str, where: str) -> None:
    """Run a command that is safe and local."""
    match shlex.split(line):
        case ["understudy", "sandbox"]:
            run_sandbox(stage)
        case ["understudy", *arguments, "--svg", picture]:
            (stage.folder / picture).parent.mkdir(parents=True)
            run_understudy(stage, [*arguments, "--svg", picture])
            made, kept = words_of(stage.folder / picture), words_of(ROOT / picture)
            assert made == kept, f"{where}: {picture} is out of date, run {line!r} again"
        case ["understudy", *arguments]:
            run_understudy(stage, arguments)
        case ["python" | "python3", script] if (stage.folder / script).is_file():
            with contextlib.redirect_stdout(stage.output), contextlib.redirect_stderr(stage.output):
                runpy.run_path(script, run_name="__main__")
        case ["pytest", *arguments]:
            gc.freeze()  # the suite collects garbage many times over, and need not look at every SDK each time
            with contextlib.redirect_stdout(stage.output):
                pytest.main(["-p", "no:cacheprovider", *arguments])
            gc.unfreeze()
        case ["export", assignment]:
            stage.monkeypatch.setenv(*assignment.split("=", 1))
        case ["pip", "install", "-e", package]:
            install(stage, stage.folder / package)
        case _:
            raise AssertionError(f"{where}: {line!r} is a command that nobody runs")


def check_command(stage: Stage, line: str, where: str) -> None:
    """See whether what a line of shell commands names is there."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|<>&")
    lexer.whitespace_split = True
    words = list(lexer)
    while words:
        end = next((number for number, word in enumerate(words) if word in ("|", "&", "<", ">")), len(words))
        check_words(stage, words[:end], f"{where}: {line!r}")
        words = words[end + (2 if words[end : end + 1] in (["<"], [">"]) else 1) :]


def check_words(stage: Stage, words: list[str], where: str) -> None:
    """See whether what one command names is there."""
    match words:
        case ["understudy", name, *arguments]:
            run_understudy(stage, [name, "--help"])
            told = stage.printed()
            assert f"understudy {name}" in told, f"{where}: there is no understudy {name}"
            for option in [word for word in arguments if word.startswith("-")]:
                assert re.search(rf"(?<![\w-]){option}(?![\w-])", told), f"{where}: {name} has no option {option}"
        case ["python" | "python3", "noxfile.py", session, *paths]:
            assert session in nox_sessions(), f"{where}: noxfile.py has no session {session!r}"
            gone = [path for path in paths if "/" in path and not (ROOT / path).exists()]
            assert not gone, f"{where} names what is not there: {gone}"
        case ["python" | "python3", "-m", "pip", *rest]:
            check_words(stage, ["pip", *rest], where)
        case ["pip", "install", "-c", "dist/ours.txt", *names]:
            gone = [name for name in names if FOLDERS.get(name) is None or not (ROOT / FOLDERS[name]).is_dir()]
            assert not gone, f"{where}: there is no package {gone}"
        case ["pip", "install", *packages]:
            for package in packages:
                assert (ROOT / package / "pyproject.toml").is_file(), f"{where}: there is no package {package}"
        case ["python" | "python3", script] if (ROOT / script).is_file():
            pass
        case [] | ["export", *_] | [".", _] | ["python3", "-m", "venv", _] | ["git", "diff"] | ["jq", *_]:
            pass
        case _:
            raise AssertionError(f"{where} is a command that nobody checks")


def run_understudy(stage: Stage, arguments: list[str]) -> None:
    """Run the installed command in this process, where the SDKs are imported already."""
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="understudy")
    logger = logging.getLogger("understudy")
    with stage.monkeypatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr(sys, "argv", ["understudy", *arguments])
        patch.setattr(sys, "stdin", io.StringIO())
        patch.setattr(logger, "handlers", list(logger.handlers))
        patch.setattr(logger, "level", logger.level)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("default")  # as in a process of its own, where a warning is no error
        warnings.simplefilter("ignore", DeprecationWarning)
        stack.enter_context(contextlib.redirect_stdout(stage.output))
        stack.enter_context(contextlib.redirect_stderr(stage.output))
        stack.enter_context(contextlib.suppress(SystemExit))
        script.load()()


def words_of(picture: Path) -> list[str]:
    """Return the lines of text in a picture, with seconds, prices and blanks left out."""
    lines: dict[str, str] = {}
    for element in ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}text"):
        height = element.attrib["y"]
        lines[height] = lines.get(height, "") + (element.text or "")
    return [re.sub(r"\$\d+\.\d+|\d+\.\d\d|\s", "", line) for line in lines.values()]


def run_sandbox(stage: Stage) -> None:
    """Run the stand-ins until they have said where they are, and interrupt them as Ctrl-C does."""
    command = [str(Path(sys.executable).with_name("understudy")), "sandbox"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        stage.output.write(first + process.stdout.read() + process.stderr.read())


def nox_sessions() -> set[str]:
    """Return the names of the noxfile's sessions."""
    tree = ast.parse((ROOT / "noxfile.py").read_text("utf-8"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and any("nox" in ast.unparse(mark) for mark in node.decorator_list)
    }


def install(stage: Stage, package: Path) -> None:
    """Install a package of the page as pip would: by its metadata."""
    project = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))["project"]
    source = package / "src" if (package / "src").is_dir() else package
    stage.monkeypatch.syspath_prepend(str(source))
    information = source / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    information.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (information / "METADATA").write_text(metadata, encoding="utf-8")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (information / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")


# ---- the test ----


@pytest.fixture
def clean_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox_environment: dict[str, str]
) -> Iterator[pytest.MonkeyPatch]:
    """A process as a page finds it: in an empty folder, nothing registered, no log handler, keys of the sandbox."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    made: list[LLMFactory] = []
    make = LLMFactory.__init__

    def remember(factory: LLMFactory, *arguments: Any, **options: Any) -> None:
        made.append(factory)  # so that its connections can be closed, which an example leaves to its reader
        make(factory, *arguments, **options)

    monkeypatch.setattr(LLMFactory, "__init__", remember)
    modules = set(sys.modules)
    registry = LLMFactory.PROVIDER_REGISTRY
    with no_waiting():
        yield monkeypatch
    for factory in made:
        with contextlib.suppress(AttributeError):  # of one that was refused, there is nothing to close
            factory.close()
    for provider in [one for one in vars(sys.modules["page"]).values() if isinstance(one, ChatProvider)]:
        provider.close()
    for found in registry.describe():
        if found.state == "registered":
            del registry[found.name]
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_does_what_its_page_shows(page: Path, tmp_path: Path, clean_process: pytest.MonkeyPatch) -> None:
    Stage(page, tmp_path, clean_process).play(list(read_blocks(page)))


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("one\n", "one  \n", True),
        ("one", "two", False),
        ("at ... o'clock", "at 12 o'clock", True),
        ("first\n...\nlast", "first\na\nb\nlast", True),
        ("first\n...", "first", True),
        ("first", "first\nsecond", False),
        ("", "something", False),
    ],
)
def test_what_is_shown_is_compared(shown: str, printed: str, expected: bool) -> None:
    assert same(shown, printed) is expected


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ("```python\nprint(1)\n```\n", "prints"),
        ("```python\nprint(1)\n```\n\n```text\n2\n```\n", "prints"),
        ("```text\n2\n```\n", "nothing printed"),
        ("```rust\nfn main\n```\n", "nobody checks"),
        ("```sh\nrm -rf .\n```\n", "nobody checks"),
        ("```sh\nunderstudy ask Hello --no-such-option\n```\n", "has no option"),
        ("```sh\nunderstudy no-such-command\n```\n", "there is no understudy"),
        ("```console\n$ curl example.com\n```\n", "nobody runs"),
        ("```sh\npython3 noxfile.py no-such-session\n```\n", "no session"),
        ("```sh\npip install ./no-such-package\n```\n", "no package"),
        ("```dotenv\nNAME\n```\n", "without a value"),
    ],
)
def test_a_wrong_block_is_found(block: str, complaint: str, tmp_path: Path, clean_process: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(block, encoding="utf-8")
    stage = Stage(ROOT / "page.md", tmp_path, clean_process)
    with pytest.raises(AssertionError, match=complaint):
        stage.play(list(read_blocks(page)))
