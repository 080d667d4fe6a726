"""What the sessions of noxfile.py install with: wheels of our packages, built once, and pip's settings, for uv too."""

import ast
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox
import nox.command
import nox.project

from bootstrap import CACHE, LOCK, ROOT, bounded, failure

UV_AND_PIP = [  # the same setting in uv's environment and in pip's configuration
    ("UV_DEFAULT_INDEX", "index-url"),
    ("UV_INDEX", "extra-index-url"),
    ("UV_NO_INDEX", "no-index"),
    ("UV_INSECURE_HOST", "trusted-host"),
    ("SSL_CERT_FILE", "cert"),
]


def packages() -> list[Path]:
    """Return the folder of every package: the core, then whatever is in plugins/."""
    files = [ROOT / "core/pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    return [file.parent for file in files if file.is_file() and "project" in nox.project.load_toml(file)]


def existing(*patterns: str) -> list[str]:
    """Return what matches the patterns, relative to the root."""
    return [path.relative_to(ROOT).as_posix() for pattern in patterns for path in sorted(ROOT.glob(pattern))]


def group(name: str) -> list[str]:
    """Return a [dependency-groups] entry of the root pyproject.toml."""
    return list(nox.project.dependency_groups(nox.project.load_toml(ROOT / "pyproject.toml"), name))


def third_party() -> list[str]:
    """Return what our packages and their extras need of others."""
    projects = [nox.project.load_toml(package / "pyproject.toml")["project"] for package in packages()]
    ours = tuple(project["name"] for project in projects)
    lists = [project.get("dependencies", []) for project in projects]
    lists += [extra for project in projects for extra in project.get("optional-dependencies", {}).values()]
    direct = {need for needs in lists for need in needs}
    return sorted(need for need in direct if not need.startswith(ours))


def fingerprint(*parts: str | Path) -> str:
    """Return a short hash of some texts and of the names and contents of some files."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else b""
        digest.update(f"{part}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


@functools.cache
def installer_settings() -> dict[str, str]:
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


def quietly(session: nox.Session, doing: str, *command: str | Path) -> None:
    """Run an installer with its output in a log, of which only a failure shows the end."""
    log = CACHE / f"{session.name}.log"
    print(doing, "...", flush=True)
    try:
        with log.open("w", encoding="utf-8") as output:
            session.run_install(*command, stdout=output, env=installer_settings(), log=False, external=True)
    except nox.command.CommandFailed:
        print(failure(doing, log), file=sys.stderr)
        session.error(f"see {log}")


def install(session: nox.Session, doing: str, *what: str | Path) -> None:
    """Install packages in the session's environment, with uv where nox has it."""
    tool = ["uv", "pip"] if session.venv_backend == "uv" else ["python", "-m", "pip"]
    quietly(session, doing, *tool, "install", *what)


def wheel(session: nox.Session, package: Path) -> Path:
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


def name_of(file: Path) -> str:
    """Return the name of a wheel's package."""
    return file.name.partition("-")[0].replace("_", "-")


def write_list(wheels: list[Path], file: Path) -> Path:
    """Write where our packages are, as constraints: with these no installer looks for their names in an index."""
    file.write_text("".join(f"{name_of(each)} @ {each.as_uri()}\n" for each in wheels), encoding="utf-8")
    return file


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
