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

import ast
import functools
import hashlib
import logging
import os
import shutil
import subprocess
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / ".ci"))
from bootstrap import CACHE, LOCK, ROOT, bounded, failure, start

if __name__ == "__main__":
    start(Path(__file__).resolve(), sys.argv[1:])
    sys.exit()

import nox
import nox.command
import nox.project

UV_AND_PIP = [  # the same setting in uv's environment and in pip's configuration
    ("UV_DEFAULT_INDEX", "index-url"),
    ("UV_INDEX", "extra-index-url"),
    ("UV_NO_INDEX", "no-index"),
    ("UV_INSECURE_HOST", "trusted-host"),
    ("SSL_CERT_FILE", "cert"),
]

# Run in a fresh environment: every provider that is installed can be made, and none has imported an SDK for it.
MAKE_ALL = """
from understudy import LLMFactory
names = list(LLMFactory.PROVIDER_REGISTRY)
print("makes", *[LLMFactory(name, [], settings={}) for name in names])
"""

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


def packages() -> "list[Path]":
    """Return the folder of every package: the core, then whatever is in plugins/."""
    files = [ROOT / "core/pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    return [file.parent for file in files if file.is_file() and "project" in nox.project.load_toml(file)]


def existing(*patterns: str) -> "list[str]":
    """Return what matches the patterns, relative to the root."""
    return [path.relative_to(ROOT).as_posix() for pattern in patterns for path in sorted(ROOT.glob(pattern))]


def group(name: str) -> "list[str]":
    """Return a [dependency-groups] entry of the root pyproject.toml."""
    return list(nox.project.dependency_groups(nox.project.load_toml(ROOT / "pyproject.toml"), name))


def fingerprint(*parts: "str | Path") -> str:
    """Return a short hash of some texts and of the names and contents of some files."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else b""
        digest.update(f"{part}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


@functools.cache
def installer_settings() -> "dict[str, str]":
    """Return the environment for pip and uv; uv is told which index pip is configured with."""
    settings = bounded()
    command = [sys.executable, "-m", "pip", "config", "list"]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    # A line reads `where.what='value'`; `:env:`, the environment, sorts first and has the last word.
    pairs = [line.split(".", 1)[1].split("=", 1) for line in sorted(lines, reverse=True) if "." in line]
    pip = {what: str(ast.literal_eval(value)).split() for what, value in pairs}
    if not any(name.startswith("UV_") and "INDEX" in name for name in settings):
        settings["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as with pip, all indexes are equals
        for name, what in UV_AND_PIP:
            settings.setdefault(name, " ".join(pip.get(what, [])))
        links = [link for link in pip.get("find-links", []) if Path(link.replace("file://", "")).exists()]
        settings.setdefault("UV_FIND_LINKS", ",".join(links))  # unlike pip, uv insists that they exist
    return {name: value for name, value in settings.items() if value}


def quietly(session: nox.Session, doing: str, *command: "str | Path") -> None:
    """Run an installer with its output in a log, of which only a failure shows the end."""
    log = CACHE / f"{session.name}.log"
    print(doing, "...", flush=True)
    try:
        with log.open("w", encoding="utf-8") as output:
            session.run_install(*command, stdout=output, env=installer_settings(), log=False, external=True)
    except nox.command.CommandFailed:
        print(failure(doing, log), file=sys.stderr)
        session.error(f"see {log}")


def install(session: nox.Session, doing: str, *what: "str | Path") -> None:
    """Install packages in the session's environment, with uv where nox has it."""
    tool = ["uv", "pip"] if session.venv_backend == "uv" else ["python", "-m", "pip"]
    quietly(session, doing, *tool, "install", *what)


def wheel(session: nox.Session, package: "Path") -> "Path":
    """Return the wheel of a package, built when its files have changed."""
    sources = [path for path in sorted(package.glob("src/**/*")) if path.is_file() and path.suffix != ".pyc"]
    key = fingerprint(package / "pyproject.toml", *sorted(package.glob("*.md")), *sources)
    home = CACHE / "wheels" / f"{package.name}-{key}"
    if not home.is_dir():
        made = home.with_suffix(f".{os.getpid()}")
        if session.venv_backend == "uv":
            command = ["uv", "build", "--wheel", "--python", f"{session.bin}/python", "--out-dir"]
        else:
            command = ["python", "-m", "pip", "wheel", "--no-deps", "--wheel-dir"]
        quietly(session, f"Building {package.name}", *command, made, package)
        made.rename(home)  # at once: nobody sees a half-made one
    return next(home.glob("*.whl"))


def empty(session: nox.Session) -> None:
    """Make the session's environment anew: what a dropped requirement brought along must not stay."""
    shutil.rmtree(session.virtualenv.location, ignore_errors=True)
    session.virtualenv.create()


def prepare(session: nox.Session, *requirements: str, ours: bool = True, again: bool = False) -> None:
    """Install our packages (if `ours`) and the requirements, unless just these are there (and not `again`)."""
    wheels = [wheel(session, package) for package in packages()] if ours else []
    metadata = [package / "pyproject.toml" for package in packages()] if ours else []
    complete = Path(session.virtualenv.location, "complete")  # a line each: third-party packages, and ours
    third_party = fingerprint(str(complete), sys.version, *requirements, Path(__file__), *metadata)
    wanted = [third_party, fingerprint(*map(str, wheels))]
    found = complete.read_text("utf-8").split() if complete.is_file() and not again else []
    if found[:1] != wanted[:1]:
        empty(session)
        install(session, f"Installing what {session.name} needs", *wheels, *requirements)
    elif found != wanted:
        complete.unlink()
        install(session, "Installing what has changed", "--no-deps", "--force-reinstall", *wheels)
    complete.write_text("\n".join(wanted), encoding="utf-8")
    lock = os.environ.pop(LOCK, "")
    if lock:
        os.close(int(lock))  # the next start may go ahead: what is left is only running


def run_tests(session: nox.Session, without: str = "") -> None:
    """Run pytest over the fast tests (but for one folder), or over the paths among the session's arguments."""
    chosen = any((ROOT / argument.partition("::")[0]).exists() for argument in session.posargs)
    slow = [f"--ignore=tests/{name}" for name in ("benchmarks", "test_stranger.py")]
    folders = [folder for folder in existing("core/tests", "plugins/*/tests", "tests") if folder != without]
    paths = [] if chosen else [*folders, *slow]
    # Most tests wait for sockets, so more of them than there are cores can go on at once.
    # A module stays together, and a class of the contract, since they share what is costly to make.
    workers = [] if chosen else ["--numprocesses=4", "--dist=loadscope"]
    # Python starts often in there, and without compiled modules it would compile the SDKs again each time.
    clean = {"PYTHONPATH": None, "PYTHONDONTWRITEBYTECODE": None}
    session.run("pytest", *workers, *paths, *session.posargs, env=clean)


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
def stranger(session: nox.Session) -> None:
    """Make packages with the scaffold, install them in a fresh environment, and run their own tests there."""
    prepare(session, *group("test"))
    session.run("pytest", "tests/test_stranger.py", *session.posargs, env={"PYTHONPATH": None})


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting, types and which module imports which."""
    prepare(session, *group("test"), *group("lint"))
    checks = [
        ["ruff", "check", "--quiet", "--output-format=concise", "."],
        ["ruff", "format", "--check", "--quiet", "--output-format=concise", "."],
        ["mypy", "noxfile.py", ".ci/bootstrap.py", *existing("core/src/*", "plugins/*/src/*")],
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
    """Run the scripts in tests/benchmarks and print their tables; arguments select scripts by name."""
    prepare(session, *group("test"))
    for script in existing("tests/benchmarks/[!_]*.py"):
        if not session.posargs or any(word in script for word in session.posargs):
            print(f"\n{script}", flush=True)
            session.run("python", script)


@nox.session
def failover(session: nox.Session) -> None:
    """Fail over beside other libraries, each in an environment of its own; arguments select scenarios and libraries."""
    prepare(session, *group("test"))
    session.run("python", "tests/benchmarks/failover", *session.posargs, env=installer_settings())


@nox.session
def simulation(session: nox.Session) -> None:
    """Simulate a million outages on all cores; arguments: `--outages` how many, `--first` seed, or `--seed` for one."""
    prepare(session, *group("test"))
    session.run("python", "tests/simulation", *session.posargs, env={"PYTHONPATH": None})


@nox.session
def healthy(session: nox.Session) -> None:
    """Play healthy days and bad ones beside naive clients; arguments: worlds, days, clients, `recipes`, `--seeds`."""
    prepare(session, *group("test"))
    session.run("python", "tests/benchmarks/healthy_days", *session.posargs, env={"PYTHONPATH": None})


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest versions of their dependencies that our packages allow."""
    if session.venv_backend != "uv":
        sys.exit("Only uv can choose the lowest versions, and there is none here.")
    projects = [nox.project.load_toml(package / "pyproject.toml")["project"] for package in packages()]
    ours = tuple(project["name"] for project in projects)
    lists = [project.get("dependencies", []) for project in projects]
    lists += [extra for project in projects for extra in project.get("optional-dependencies", {}).values()]
    direct = {need for needs in lists for need in needs}
    third_party = sorted(need for need in direct if not need.startswith(ours))
    prepare(session, *third_party, "--resolution=lowest-direct")
    install(session, "Installing pytest", *group("test"))
    # The sandbox needs no SDK: its own tests say what the newest ones make of its replies.
    run_tests(session, without="plugins/understudy-sandbox/tests")


@nox.session
def latest(session: nox.Session) -> None:
    """Run the tests with the newest versions of everything."""
    prepare(session, *group("test"), again=True)
    run_tests(session)


@nox.session(python=["3.11", "3.12", "3.13"])
def pythons(session: nox.Session) -> None:
    """Run the tests on Python 3.11, 3.12 and 3.13, where they are found."""
    prepare(session, *group("test"))
    run_tests(session)


@nox.session(python=["3.11", "3.12", "3.13"])
@nox.parametrize("versions", ["lowest-direct", "highest"])
def installs(session: nox.Session, versions: str) -> None:
    """See whether our packages install together, and each alone, with the oldest and the newest dependencies."""
    if session.venv_backend != "uv":
        sys.exit("Only uv can choose the lowest versions, and there is none here.")
    core, *plugins = [wheel(session, package) for package in packages()]
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
    for file in existing("dist/*.whl"):
        empty(session)
        install(session, f"Installing {file} alone", file, "--find-links", "dist")
        session.run("python", "-c", load, Path(file).name.partition("-")[0])
