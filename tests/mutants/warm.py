"""A plugin of pytest: imports all tests once, and then runs some of them again and again, each time in a fork.

A fork has the mistake in it: where that is within a function, the function's code is replaced, which takes no time.
What is asked comes from one pipe, a line of JSON each, and what came of it goes into another.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import resource
from pathlib import Path
from types import CodeType, FunctionType

import pytest

from mutants.shadow import DOES_NOT_END

LONGEST = 120.0  # seconds for a test; none of the core's takes more than a few, and the machine may be busy
MEMORY = 6 << 30  # bytes

_failed: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note the test that failed."""
    if report.failed:
        _failed.append(report.nodeid)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Answer until the pipe is closed."""
    items = {item.nodeid: item for item in session.items}
    questions = os.fdopen(int(os.environ["UNDERSTUDY_QUESTIONS"]), encoding="utf-8")
    answers = os.fdopen(int(os.environ["UNDERSTUDY_ANSWERS"]), "w", encoding="utf-8")
    print(json.dumps("ready"), file=answers, flush=True)
    for line in questions:
        question = json.loads(line)
        at = Path(question["at"])
        at.write_text("a fork that ends at once", "utf-8")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = _run(question, items, at)
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        print(json.dumps(at.read_text("utf-8") if status else None), file=answers, flush=True)
    return True


def _run(question: dict[str, str], items: dict[str, pytest.Item], at: Path) -> int:
    """Run tests until one fails; its name is then in the file."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    _replace(question["path"], question["source"])
    chosen = [items[name] for name in question["tests"] if name in items]
    for item, following in zip(chosen, [*chosen[1:], None], strict=True):
        at.write_text(f"{item.nodeid}{DOES_NOT_END}", "utf-8")
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        faulthandler.cancel_dump_traceback_later()
        if _failed:
            at.write_text(_failed[0], "utf-8")
            return 1
    return 0


def _replace(path: str, source: str) -> None:
    """Give the functions of a file the code that they have in another version of its source, line by line the same."""
    codes = {}
    left = [compile(source, path, "exec", dont_inherit=True)]
    while left:
        code = left.pop()
        codes[code.co_qualname, code.co_firstlineno] = code
        left += [each for each in code.co_consts if isinstance(each, CodeType)]
    for function in [each for each in gc.get_objects() if type(each) is FunctionType]:
        if function.__code__.co_filename == path:
            code = codes[function.__code__.co_qualname, function.__code__.co_firstlineno]
            if code.co_freevars == function.__code__.co_freevars:
                function.__code__ = code
