"""What there is to do in this repository: `python3 noxfile.py` lists it, `python3 noxfile.py demo` does it.

Needs Python 3.11 or newer and nothing else: where nox is missing, .ci/bootstrap.py makes an environment with it in
`.nox/` and starts again in there. With nox installed, `nox -s demo` is the same thing.
"""

import sys


def stop_if_too_old(version: "tuple[int, ...]") -> None:  # Python 2 stops here: this needs Python 3.11 or newer
    # All of this file must parse on Python 3.6, or the sentence below would be a SyntaxError.
    if version < (3, 11):
        sys.exit(
            "Understudy needs Python 3.11 or newer, and this is Python {}.{}: start it with a newer one, "
            "for example `python3.13 noxfile.py`.".format(*version)
        )


stop_if_too_old(tuple(sys.version_info[:2]))

import logging
import os
import shutil
import subprocess
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / ".ci"))
from bootstrap import LOCK, ROOT, start

if __name__ == "__main__":
    start(Path(__file__).resolve(), sys.argv[1:])
    sys.exit()

import nox
import nox.command

from installer import (
    empty,
    existing,
    group,
    install,
    installer_settings,
    name_of,
    packages,
    prepare,
    quietly,
    third_party,
    wheel,
    write_list,
)

# Run in a fresh environment: every provider that is installed can be made, and none has imported an SDK for it.
MAKE_ALL = """
from understudy import LLMFactory
names = list(LLMFactory.PROVIDER_REGISTRY)
print("makes", *[LLMFactory(name, [], settings={}) for name in names])
"""

# A program that never rests, and ends when the session has been killed.
NEVER_RESTS = """
import os
parent = os.getppid()
while os.getppid() == parent:
    pass
"""

# Python starts often in the tests, and without compiled modules it would compile the SDKs again each time.
CLEAN = {"PYTHONPATH": None, "PYTHONDONTWRITEBYTECODE": None}

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"  # `prepare` sees to what in it must be made again
nox.options.sessions = ["lint", "tests"]
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"


def is_news(record: logging.LogRecord) -> bool:
    """Whether nox says something that the session's own program, whose words come last, has not said."""
    told_already = record.getMessage().startswith(("Command ", "Session ")) and not record.exc_info
    return record.levelno >= logging.WARNING and not told_already


if LOCK in os.environ:  # bootstrap.py started nox
    logging.getLogger("nox").addFilter(is_news)


def folders_with_tests() -> "list[str]":
    """Return the folders with tests."""
    return existing("core/tests", "plugins/*/tests", "tests")


def run_tests(session: nox.Session, without: str = "") -> None:
    """Run pytest over the fast tests (but for one folder), or over the paths among the session's arguments."""
    chosen = any((ROOT / argument.partition("::")[0]).exists() for argument in session.posargs)
    slow = [f"--ignore=tests/{name}" for name in ("benchmarks", "processes", "test_stranger.py")]
    paths = [] if chosen else [*(folder for folder in folders_with_tests() if folder != without), *slow]
    # Most tests wait for sockets, so more of them than there are cores can go on at once.
    # A module stays together, and a class of the contract, since they share what is costly to make.
    workers = [] if chosen else ["--numprocesses=4", "--dist=loadscope"]
    session.run("pytest", "-m", "not timing", *workers, *paths, *session.posargs, env=CLEAN)


def stop_without_uv(session: nox.Session) -> None:
    """Only uv can choose the lowest versions."""
    if session.venv_backend != "uv":
        sys.exit("Only uv can choose the lowest versions, and there is none here.")


@nox.session
def demo(session: nox.Session) -> None:
    """Watch an understudy take over, with stand-ins for the vendors: needs no key and no account."""
    prepare(session)
    session.run("understudy", "demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the fast tests against the built wheels; arguments go to pytest."""
    prepare(session, *group("test"))
    run_tests(session)


@nox.session
def timing(session: nox.Session) -> None:
    """Run the tests that can only be timed, one after the other; they need a machine with nothing else to do."""
    prepare(session, *group("test"))
    session.run("pytest", "-m", "timing", *(session.posargs or folders_with_tests()), env=CLEAN)


@nox.session
def busy(session: nox.Session) -> None:
    """Run the fast tests beside eight busy programs: none may depend on how fast the machine is."""
    prepare(session, *group("test"))
    others = [subprocess.Popen([sys.executable, "-c", NEVER_RESTS]) for _ in range(8)]
    try:
        run_tests(session)
    finally:
        for other in others:
            other.kill()
            other.wait()


@nox.session
@nox.parametrize(
    "python, dependencies",
    [(None, "lowest"), ("3.11", "newest"), ("3.12", "newest"), ("3.13", "newest")],
    ids=["lowest", "3.11", "3.12", "3.13"],
)
def versions(session: nox.Session, dependencies: str) -> None:
    """Run the tests with the lowest versions that we allow, and with the newest on each Python: `versions(3.12)`."""
    if dependencies == "newest":
        prepare(session, *group("test"), again=True)
        run_tests(session)
        return
    stop_without_uv(session)
    prepare(session, *third_party(), "--resolution=lowest-direct")
    install(session, "Installing pytest", *group("test"))
    # The sandbox needs no SDK: its own tests say what the newest ones make of its replies.
    run_tests(session, without="plugins/understudy-sandbox/tests")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting, types and which module imports which."""
    prepare(session, *group("test"), *group("lint"))
    checks = [
        ["ruff", "check", "--quiet", "--output-format=concise", "."],
        ["ruff", "format", "--check", "--quiet", "--output-format=concise", "."],
        ["mypy", "noxfile.py", *existing(".ci/*.py"), *existing("core/src/*", "plugins/*/src/*")],
        ["lint-imports", "--no-logo", "--no-cache"],
    ]
    failed = []
    for check in checks:
        try:
            session.run(*check)
        except nox.command.CommandFailed:
            failed.append(" ".join(check[:2]))
    if failed:
        print("Not in order:", ", ".join(failed), file=sys.stderr)
        session.error(", ".join(failed))


@nox.session
def format(session: nox.Session) -> None:
    """Put imports and formatting in order."""
    prepare(session, *group("lint"), ours=False)
    session.run("ruff", "check", "--fix", ".")
    session.run("ruff", "format", ".")


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Run one of tests/benchmarks by its name, such as `healthy_days`, with arguments for it; else each script."""
    prepare(session, *group("test"))
    name, *arguments = session.posargs or ["[!_]*.py"]
    scripts = existing(f"tests/benchmarks/{name}", f"tests/benchmarks/{name}.py")
    if not scripts:
        sys.exit(f"There is nothing called {name!r} in tests/benchmarks.")
    for script in scripts:
        print(f"\n{script}", flush=True)
        session.run("python", script, *arguments, env={"PYTHONPATH": None})


@nox.session
def failover(session: nox.Session) -> None:
    """Fail over beside other libraries, each in an environment of its own; arguments select scenarios and libraries."""
    prepare(session, *group("test"))
    session.run("python", "tests/benchmarks/failover", *session.posargs, env=installer_settings())


@nox.session
def lanes(session: nox.Session) -> None:
    """Measure what calls cost on each lane beside the raw SDK and other libraries; arguments select who plays."""
    prepare(session, *group("test"))
    session.run("python", "tests/benchmarks/lanes", *session.posargs, env=installer_settings())


@nox.session
def simulation(session: nox.Session) -> None:
    """Simulate a million outages on all cores; arguments: `--outages` how many, `--first` seed, or `--seed` for one."""
    prepare(session, *group("test"))
    session.run("python", "tests/simulation", *session.posargs, env={"PYTHONPATH": None})


@nox.session
def processes(session: nox.Session) -> None:
    """Serve from gunicorn and uvicorn, kill and restart their workers; fork and spawn; arguments go to pytest."""
    prepare(session, *group("test"), *group("servers"))
    session.run("pytest", *(session.posargs or ["tests/processes"]), env=CLEAN)


@nox.session
def soak(session: nox.Session) -> None:
    """Call for ten minutes, up to 100,000 times, and measure what must not grow; arguments: `--minutes`, `--calls`."""
    prepare(session, *group("test"))
    session.run("python", "tests/soak.py", *session.posargs, env={"PYTHONPATH": None})


@nox.session
def mutants(session: nox.Session) -> None:
    """Make mistakes of one line in the core, and name those that no test notices: arguments as `--most 20 engine`."""
    prepare(session, *group("test"), "coverage>=7.6")  # which says what each test reaches
    session.run("python", "tests/mutants", *session.posargs, env=CLEAN)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Hand over replies, files and arguments that are wrong: `--minutes 20 streams`, `--seed 7` for one round."""
    prepare(session, *group("test"))
    session.run("python", "tests/fuzz", *session.posargs, env=CLEAN)


def install_as_told(session: nox.Session, wheels: "list[Path]") -> None:
    """Install by name with pip, as README tells, and make every provider."""
    told = "pip install -c dist/ours.txt "
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    names = next(line.removeprefix(told).split() for line in lines if line.startswith(told))
    empty(session)
    ours = write_list(wheels, Path(session.create_tmp(), "ours.txt"))
    install(session, "Installing pip", "pip")
    pip = ["python", "-m", "pip", "install", "-c", str(ours)]
    quietly(session, f"Installing {', '.join(names)} with pip", *pip, *names)
    session.run("python", "-m", "pip", "check", "--quiet")
    session.run("python", "-W", "error", "-c", MAKE_ALL)


@nox.session(python=["3.11", "3.12", "3.13"])
@nox.parametrize("versions", ["lowest-direct", "highest"])
def installs(session: nox.Session, versions: str) -> None:
    """See whether our packages install together, and each alone, with the oldest and the newest dependencies."""
    stop_without_uv(session)
    core, *plugins = [wheel(session, package) for package in packages()]
    if versions == "highest":
        install_as_told(session, [core, *plugins])
    shared = ("understudy_toolkit-", "understudy_gemini_wire-")  # that others are built on
    base = [core, *(plugin for plugin in plugins if plugin.name.startswith(shared))]
    for wheels in ([core, *plugins], base, *([*base, plugin] for plugin in plugins if plugin not in base)):
        empty(session)
        names = ", ".join(one.name.partition("-")[0] for one in wheels[1:])
        install(session, f"Installing {names} ({versions}) beside the core", *wheels, f"--resolution={versions}")
        session.run("uv", "pip", "check", "--quiet", external=True)
        session.run("python", "-W", "error", "-c", MAKE_ALL)


@nox.session
def build(session: nox.Session) -> None:
    """Put a wheel of each package in dist/, and their list, dist/ours.txt, for `pip install -c dist/ours.txt NAME`."""
    built = [wheel(session, package) for package in packages()]
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    (ROOT / "dist").mkdir()
    write_list([Path(shutil.copy(each, ROOT / "dist")) for each in built], ROOT / "dist/ours.txt")


@nox.session
def release(session: nox.Session) -> None:
    """Put wheels and source distributions in dist/, and see whether each wheel installs alone and loads."""
    prepare(session, *group("build"), ours=False)
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    for package in packages():
        tool = ["uv", "build"] if session.venv_backend == "uv" else ["python", "-m", "build"]
        quietly(session, f"Building {package.name}", *tool, package, "-o", "dist")
    session.run("twine", "check", "--strict", *existing("dist/*.whl", "dist/*.tar.gz"))
    # Entry points in pytest's group are loaded by pytest, and need it.
    load = "import sys; from importlib.metadata import distribution as found; "
    load += "[each.load() for each in found(sys.argv[1]).entry_points if each.group != 'pytest11']"
    wheels = sorted((ROOT / "dist").glob("*.whl"))
    ours = write_list(wheels, ROOT / "dist/ours.txt")
    for name in map(name_of, wheels):
        empty(session)
        install(session, f"Installing {name} alone", name, "-c", ours)
        session.run("python", "-c", load, name)
