"""`python3 noxfile.py` on machines that lack something: each start is a real one, in a copy, without a network."""

import ast
import base64
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

NOXFILE = Path(__file__).parents[1] / "noxfile.py"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="written for the folders of a POSIX environment")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the noxfile and of what it starts with, in a folder with a space in its name."""
    folder = tmp_path / "a clone"
    (folder / ".ci").mkdir(parents=True)
    shutil.copy(NOXFILE.parent / ".ci" / "bootstrap.py", folder / ".ci")
    return Path(shutil.copy(NOXFILE, folder))


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of a Python that has no nox, and whose pip reaches no index."""
    shadow = tmp_path / "shadow"
    (shadow / "nox-0.dist-info").mkdir(parents=True)
    (shadow / "nox-0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: nox\nVersion: 0\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    with socket.socket() as closed:  # a port that was free a moment ago: connecting to it is refused at once
        closed.bind(("127.0.0.1", 0))
        index = f"http://127.0.0.1:{closed.getsockname()[1]}/simple"
    return {
        **kept,
        "PYTHONPATH": str(shadow),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_CACHE_DIR": "1",
        "PIP_INDEX_URL": index,
        "PIP_RETRIES": "0",
    }


def start(noxfile: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(noxfile), *arguments]
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=600)


def tiny_wheel(folder: Path, name: str, main: str) -> None:
    """Write a wheel of one module that `python -m` can run."""
    information = f"{name}-2099.1.dist-info"
    files = {
        f"{name}/__init__.py": "",
        f"{name}/__main__.py": main,
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 2099.1\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{information}/RECORD,,\n"
    with zipfile.ZipFile(folder / f"{name}-2099.1-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(text)}\n"
            wheel.writestr(path, text)
        wheel.writestr(f"{information}/RECORD", record)


def test_every_line_of_the_noxfile_parses_on_python_3_6() -> None:
    ast.parse(NOXFILE.read_text(), feature_version=(3, 6))


@pytest.mark.parametrize("version", [(3, 6, 15), (3, 10, 13)])
def test_an_old_python_is_told_which_one_is_needed(version: tuple[int, ...]) -> None:
    code = f"import sys, runpy; sys.version_info = {version}; runpy.run_path({str(NOXFILE)!r}, run_name='__main__')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert result.returncode == 1
    assert "needs Python 3.11 or newer, and this is Python 3." in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_old_pythons_of_this_machine_are_told_too() -> None:
    names = [f"python3.{minor}" for minor in range(6, 11)]
    found = [name for name in names if shutil.which(name) and subprocess.run([name, "-V"]).returncode == 0]
    if not found:
        pytest.skip("no Python older than 3.11 is on PATH")
    for name in found:
        result = subprocess.run([name, str(NOXFILE), "tests"], capture_output=True, text=True, timeout=600)
        assert result.returncode == 1
        assert result.stderr.startswith("Understudy needs Python 3.11 or newer")
        assert result.stderr.count("\n") == 1


def test_without_arguments_it_lists_the_sessions_and_installs_nothing(copy: Path, bare: dict[str, str]) -> None:
    result = start(copy, bare)
    assert result.returncode == 0, result.stderr
    for session in ("demo", "tests", "lint", "build"):
        assert f"\n  {session} " in result.stdout
    assert not (copy.parent / ".nox").exists()


def test_every_session_stands_in_contributing(copy: Path, bare: dict[str, str]) -> None:
    listed = re.findall(r"^  (\w+)", start(copy, bare).stdout, re.MULTILINE)
    table = (NOXFILE.parent / "CONTRIBUTING.md").read_text("utf-8").partition("| session |")[2].partition("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines()[2:]]
    assert re.findall(r"`(\w+)`", " ".join(rows)) == listed


@pytest.mark.parametrize("session", ["tests-3.12", "versions(lowest)", "installs-3.12(versions='highest')"])
def test_a_session_may_have_a_python_and_a_parameter(copy: Path, bare: dict[str, str], session: str) -> None:
    result = start(copy, bare, session)
    assert "Installing nox failed" in result.stderr  # so it was known


def test_an_unknown_session_is_named_beside_the_known_ones(copy: Path, bare: dict[str, str]) -> None:
    result = start(copy, bare, "test")
    assert result.returncode == 1
    assert "no session called 'test': there are demo, tests," in result.stderr


def test_a_python_without_ensurepip_says_what_to_install(copy: Path, bare: dict[str, str]) -> None:
    shadow = Path(bare["PYTHONPATH"]) / "ensurepip.py"
    shadow.write_text("raise ImportError('taken out by the distribution', name='ensurepip')\n")
    result = start(copy, bare, "demo")
    assert result.returncode == 1
    assert "its ensurepip is missing" in result.stderr
    assert "-venv`" in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_unreachable_index_is_one_sentence_and_the_end_of_the_log(copy: Path, bare: dict[str, str]) -> None:
    result = start(copy, bare, "demo")
    assert result.returncode == 1
    assert result.stdout == "Making an environment with nox in .nox/ (first time only) ...\n"
    first, *tail, last = result.stderr.splitlines()
    assert first.startswith("Installing nox failed: no package index can be reached")
    assert last == f"The whole log: {copy.parent / '.nox' / 'bootstrap.log'}"
    assert tail
    assert all(line.startswith("  | ") for line in tail)


def test_a_half_made_environment_is_made_again_once_by_two_starts(
    copy: Path, bare: dict[str, str], tmp_path: Path
) -> None:
    tiny_wheel(tmp_path, "nox", "import sys\nprint('nox got', sys.argv[1:])\n")
    tiny_wheel(tmp_path, "uv", "")
    environment = {**bare, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    left_over = copy.parent / ".nox" / "bootstrap-{}.{}".format(*sys.version_info) / "bin" / "python"
    left_over.parent.mkdir(parents=True)
    left_over.write_text("#!/bin/sh\nexit 3\n")  # as after an interrupt: there, and of no use
    left_over.chmod(0o755)

    command = [sys.executable, str(copy), "tests", "-k", "one thing"]
    starts = [
        subprocess.Popen(command, env=environment, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=600)[0] for process in starts]

    given = f"nox got ['-f', '{copy}', '-s', 'tests', '--', '-k', 'one thing']\n"
    assert [process.returncode for process in starts] == [0, 0], outputs
    assert all(output.endswith(given) for output in outputs), outputs
    assert "".join(outputs).count("Making an environment") == 1
    assert "".join(outputs).count("Waiting for another start") == 1
    assert start(copy, environment, "tests", "-k", "one thing").stdout == given
