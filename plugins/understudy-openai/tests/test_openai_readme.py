"""The README's code runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_a_block_of_the_readme_runs(
    code: str,
    sandbox: Sandbox,
    sandbox_environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code, names)
    assert "Understudy sandbox standing in for OpenAI" in capsys.readouterr().out
    assert sandbox.openai.request_count == 1
    for name in ("provider", "factory"):
        close = getattr(names.get(name), "close", None)
        if close is not None:
            close()
