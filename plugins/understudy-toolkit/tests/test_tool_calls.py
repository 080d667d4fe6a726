"""Ids of tool calls: each is one call's alone, in a conversation and in those that are joined with it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

from understudy import Message, Request, ToolCall
from understudy_toolkit.tool_calls import CallNames, new_seed

ASKED = Request(messages=(Message.user("What?"), Message.assistant(ToolCall(id="v1", name="f")), Message.user("And?")))
PROGRAM = """
from understudy import Message, Request
from understudy_toolkit.tool_calls import CallNames
print(CallNames(Request(messages=(Message.user("What?"),)))(None, "f"))
"""


def test_an_id_stays_where_no_other_call_has_it() -> None:
    names = CallNames(ASKED)
    given = [names(one, "f") for one in ("v1", "v2", "v2", 7, None, "")]
    assert given[1] == "v2"
    assert given[3] == "7"
    assert len({"v1", *given}) == 7
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,40}", one) for one in given)


def test_the_same_request_has_the_same_ids_wherever_they_are_asked_for() -> None:
    for names in (CallNames(ASKED), CallNames(ASKED, new_seed())):
        again = names.again()
        assert [names(None, "f") for _ in range(3)] == [again(None, "f") for _ in range(3)]
    assert CallNames(ASKED)(None, "f") == CallNames(ASKED)(None, "f")


def test_no_other_request_and_no_other_process_has_them() -> None:
    requests = [replace(ASKED, messages=ASKED.messages[:count]) for count in (1, 2, 3)]
    requests.append(replace(ASKED))
    made = [CallNames(request)(None, "f") for request in requests]
    made += [CallNames(ASKED, new_seed())(None, "f") for _ in range(3)]
    made += [subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout.strip()]
    assert len(set(made)) == len(made)
