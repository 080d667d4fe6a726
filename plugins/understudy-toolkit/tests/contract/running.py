"""Runs a file of this folder with pytest in a process of its own, where its providers are installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent


def run(cases: str, folder: Path, broken: Iterable[str] = ()) -> tuple[dict[str, dict[str, str]], str]:
    """Run a file of the folder `contract` in a process of its own; return its results and what it printed."""
    site = folder / "site"
    metadata = site / "parrots-1.0.dist-info"
    metadata.mkdir(parents=True)
    points = ["parrot = parrot", *(f"{name.lower()} = broken:{name.lower()}_plugin" for name in broken)]
    (metadata / "entry_points.txt").write_text("\n".join(["[understudy.providers]", *points]), "utf-8")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: parrots\nVersion: 1.0\n", "utf-8")
    path = os.pathsep.join([str(site), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "REPORT": str(folder / "report.json"), "COLUMNS": "100"}
    told = ["-q", "--tb=native", "-W", "error"]  # native: without a look at the sources
    options = [*told, "-p", "report", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(HERE)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(HERE / cases)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return json.loads((folder / "report.json").read_text("utf-8")), done.stdout
