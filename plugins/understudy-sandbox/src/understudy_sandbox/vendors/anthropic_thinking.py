"""How Claude thinks here: how long, in which block, and to what the block is bound."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from understudy_sandbox.exchange import RecordedRequest, compact
from understudy_sandbox.text import THOUGHT, identifier, pieces

#: Tokens that are thought at each level of effort, whatever is asked: at "high" more than a short answer has.
TOKENS: Mapping[str, int] = {"low": 4, "medium": 240, "high": 1300, "xhigh": 5000, "max": 20_000}

#: These think without being asked, at "high" or, some, at "medium"; their thoughts are omitted unless asked for.
_UNASKED = re.compile(r"claude-(opus-5|sonnet-5|haiku-5|fable|mythos)")
_AT_MEDIUM = re.compile(r"claude-(opus|haiku)-5-[5-9]")
_OMITTED = re.compile(r"claude-(opus-(4-[78]|5)|sonnet-5|haiku-5|fable|mythos)")
#: A thinking block that these read is valid only while nothing before it changes.
_BINDING = re.compile(r"claude-((opus|sonnet|haiku)-5-[5-9]|(fable|mythos)-5-[1-9])")
_BETA = "thinking-binding-controls-2026-08-01"
_OTHER_CONVERSATION = (
    "Invalid `signature` in `thinking` block. The block is bound to a different conversation. Remove the block, or set "
    '`thinking.block_binding.prefix_mismatch_behavior` to "drop_block".'
)
_NEEDS_BETA = f" That setting requires the `{_BETA}` value in the `anthropic-beta` header."

Block = Mapping[str, Any]


def kind(body: Mapping[str, Any]) -> str:
    """The type of thinking that is in effect: the one that is asked for, or the model's own."""
    thinking = body.get("thinking")
    if isinstance(thinking, Mapping):
        return str(thinking.get("type"))
    return "adaptive" if _UNASKED.match(str(body.get("model"))) else "disabled"


def effort(body: Mapping[str, Any]) -> str:
    """The level of effort that is in effect."""
    asked = (body.get("output_config") or {}).get("effort")
    return str(asked or ("medium" if _AT_MEDIUM.match(str(body.get("model"))) else "high"))


def tokens(body: Mapping[str, Any]) -> int:
    """How many tokens the model wants to think, whether there is room for them or not."""
    if (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
        return 0  # the answer begins with the call
    match kind(body):
        case "enabled":
            return len(pieces(THOUGHT))
        case "adaptive":
            return TOKENS.get(effort(body), TOKENS["high"])
        case _:
            return 0


def block(request: RecordedRequest) -> dict[str, Any]:
    """The thinking block that an answer to this request begins with."""
    body = request.json
    display = (body.get("thinking") or {}).get("display")
    hidden = display == "omitted" or (display is None and _OMITTED.match(body["model"]) is not None)
    before = list(_blocks(body))
    bound = _place(body, before), _link([one for _, _, _, one in before])
    return {"type": "thinking", "thinking": "" if hidden else THOUGHT, "signature": _sign(_account(request), *bound)}


def find_problem(request: RecordedRequest) -> str | None:
    """What the vendor would say of the thinking blocks that the request sends back; None where they are sound.

    Blocks of another account are dropped without an error, as the vendor does.
    """
    body = request.json
    binding = (body.get("thinking") or {}).get("block_binding")
    if binding is not None and _BETA not in request.headers.get("anthropic-beta", ""):
        return f"thinking.{kind(body)}.block_binding: Extra inputs are not permitted"
    lenient = isinstance(binding, Mapping) and binding.get("prefix_mismatch_behavior") == "drop_block"
    bound = _BINDING.match(body["model"]) is not None and not lenient
    all_blocks = list(_blocks(body))
    for position, (message, place, _, one) in enumerate(all_blocks):
        if one.get("type") != "thinking":
            continue
        signature = str(one.get("signature"))
        account, where, after = signature[2:10], signature[10:26], signature[26:34]
        if signature != _sign(account, where, after):
            return f"messages.{message}.content.{place}: Invalid `signature` in `thinking` block"
        if account != _account(request) or not bound:
            continue
        before = all_blocks[:position]
        link = _link([one for _, _, _, one in before])
        if where != _place(body, before) or link not in (after, _link([])):
            return f"messages.{message}.content.{place}: {_OTHER_CONVERSATION}{_NEEDS_BETA}"
    return None


def _blocks(body: Mapping[str, Any]) -> Iterator[tuple[int, int, str, Block]]:
    for position, message in enumerate(body["messages"]):
        content = message.get("content", "")
        found = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for place, one in enumerate(found):
            yield position, place, message["role"], one


def _place(body: Mapping[str, Any], before: list[tuple[int, int, str, Block]]) -> str:
    """A word for everything that stands before a block; other thinking blocks and cache marks do not count."""
    said = [
        (role, _bare(one)) for _, _, role, one in before if one.get("type") not in ("thinking", "redacted_thinking")
    ]
    return identifier("", "place", compact([_bare(body.get("system")), _bare(body.get("tools")), said]), length=16)


def _link(before: list[Block]) -> str:
    """A word for the thinking block before this one."""
    last = next((one.get("signature") for one in reversed(before) if one.get("type") == "thinking"), None)
    return identifier("", "link", last, length=8)


def _bare(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _bare(value[name]) for name in sorted(value) if name != "cache_control"}
    return [_bare(one) for one in value] if isinstance(value, list) else value


def _account(request: RecordedRequest) -> str:
    headers = request.headers
    key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer").strip()
    return identifier("", "account", key, length=8)


def _sign(account: str, place: str, link: str) -> str:
    return f"Eq{account}{place}{link}{identifier('', 'seal', account, place, link, length=8)}"
