"""The command as its users run it: another process, in an empty home, with plugins found by their entry points."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import pty
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from understudy.discovery import loader
from understudy_cli import app, output

SECRET = "parrot-secret-0123456789"
PATIENCE = 600  # seconds for a process: it only ends what hangs
COMMAND = (sys.executable, "-m", "understudy_cli")

PARROT = """
import time
from understudy import ChatProvider, Finish, LLMResponse, ResponseWarning, TextDelta, Usage, hookimpl
from understudy.errors import AuthenticationFailed, ConnectionFailed, ModelNotFound, QuotaExhausted, RateLimited

FAILURES = {
    "limited": RateLimited("too many", status=429, code="too_many", retry_after=30),
    "exhausted": QuotaExhausted("no credit", status=429),
    "refused": AuthenticationFailed("bad key parrot-secret-0123456789", status=401),
    "unknown": ModelNotFound("no such model", status=404),
    "offline": ConnectionFailed("connection refused"),
}

class Parrot(ChatProvider):
    name = "parrot"

    def __init__(self, settings):
        name = f"{self.name.upper()}_API_KEY"
        self.lack = None if settings.secret(name) else settings.missing(name)
        self.mood = settings.get("PARROT_MOOD", default="fine")
        self.default_model = settings.model("PARROT_MODEL", default="parrot-2")

    def get_provider_name(self):
        return self.name

    def unavailable_reason(self):
        return self.lack

    def model_notice(self, model):
        return {"parrot-1": "parrot-1 retires on 2020-01-01, or has retired: ask parrot-2 instead"}.get(model)

    def generate(self, request):
        if self.mood in FAILURES:
            raise FAILURES[self.mood]
        warnings = (ResponseWarning("temperature", "temperature was dropped"),) if request.temperature else ()
        text = f"{self.name} heard: {request.prompt}"
        usage = Usage(input_tokens=2, output_tokens=3)
        return LLMResponse(True, text, self.name, model=request.model or self.default_model, finish_reason="stop",
                           usage=usage, warnings=warnings, request_id="squawk-1")

    def stream(self, request):
        response = self.generate(request)
        if self.mood == "escaping":
            yield TextDelta("a\\x1b[31mb")
        elif self.mood == "breaking":
            yield TextDelta("half an")
            raise ConnectionFailed("cut")
        elif self.mood == "endless":
            while True:
                yield TextDelta("squawk\\n")
                time.sleep(0.002)
        else:
            yield TextDelta(response.content)
        yield Finish(response)

class Macaw(Parrot):
    name = "macaw"

    def __init__(self, settings):
        super().__init__(settings)
        self.mood = "fine"

@hookimpl
def understudy_provider(settings):
    return Parrot(settings)

class macaw:
    @staticmethod
    @hookimpl
    def understudy_provider(settings):
        return Macaw(settings)

macaw = macaw()
"""

GREETER = '''
from understudy import hookimpl

@hookimpl
def understudy_commands(app):
    @app.command("greet")
    def greet():
        """Say hello."""
        print("hello from an extension")
'''


@pytest.fixture(scope="session")
def aviary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of installed distributions: two working providers, a broken one, and an extension."""
    home = tmp_path_factory.mktemp("aviary")
    (home / "cli_parrot.py").write_text(PARROT)
    (home / "cli_raven.py").write_text("raise ImportError('libraven.so is missing')")
    (home / "cli_greeter.py").write_text(GREETER)
    add_distribution(home, "understudy-parrot", "1.2", parrot="cli_parrot", macaw="cli_parrot:macaw")
    add_distribution(home, "understudy-raven", "0.3", raven="cli_raven")
    add_distribution(home, "understudy-greeter", "0.1", "understudy.extensions", greeter="cli_greeter")
    return home


def add_distribution(
    home: Path, name: str, version: str, group: str = "understudy.providers", needs: str = "", **entry_points: str
) -> None:
    """Write what pip would have written for a distribution."""
    info = home / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (f"Requires-Dist: {needs}\n" if needs else "")
    )
    lines = [f"{entry} = {value}" for entry, value in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))


class Command:
    """Runs `understudy` with nothing of the user's in its environment; no key ever shows in its output.

    Args:
        home: the working directory and home.
        aviary: where the test's distributions are.
    """

    patience = PATIENCE
    python = sys.executable

    def __init__(self, home: Path, aviary: Path) -> None:
        self.running: list[subprocess.Popen[str]] = []
        self.home = home
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONPATH": str(aviary),
            "GIT_CEILING_DIRECTORIES": str(home.parent),
            "LANG": "C.UTF-8",
        }

    def together(self, *calls: tuple[str, ...], **environment: str) -> list[subprocess.CompletedProcess[str]]:
        """Run it several times at once, each to its end."""
        running = [self.start(*arguments, **environment) for arguments in calls]
        return [self.finish(process) for process in running]

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start it, with pipes at all three ends."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.home,
            env=self.environment | environment,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            encoding="utf-8",
        )
        self.running.append(process)
        return process

    def stop(self) -> None:
        """End what a failed test has left behind."""
        for process in self.running:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return self.finish(self.start(*arguments, **environment), stdin)

    def finish(self, process: subprocess.Popen[str], stdin: str | None = "") -> subprocess.CompletedProcess[str]:
        """Wait for its end, and look for what must never be in its output."""
        try:
            stdout, stderr = process.communicate(stdin, timeout=PATIENCE)
        finally:
            process.kill()
            process.wait()
        return checked(subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr))

    def on_terminal(self, *arguments: str, **environment: str) -> str:
        """Run it on a terminal and return what that shows."""
        ours, theirs = pty.openpty()
        environment = self.environment | {"TERM": "xterm", **environment}
        with subprocess.Popen(
            [*COMMAND, *arguments], cwd=self.home, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
        ) as process:
            os.close(theirs)
            shown = b""
            with contextlib.suppress(OSError):  # how Linux says that nobody holds the other end
                while piece := os.read(ours, 65536):
                    shown += piece
            process.wait(PATIENCE)
        os.close(ours)
        return shown.decode()

    def write_env(self, **lines: str) -> Path:
        """Write a `.env` file that only its owner may read."""
        file = self.home / ".env"
        file.write_text(textwrap.dedent("".join(f"{name}={value}\n" for name, value in lines.items())))
        file.chmod(0o600)
        return file


def checked(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """Look for what must never be in its output."""
    assert SECRET not in done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done


class CommandHere(Command):
    """Runs `understudy` in this process, which saves the start of another one; standard input is empty."""

    def together(self, *calls: tuple[str, ...], **environment: str) -> list[subprocess.CompletedProcess[str]]:
        """Run it several times, one after the other."""
        return [self(*arguments, **environment) for arguments in calls]

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end, as in a process that has just begun."""
        assert not stdin
        with pytest.MonkeyPatch.context() as patch:
            for name in set(os.environ):
                patch.delenv(name)
            for name, value in (self.environment | environment).items():
                patch.setenv(name, value)
            patch.chdir(self.home)
            patch.setattr(sys, "path", [*os.environ["PYTHONPATH"].split(os.pathsep), *sys.path])
            patch.setattr(sys, "argv", ["understudy", *arguments])
            for name in ("stdin", "stdout", "stderr"):
                patch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True))
            logger = logging.getLogger("understudy")
            patch.setattr(logger, "handlers", [])
            patch.setattr(logger, "level", logging.NOTSET)
            patch.setattr(app.app, "registered_commands", [*app.app.registered_commands])
            code = _end_of_main()
            said = [stream.buffer.getvalue().decode() for stream in (sys.stdout, sys.stderr)]  # type: ignore[attr-defined]  # BytesIO
        return checked(subprocess.CompletedProcess(arguments, code, *said))


def _end_of_main() -> int:
    """Run the command's main(), and return its exit code; nothing that it has loaded or remembered is left."""
    loaded = set(sys.modules)
    remembering = (output.console, loader._load)
    for function in remembering:
        function.cache_clear()
    try:
        app.main()
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(end.code)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        for function in remembering:
            function.cache_clear()
        if hashed := sys.modules.get("understudy.discovery.hashed"):
            hashed.held.modules.clear()
        for name in set(sys.modules) - loaded:
            if name.startswith("cli_"):  # a module of the aviary: the next test may change it
                del sys.modules[name]
    return 0


@pytest.fixture
def here(tmp_path: Path, aviary: Path) -> CommandHere:
    """The command in a home of its own, run in this process."""
    return CommandHere(tmp_path, aviary)


@pytest.fixture
def process(tmp_path: Path, aviary: Path) -> Iterator[Command]:
    """The command in a home of its own, each run a process."""
    command = Command(tmp_path, aviary)
    yield command
    command.stop()


@pytest.fixture
def understudy(process: Command) -> Command:
    """The command as a module's tests run it."""
    return process


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, aviary: Path) -> Iterator[Callable[[], str]]:
    """The whole demo, started at once and read when it is needed: it waits for the SDKs while other tests run."""
    home = tmp_path_factory.mktemp("demo")
    command = Command(home, aviary)
    keys = {"GOOGLE_API_KEY": SECRET, "ANTHROPIC_API_KEY": SECRET, "HTTP_PROXY": "http://127.0.0.1:9"}
    process = command.start("demo", "--record", "demo.txt", "--svg", "demo.svg", **keys)
    done: list[str] = []

    def read() -> str:
        if not done:
            finished = command.finish(process)
            assert finished.returncode == 0, finished.stderr
            assert finished.stderr == ""
            done.append(finished.stdout)
        return done[0]

    read.home = home  # type: ignore[attr-defined]  # a function carries attributes
    try:
        yield read
    finally:
        command.stop()
