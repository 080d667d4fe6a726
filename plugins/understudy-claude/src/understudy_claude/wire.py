"""Only translation: a Request into the Messages API's JSON.

No SDK is imported and nothing is sent or read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy import Request, ResponseWarning, Tool
from understudy.errors import InvalidRequest, UnsupportedRequest
from understudy_claude.failures import PROVIDER, WITHOUT_SCHEMAS, WITHOUT_THAT_SCHEMA
from understudy_claude.history import Json, open_turn_lacks_thinking, turns_of
from understudy_claude.models import DEFAULT_MAX_TOKENS, NEWEST_VERSION, ending_warnings, takes_prefill
from understudy_claude.refusals import NOTHING_KNOWN, Known
from understudy_claude.restrictions import api_version, fit, fit_limit, thinks_by_request
from understudy_claude.schemas import NotSent, fit_parameters, fit_schema, in_words
from understudy_claude.thinking import plan

Warnings = tuple[ResponseWarning, ...]

_TOOL_CHOICES: Mapping[str, str] = {"auto": "auto", "none": "none", "required": "any"}
_OPEN = ("text", "thinking", "redacted_thinking")  # the blocks of a message that is only begun
# Settings of options["claude"] that are not fields of the body, or that are fitted to the model first.
_NOT_LAID_OVER = ("api_version", "effort", "thinking")


@dataclass(frozen=True, slots=True)
class Asked:
    """How a reply's request was sent, which is needed to read it.

    Args:
        request: what was asked.
        model: the model that was asked.
        warnings: what the request was sent without.
        account: the mark of the account that was asked; "" for none.
        thinks: whether the model may have thought before it answered.
        version: the version of the API.
        fixed: whether the caller set the API's own limit, so that more room cannot be asked for.
    """

    request: Request
    model: str = ""
    warnings: Warnings = ()
    account: str = ""
    thinks: bool = False
    version: str = NEWEST_VERSION
    fixed: bool = False


def request_body(request: Request, model: str, account: str = "", known: Known = NOTHING_KNOWN) -> tuple[Json, Asked]:
    """Return a request in the API's form, and what is needed to read its reply.

    Args:
        request: what to ask.
        model: the model to ask.
        account: the mark of the account that is asked.
        known: what the model is known to refuse.

    Raises:
        InvalidRequest: nothing is left to send, or options["claude"] cannot be merged.
        UnsupportedRequest: the model does not continue the assistant's message at the end.
    """
    options, adapted = _options(request), known.adapted(request)
    messages, lost = turns_of(request.messages, account, adapted)
    if not messages:
        raise InvalidRequest("expected a message with some content, found only empty text", provider=PROVIDER)
    thinking = plan(request, model, known, resumable=not open_turn_lacks_thinking(messages))
    body: Json = {
        "model": model,
        "max_tokens": (request.max_tokens or DEFAULT_MAX_TOKENS) + thinking.room,
        "messages": messages,
    }
    if request.system and request.system.strip():
        body["system"] = request.system
    if request.tools:
        lost += _add_tools(body, request)
    if request.output_schema is not None:
        lost += _add_schema(body, request.output_schema, in_text=bool({WITHOUT_SCHEMAS, WITHOUT_THAT_SCHEMA} & adapted))
    if stop := [text for text in request.stop if text.strip()]:
        body["stop_sequences"] = stop
    if request.temperature is not None:
        body["temperature"] = request.temperature
    _merge(body, options)
    _set_thinking(body, thinking.thinking, thinking.effort)
    if messages[-1]["role"] == "assistant":
        _end_prefill(messages[-1]["content"], body, model)
    if len(stop) < len(request.stop):
        lost += (ResponseWarning("stop", "stop sequences of nothing but white space were left out: Claude takes none"),)
    asked, fixed = options.get("api_version"), "max_tokens" in options
    lost += thinking.warnings + fit_limit(body, request, model, known, fixed=fixed)
    lost += fit(body, model, asked, adapted) + ending_warnings(model)
    version = api_version(body, asked, adapted)
    return body, Asked(request, model, lost, account, thinking.thinks, version, fixed)


def _options(request: Request) -> Mapping[str, Any]:
    options = request.options.get(PROVIDER, {})
    if not isinstance(options, Mapping):
        raise InvalidRequest(
            f"expected options['claude'] as a mapping such as {{'top_k': 5}}, found {type(options).__name__}",
            provider=PROVIDER,
        )
    if not isinstance(options.get("api_version", ""), str):
        raise InvalidRequest(
            f"expected options['claude']['api_version'] as a date such as {NEWEST_VERSION!r}, "
            f"found {options['api_version']!r:.100}",
            provider=PROVIDER,
        )
    if "stream" in options:
        raise InvalidRequest(
            "expected options['claude'] without 'stream': call stream() or astream() instead", provider=PROVIDER
        )
    return options


def _add_tools(body: Json, request: Request) -> Warnings:
    described = [_tool(tool) for tool in request.tools]
    body["tools"] = [tool for tool, _ in described]
    body["tool_choice"] = _tool_choice(request.tool_choice)
    return tuple(
        ResponseWarning(
            "tools",
            f"{', '.join(lost)} at the top of the arguments of {tool['name']} was left out: Claude takes none there",
        )
        for tool, lost in described
        if lost
    )


def _tool(tool: Tool) -> tuple[Json, tuple[str, ...]]:
    parameters, lost = fit_parameters(tool.parameters)
    described: Json = {"name": tool.name, "input_schema": parameters}
    if tool.description:
        described["description"] = tool.description
    return described, lost


def _add_schema(body: Json, schema: Mapping[str, Any], *, in_text: bool) -> Warnings:
    """Ask for an answer that follows a schema: by the API's own means, or in the prompt if it refuses the schema."""
    why = "Claude refused it"
    try:
        fitted, lost = fit_schema(schema)
    except NotSent as cannot:
        in_text, why = True, str(cannot)
    except (AttributeError, TypeError):
        in_text, why = True, "it is not written as a JSON schema is"
    if in_text:
        body["system"] = "\n\n".join(filter(None, (body.get("system"), in_words(schema))))
        words = f"the schema was only put into the prompt, which a model may not follow: {why}"
        return (ResponseWarning("output_schema", words),)
    body["output_config"] = {"format": {"type": "json_schema", "schema": fitted}}
    if not lost:
        return ()
    words = f"{', '.join(lost)} went into descriptions: Claude does not enforce them; the answer is checked afterwards"
    return (ResponseWarning("output_schema", words),)


def _tool_choice(choice: str) -> Json:
    kind = _TOOL_CHOICES.get(choice)
    return {"type": kind} if kind is not None else {"type": "tool", "name": choice}


def _merge(body: Json, options: Mapping[str, Any]) -> None:
    """Lay options["claude"] over the body; `output_config` and `tools` are joined with what is there."""
    for name, value in options.items():
        if name in _NOT_LAID_OVER:
            continue
        if name == "output_config" and isinstance(value, Mapping):
            body["output_config"] = {**body.get("output_config", {}), **value}
        elif name == "tools" and isinstance(value, Sequence):
            body["tools"] = [*body.get("tools", ()), *value]
        else:
            body[name] = value


def _set_thinking(body: Json, thinking: Any, effort: Any) -> None:
    if thinking is not None:
        body["thinking"] = thinking
    output = body.get("output_config", {})
    if not isinstance(output, Mapping):
        return  # the API itself says best what is wrong with it
    output = {name: value for name, value in output.items() if name != "effort"}
    if effort is not None:
        output["effort"] = effort
    if output:
        body["output_config"] = output
    else:
        body.pop("output_config", None)


def _end_prefill(blocks: list[Json], body: Json, model: str) -> None:
    """Cut the white space off an assistant's message that the model is to continue: the API refuses it.

    A turn that paused has blocks of a tool that runs at Anthropic; every model continues it.
    """
    if any(block["type"] not in _OPEN for block in blocks):
        return
    refused = model if takes_prefill(model) is False else ""
    if thinks_by_request(body):
        refused = "Claude, while it thinks,"
    elif isinstance(body.get("output_config"), Mapping) and "format" in body["output_config"]:
        refused = "Claude with an output schema"
    if refused:
        raise UnsupportedRequest(f"{refused} does not continue an assistant's message at the end", provider=PROVIDER)
    if blocks[-1]["type"] == "text":
        blocks[-1]["text"] = blocks[-1]["text"].rstrip()
