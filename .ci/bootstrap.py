"""How `python3 noxfile.py` starts where nothing is installed: in an environment with nox that is made first."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".nox"
LOCK = "UNDERSTUDY_NOX_LOCK"  # says that bootstrap.py started nox, and which descriptor holds the lock
OLDEST_NOX = "2025.2.9"
UNREACHABLE = "connection broken|failed to establish|timed out|failed to fetch|versions: none"  # as pip and uv say it


def start(noxfile: Path, arguments: list[str]) -> None:
    """Run the session that the first argument names, in an environment with nox, and give it the others."""
    sessions = {
        node.name: (ast.get_docstring(node) or "").partition("\n")[0]
        for node in ast.parse(noxfile.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and "'nox'" in "".join(map(ast.dump, node.decorator_list))
    }
    if not arguments or arguments[0] in ("-h", "--help", "-l", "--list"):
        print("Usage: python3 noxfile.py SESSION [ARGUMENTS FOR IT]\n")
        print("\n".join(f"  {name:<12}{what}" for name, what in sessions.items()))
        return
    name = re.split("[-(]", arguments[0])[0]  # without a Python or parameter: `installs-3.12`, `versions(lowest)`
    if name not in sessions:
        sys.exit(f"There is no session called {arguments[0]!r}: there are {', '.join(sessions)}.")
    try:
        CACHE.mkdir(exist_ok=True)
        lock = wait_for_turn()
        python = sys.executable if has_nox() else make_environment()
    except OSError as error:
        sys.exit(f"Cannot make the environment for nox: {error}.")
    except KeyboardInterrupt:
        sys.exit("Interrupted; the next start makes the environment anew.")
    command = [python, "-P", "-m", "nox", "-f", str(noxfile), "-s", arguments[0], "--", *arguments[1:]]
    environment = {**os.environ, LOCK: lock}
    if os.name == "nt":  # exec would give the prompt back while the session still runs
        sys.exit(subprocess.call(command, env=environment))
    sys.stdout.flush()
    os.execve(python, command, environment)


def has_nox() -> bool:
    """Whether the running Python has a nox that is new enough."""
    try:
        return importlib.metadata.version("nox") >= OLDEST_NOX  # years, so that text compares well enough
    except importlib.metadata.PackageNotFoundError:
        return False


def wait_for_turn() -> str:
    """Take the lock that lets one start at a time install; nox inherits it, `prepare` lets go of it."""
    descriptor = os.open(str(CACHE / "lock"), os.O_RDWR | os.O_CREAT)
    try:
        import fcntl
    except ImportError:  # Windows: two first starts at the same moment are not kept apart there
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Waiting for another start of noxfile.py to finish installing ...", flush=True)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.set_inheritable(descriptor, True)
    return str(descriptor)


def make_environment() -> str:
    """Make the environment that has nox, unless a complete one is there, and return its Python."""
    version = "{}.{}".format(*sys.version_info)
    home = CACHE / f"bootstrap-{version}"
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    complete = home / "complete"  # written last: an environment without it was interrupted
    made_by = f"{sys.version}\n{sys.base_prefix}\n{home}\n{OLDEST_NOX}\n"
    if python.exists() and complete.is_file() and complete.read_text("utf-8") == made_by:
        return str(python)
    try:
        import ensurepip  # noqa: F401  the two are only looked for: venv runs as a program below
        import venv  # noqa: F401  see above
    except ImportError as error:
        sys.exit(
            f"{sys.executable} cannot make environments, its {error.name} is missing: on Debian and Ubuntu "
            f"`apt install python{version}-venv` brings it; then start again."
        )
    print("Making an environment with nox in .nox/ (first time only) ...", flush=True)
    shutil.rmtree(str(home), ignore_errors=True)
    log = CACHE / "bootstrap.log"
    pip = [str(python), "-m", "pip", "install", "--only-binary=uv", f"nox>={OLDEST_NOX}"]
    # uv installs many times faster than pip; where there is no wheel of it, nox does with pip.
    if not succeeds([sys.executable, "-m", "venv", str(home)], log):
        sys.exit(failure("Making an environment", log))
    if not succeeds([*pip, "uv>=0.5"], log) and ("requirement nox" in read(log) or not succeeds(pip, log)):
        sys.exit(failure("Installing nox", log))
    complete.write_text(made_by, encoding="utf-8")
    return str(python)


def succeeds(command: list[str], log: Path) -> bool:
    """Run a command with its output in `log`, and return whether it succeeded."""
    with log.open("w", encoding="utf-8") as output:
        return subprocess.call(command, stdout=output, stderr=output, env=bounded()) == 0


def bounded() -> dict[str, str]:
    """Return the environment for pip and uv, with limits on waiting for an index where the user has set none."""
    limits = {"PIP_RETRIES": "1", "PIP_DEFAULT_TIMEOUT": "15", "UV_HTTP_RETRIES": "1"}
    return {"PIP_DISABLE_PIP_VERSION_CHECK": "1", **limits, **os.environ, "PIP_USER": "0"}


def read(log: Path) -> str:
    """Return the text of a log."""
    return log.read_text("utf-8", "replace")


def failure(what: str, log: Path) -> str:
    """Say what failed in one sentence, with the end of the log and where the rest is."""
    if re.search(UNREACHABLE, read(log).lower()):
        what += " failed: no package index can be reached, look at the network and at the settings of pip"
    else:
        what += " failed"
    tail = "\n".join(f"  | {line[:150]}" for line in read(log).splitlines()[-8:])
    return f"{what}.\n{tail}\nThe whole log: {log}"
