"""An environment for every library that is not ours, made once and kept in .nox/failover-peers/."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".nox" / "failover-peers"  # shared by the benchmarks; nox has its own for the session in .nox/failover
# Of our own environment, and what keeps libraries from the network and from writing.
KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "SYSTEMROOT", "TEMP", "TMP", "LD_LIBRARY_PATH")
QUIET = {
    "NO_PROXY": "*",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # LiteLLM would fetch its list of prices
    "LITELLM_TELEMETRY": "False",
    "LITELLM_LOG": "ERROR",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "LOGFIRE_SEND_TO_LOGFIRE": "false",
    "OTEL_SDK_DISABLED": "true",
    "TENSORZERO_DISABLE_PSEUDONYMOUS_USAGE_ANALYTICS": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONWARNINGS": "ignore",
}


def python_for(requirements: tuple[str, ...], renew: bool = False) -> str:
    """Return the Python of a library's environment, which is made where it is missing.

    Args:
        requirements: what it holds; nothing for ours, which runs where the benchmark does.
        renew: make it anew, with the newest versions.

    Raises:
        RuntimeError: it cannot be made; the text is the end of what the installer said.
    """
    if not requirements:
        return sys.executable
    key = hashlib.sha256("\n".join([sys.version, *requirements]).encode()).hexdigest()[:12]
    home = HOME / f"{requirements[0].partition('>')[0].partition('[')[0]}-{key}"
    python = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    complete = home / "complete"  # written last: an environment without it was interrupted
    if renew or not complete.is_file():
        shutil.rmtree(home, ignore_errors=True)
        home.parent.mkdir(parents=True, exist_ok=True)
        print(f"Installing {', '.join(requirements)} ...", file=sys.stderr, flush=True)
        _make(home, python, requirements)
        complete.touch()
    return str(python)


def _make(home: Path, python: Path, requirements: tuple[str, ...]) -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is not None and _succeeds([uv, "venv", "--quiet", "--python", sys.executable, str(home)])[0]:
        installing = [uv, "pip", "install", "--quiet", "--python", str(python), *requirements]
        if _succeeds(installing)[0]:
            return
        shutil.rmtree(home, ignore_errors=True)  # pip may know an index that uv was not told of
    for command in (
        [sys.executable, "-m", "venv", str(home)],
        [str(python), "-m", "pip", "install", "--quiet", *requirements],
    ):
        good, said = _succeeds(command)
        if not good:
            raise RuntimeError(f"could not install {', '.join(requirements)}: {said}")


def _succeeds(command: list[str]) -> tuple[bool, str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0, (done.stdout + done.stderr).strip()[-600:]
