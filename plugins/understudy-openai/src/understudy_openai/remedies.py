"""How the same model may still answer, if its refusal says so: in the words of a Failure's adaptation.

What is done to the request is in adapting.py. No SDK is imported and nothing is sent or read here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

# Each completes "once more, ...", and is in Request.adaptation of the attempt that follows.
WITHOUT_REASONING = "without reasoning items"  # they belong to one organization, and to one answer
WITHOUT_TEMPERATURE = "without temperature"  # so for each field of _OPTIONAL: f"without {field}"
WITH_COMPLETION_TOKENS = "with max_completion_tokens"  # in place of max_tokens
WITH_MAX_TOKENS = "with max_tokens"  # in place of max_completion_tokens
IN_JSON_MODE = "in JSON mode"  # response_format {"type": "json_object"}, the schema in the prompt
WITH_JSON_SCHEMA = "with a JSON schema"  # JSON mode is refused, a schema is taken: LM Studio
WITHOUT_RESPONSE_FORMAT = "without a response format"  # the schema in the prompt alone
WITHOUT_STRICT = "without strict"  # neither in the schema's envelope nor in a tool's
WITHOUT_PARALLEL_CALLS = "without parallel_tool_calls"  # the field is left out
ONE_CALL_AT_A_TIME = "one tool call at a time"  # parallel_tool_calls false; in the history a turn for each call
WITHOUT_FORCED_TOOL = "without a forced tool"  # tool_choice "auto" in place of "required" or a name
WITHOUT_TOOL_CHOICE = "without tool_choice"  # the field is left out
WITHOUT_SYSTEM_ROLE = "without a system role"  # the instructions begin the first message of the user's
WITHOUT_STREAM_OPTIONS = "without stream_options"
IN_A_STREAM = "in a stream"  # which is put together to the whole answer that was asked for
WITHOUT_EFFORT = "without reasoning_effort"
WITHOUT_THINKING = "without thinking"  # enable_thinking false: DashScope thinks in streams only
WITH_PLAIN_TEXTS = "with each content as one text"  # no list of pieces, and "" for null
WITH_ROLES_JOINED = "with messages of one role joined"
WITH_ANSWERED_RESULTS = "with a word after the results of tools"  # an assistant's, before the user's next message
WITHOUT_REASONING_FIELDS = "without reasoning in messages"  # reasoning, reasoning_content, reasoning_details
WITH_REASONING_FIELDS = "with reasoning_content in every message"  # "" where none is known
WITH_DUMMY_SIGNATURES = "with dummy thought signatures"  # Gemini's calls that another model made
WITHIN = "with a limit of at most"  # a number of tokens follows: the model's own limit, which told_limit reads
ROOM_LEFT = "with room left for at most"  # so, too: what is left beside this prompt, or of the money; of this time only

# What a request can do without, at the top of its body: what is left out is told on the answer.
_OPTIONAL = (
    *("temperature", "top_p", "top_k", "min_p", "stop", "seed", "n", "frequency_penalty", "presence_penalty"),
    *("repetition_penalty", "logit_bias", "logprobs", "top_logprobs", "user", "metadata", "store", "service_tier"),
    *("verbosity", "modalities", "prediction", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"),
    *("parallel_tool_calls", "stream_options", "tool_choice", "reasoning_effort", "enable_thinking"),
    "max_output_tokens",  # the Responses API has no other name for it
)
# What a refusal of each field is mended by; the key is the last name of the field's path.
ADAPTATIONS: Mapping[str, str] = {
    **{field: f"without {field}" for field in _OPTIONAL},
    "effort": WITHOUT_EFFORT,
    "max_tokens": WITH_COMPLETION_TOKENS,
    "max_completion_tokens": WITH_MAX_TOKENS,
    "response_format": WITHOUT_RESPONSE_FORMAT,
    "json_schema": IN_JSON_MODE,
    "strict": WITHOUT_STRICT,
    **dict.fromkeys(
        ("reasoning", "reasoning_content", "reasoning_text", "reasoning_details"), WITHOUT_REASONING_FIELDS
    ),
    **dict.fromkeys(("reasoning_opaque", "thinking_blocks", "provider_specific_fields"), WITHOUT_REASONING_FIELDS),
}
# What is done where that adaptation is in force already, and refused too.
_NEXT: Mapping[str, str] = {
    WITHOUT_STRICT: IN_JSON_MODE,
    IN_JSON_MODE: WITHOUT_RESPONSE_FORMAT,
    WITH_JSON_SCHEMA: WITHOUT_RESPONSE_FORMAT,
    WITHOUT_FORCED_TOOL: WITHOUT_TOOL_CHOICE,
}

# What joins two adaptations: OpenAI's reasoning models refuse one setting after the other, and a call adapts but once.
AND = ", "
# Sentences that say more than the name of a field does; the first that fits counts. From public reports, read
# 2026-11-30: each stands in test_openai_refusals.py with its server and its report.
_REFUSED = r"(n't|not) (be )?(support|allow|permit|available|enabled)|unsupported|only (for|available|supported)"
_SENTENCES: tuple[tuple[str, str], ...] = (
    (
        r"'temperature' does not support .{1,20} with this model. only the default \(1\) value is supported",
        AND.join(("without temperature", WITH_COMPLETION_TOKENS)),
    ),
    (r"enable_thinking.{0,20}(must be set to false|only support stream)|enable thinking can not", WITHOUT_THINKING),
    (r"reasoning_content.{0,40}(must be passed back|is missing)", WITH_REASONING_FIELDS),  # DeepSeek, Moonshot
    (
        r"must have stream ?= ?true|stream must be set to true|only supports? stream mode",
        IN_A_STREAM,
    ),  # Fireworks, Codex
    (r"missing a .?thought_signature", WITH_DUMMY_SIGNATURES),  # Google
    (r"temperature.{0,20}top_p.{0,20}(cannot both|not both)", "without top_p"),  # Anthropic
    (
        r"invalid schema for response_format|invalid fields for schema|(?:mixed|different) values for .?strict",
        WITHOUT_STRICT,
    ),
    (r"response_format.{0,10} must be .{0,3}json_schema", WITH_JSON_SCHEMA),  # LM Studio
    (r"response_format type is unavailable", IN_JSON_MODE),  # DeepSeek
    (rf"(json_schema|json schema|structured outputs?)\b.{{0,80}}({_REFUSED})", IN_JSON_MODE),  # Groq, Azure
    (rf"({_REFUSED}|invalid).{{0,80}}(json_schema|structured output)", IN_JSON_MODE),
    (r"too many states for serving|json-schema-to-grammar|pars\w+ grammar|grammar error|xgrammar", IN_JSON_MODE),
    (
        r"(json mode|response mime type|response_format|grammar).{0,60}(\btools?\b|function|unsupported)",
        WITHOUT_RESPONSE_FORMAT,
    ),
    (r"(\btools?\b|function calling).{0,60}(json mode|response mime type|response_format)", WITHOUT_RESPONSE_FORMAT),
    (rf"json_object.{{0,3}} (is|are) ({_REFUSED})", WITHOUT_RESPONSE_FORMAT),  # Volcengine
    (r"must contain the word .?json|json mode is not (enabled|supported)", WITHOUT_RESPONSE_FORMAT),  # OpenAI, DeepSeek
    (r"single tool[- ]calls? at once", ONE_CALL_AT_A_TIME),  # templates of Llama 3
    (rf"({_REFUSED}|incompatible|invalid).{{0,60}}tool_choice", WITHOUT_FORCED_TOOL),  # DeepSeek, LM Studio
    (rf"tool_choice.{{0,60}}({_REFUSED}|incompatible|does not support)", WITHOUT_FORCED_TOOL),  # DashScope, Moonshot
    (
        r"support the provided .?tool_choice|thinking may not be enabled when",
        WITHOUT_FORCED_TOOL,
    ),  # OpenRouter, Anthropic
    (rf"system (role|message|instruction|prompt)s?.{{0,20}} ({_REFUSED})", WITHOUT_SYSTEM_ROLE),  # Gemma's template
    (r"developer instruction is not enabled|not support .?system\b|unexpected role .?system", WITHOUT_SYSTEM_ROLE),
    (r"only user(, assistant|,? and).{0,30}roles", WITHOUT_SYSTEM_ROLE),  # templates of Mistral's models
    (r"invalid message role: .?system|\brole\b.{0,60} should be 'user' or 'assistant'", WITHOUT_SYSTEM_ROLE),  # MiniMax
    (r"roles must alternate|should alternate with", WITH_ROLES_JOINED),  # templates, Perplexity
    (r"cannot have 2 or more assistant messages", WITH_ROLES_JOINED),  # llama.cpp
    (r"unexpected role .?user.? after role .?tool", WITH_ANSWERED_RESULTS),  # Mistral
    (r"content.{0,60} (must|should) be (a |an )?(valid )?str(ing)?\b|content must be string", WITH_PLAIN_TEXTS),
    (r"sequence, expected a string|content type: <nil>", WITH_PLAIN_TEXTS),
    (r"expected (a )?string, (but )?got .?(list|array|null|\[)", WITH_PLAIN_TEXTS),  # OpenAI, Volcengine
    (r"content', '(array|null)' not in 'string'", WITH_PLAIN_TEXTS),  # Cloudflare
    (r"(string_type|input should be a valid string).{0,80}content", WITH_PLAIN_TEXTS),  # Fireworks, FastAPI
    (r"concatenate str \(not .list", WITH_PLAIN_TEXTS),
)
_MENDED = tuple((re.compile(sentence, re.IGNORECASE | re.DOTALL), adaptation) for sentence, adaptation in _SENTENCES)
# The most that a model takes: Groq, DeepSeek and DashScope, OpenAI, Anthropic; Volcengine, SambaNova and Novita,
# Bedrock, Google, whose number is the first that is too large.
_LIMITS = re.compile(
    r"max_(?:completion_)?tokens.{0,60} less than or equal to [`']?(?P<a>\d+)"
    r"|range of max_tokens (?:is|should be) \[\d+, ?(?P<b>\d+)\]"
    r"|supports at most (?P<c>\d+) completion tokens"
    r"|max_tokens: \d+ > (?P<d>\d+)"
    r"|max_(?:completion_)?tokens\b.{0,100} expected a value <= (?P<e>\d+)"
    r"|max_tokens\b.{0,40} must be between \d+ and (?P<f>\d+)"
    r"|maximum tokens you requested exceeds? the model limit of (?P<g>\d+)"
    r"|maxoutputtokens value of \d+ but the supported range is from 1 \(inclusive\) to (?P<beyond>\d+) \(exclusive\)",
    re.IGNORECASE | re.DOTALL,
)
# What leaves room, if less than was asked for: vLLM; OpenAI, DeepSeek, OpenRouter; SGLang; Anthropic; TGI; OpenRouter
# again, of the money. "left" is the room itself.
_ROOM = re.compile(
    r"\((?P<asked>\d+) > (?P<window>\d+) - (?P<read>\d+)\)"
    r"|context length (?:is|of) (?P<window_2>\d+) tokens.*?requested (?:about |a total of )?(?P<total_2>\d+) tokens"
    r".*?(?P<asked_2>\d+) (?:tokens )?(?:in|for) the (?:completion|output)"
    r"|context limit: (?P<read_3>\d+) \+ (?P<asked_3>\d+) > (?P<window_3>\d+)"
    r"|must be <= (?P<window_4>\d+)\. given: (?P<read_4>\d+) `inputs` tokens and (?P<asked_4>\d+)"
    r"|requested up to (?P<asked_5>\d+) tokens, but can only afford (?P<left_5>\d+)"
    r"|context length is (?P<window_6>\d+) tokens\. however, you requested (?P<asked_6>\d+) output tokens and your "
    r"prompt contains (?:at least )?(?P<read_6>\d+) input"
    r"|passed (?P<read_7>\d+) input tokens and requested (?P<asked_7>\d+) output tokens\. however, the model's context "
    r"length is only (?P<window_7>\d+)",
    re.IGNORECASE | re.DOTALL,
)
LONGEST = 4000  # characters of a message that are searched for sentences
_ENOUGH = 4096  # tokens that an answer does with, however many were asked for

# A field, named where it is refused: "Unsupported parameter: 'x'", "x is not supported", "does not support x"; where
# the form would fit other things as well (d, e and f), the name has to look like a field's.
_NAME = r"(?<![\w.])[\[('\"`]{{0,3}}(?P<{}>[A-Za-z][\w.]{{0,80}}(?:\[\d+\][\w.]{{0,80}}){{0,3}})"
_NAMED = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        r"(?:unsupported|unknown|unrecognized|unexpected|extra|invalid|disallowed)\b[\w\s]{0,30}"
        r"(?:parameters?|params?|arguments?|fields?|name|property|option)\b(?:\(s\))?(?: supplied)?[:\s]*"
        r"(?:parameter )?" + _NAME.format("a"),
        r"(?:property|parameter|argument|field) " + _NAME.format("i") + r"['\"`\])]*\s+is "
        r"(?:not (?:supported|allowed|permitted|available|a valid|recognized)|unsupported|unknown)",
        r"extra_forbidden['\"], ['\"]loc['\"]: [(\[][^)\]]*['\"]"
        + _NAME.format("j")
        + r"['\"],?[)\]]",  # as Python writes it
        r"(?:parameters?|arguments?|propert(?:y|ies)|fields?) not (?:supported|allowed|permitted)[\w\s]{0,30}:\s*"
        + _NAME.format("b"),
        r"not permitted, field:\s*" + _NAME.format("c"),
        r"(?:not|n't|no longer) supports?(?:ed)?:?\s+(?:the |setting |custom |using )*(?:parameters?:?\s*)?"
        + _NAME.format("d"),
        _NAME.format("e") + r"(?:=\w+)?['\"`]*\]?\s+(?:parameter |field |property )?(?:is|are|has been) "
        r"(?:not (?:supported|allowed|permitted|available|compatible)|unsupported|incompatible|deprecated|removed)",
        _NAME.format("f") + r"['\"`]+\s+(?:does not support|must be one of|cannot be (?:used|set|specified))",
        _NAME.format("h") + r":\s+extra inputs are not permitted",
        r"invalid " + _NAME.format("g") + r":? only \S+ (?:is|are) allowed",  # Moonshot
    )
)
_OTHER_THINGS = frozenset(["user", "n", "stop", "store", "metadata"])  # roles and values have these names, too
_NAMES_REFUSED = frozenset(["unsupported_parameter", "unsupported_value", "unknown_parameter", "unsupported_params"])
# Most are 400 and 422; templates of chats fail as 500, and OpenRouter finds no endpoint (404).
_CAN_BE_MENDED = frozenset([200, 400, 404, 422, 500, 501])


def adaptation_of(status: int, error: Mapping[str, Any], known: Collection[str] = ()) -> str | None:
    """Return how the same model may still answer a refused request, in the words of a Failure's adaptation.

    Args:
        status: the HTTP status.
        error: what `error_in` found.
        known: the adaptations that the refused request had already: none of them is returned again.
    """
    message = error.get("message")
    if status not in _CAN_BE_MENDED or not isinstance(message, str):
        return None
    words, told = message[:LONGEST], None
    if limit := _LIMITS.search(_plain(words)):
        told = f"{WITHIN} {int(next(filter(None, limit.groups()))) - (limit.lastgroup == 'beyond')}"
    else:
        told = next((adaptation for sentence, adaptation in _MENDED if sentence.search(words)), None)
    if told is None and status not in (200, 500, 501):
        told = next((ADAPTATIONS[field] for field in _fields(error, words) if field in ADAPTATIONS), None)
    while told is not None and {*told.split(AND)} <= {*known}:
        told = _NEXT.get(told)
    return told


def room_left(words: str) -> str | None:
    """Return the adaptation that lets an answer have what is left of a window or of the money, where that is enough."""
    found = _ROOM.search(_plain(words[:LONGEST]))
    if found is None:
        return None
    told = {name.partition("_")[0]: int(number) for name, number in found.groupdict().items() if number}
    asked = told["asked"]
    left = told.get("left", told.get("window", 0) - told.get("read", told.get("total", asked) - asked))
    if left == asked - 1:  # vLLM reads no more of a prompt than shows that it is too long: how long it is, nobody knows
        left = min(asked // 2, _ENOUGH)
    return f"{ROOM_LEFT} {left}" if left >= min(asked / 2, _ENOUGH) and left > 0 else None


def told_limit(adaptation: str | None) -> int | None:
    """Return the number of tokens in an adaptation that lowers the limit, for good or for once; None in any other."""
    for words in (WITHIN, ROOM_LEFT):
        if adaptation is not None and adaptation.startswith(f"{words} "):
            return int(adaptation.removeprefix(words))
    return None


def is_lasting(adaptation: str) -> bool:
    """Return whether it holds for other requests of that model at that address as well."""
    return adaptation != WITHOUT_REASONING and not adaptation.startswith(ROOM_LEFT)


def _plain(words: str) -> str:
    """Return the words with numbers as computers write them."""
    return re.sub(r"(?<=\d),(?=\d{3}\b)", "", words)


def _fields(error: Mapping[str, Any], words: str) -> Iterator[str]:
    """Yield the last names of the fields that a refusal is about, the most specific source first."""
    for place in _places(error):
        yield str(place[-1])
    named = [_last_name(found[1]) for form in _NAMED for found in form.finditer(words) if _is_field(found)]
    if isinstance(error.get("param"), str) and (named or str(error.get("code")) in _NAMES_REFUSED):
        yield _last_name(error["param"])
    yield from named


def _is_field(found: re.Match[str]) -> bool:
    if found.lastgroup not in ("d", "e", "f"):
        return True
    name, quoted = _last_name(found[1]), found.string[max(0, found.start(1) - 1)] in "'\"`["
    return "_" in name or name == "temperature" or (quoted and name not in _OTHER_THINGS)


def _places(error: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Yield where FastAPI found something that it does not permit: Mistral, vLLM, Fireworks, TGI."""
    for details in (error.get("detail"), error.get("details")):
        for detail in details if isinstance(details, list) else ():
            if isinstance(detail, Mapping) and detail.get("type") in ("extra_forbidden", "value_error.extra"):
                place = detail.get("loc")
                if isinstance(place, list) and place:
                    yield place


def _last_name(path: str) -> str:
    """Return the last name of a path, in the way that the API writes names: "presencePenalty" is xAI's."""
    name = re.sub(r"\[\d+\]$", "", path.rstrip(".")).rpartition(".")[2]
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
