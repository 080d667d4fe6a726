"""Where a request to Google goes, and what Google's API turns away before any model sees it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from understudy_sandbox.exchange import RecordedRequest
from understudy_sandbox.vendors import gemini_thinking

UNKNOWN_MODEL = "no-such-model"
#: Both APIs and all their versions; on Vertex AI the model sits below a project and a publisher.
_PATH = re.compile(
    r"/(?P<version>v1|v1alpha|v1beta|v1beta1)/"
    r"(?P<owner>(?:projects/[^/]+/locations/(?P<location>[^/]+)/)?(?:publishers/[^/]+/)?)"
    r"models(?:/(?P<model>[^/:]+))?(?::(?P<method>\w+))?"
)
#: These and later models go on from no turn of their own.
_NO_PREFILL = re.compile(r"gemini-(3\.[6-9]|[4-9]|3\.5-flash-lite|flash(-lite)?-latest)")
#: Where Vertex AI has the models of the third generation and later ones; a single region does not.
_LARGE_REGIONS = ("global", "us", "eu")
#: Seconds: Google AI Studio refuses a shorter time in the header ``X-Server-Timeout``.
_LEAST_DEADLINE = 10
#: What stands for the signature of a call that Gemini did not make, and how the signatures of this stand-in begin.
_PLACEHOLDERS = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")
SIGNATURE = "Cg"
_METHODS = ("generateContent", "streamGenerateContent", "countTokens")
_FIELDS = frozenset(
    [
        "contents",
        "tools",
        "toolConfig",
        "safetySettings",
        "systemInstruction",
        "generationConfig",
        "cachedContent",
        "labels",
        "serviceTier",
        "continuationToken",
        "store",
        "model",
    ]
)
_ROLES = ("user", "model", "function")


@dataclass(frozen=True, slots=True)
class Route:
    """What a path names: API version, whether it is Vertex AI, the model, the method, the region."""

    version: str
    vertex: bool
    model: str
    method: str
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request is turned away: HTTP status, message and the vendor's details."""

    status: int
    message: str
    details: list[dict[str, Any]] = field(default_factory=list)


def route(path: str) -> Route | None:
    """Read a path; None for one that Google does not have."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    model = found["model"] or ""
    method = found["method"] or ("getModel" if model else "listModels")
    return Route(found["version"], bool(found["owner"]), model, method, found["location"])


def pick(document: Any, name: str, default: Any = None) -> Any:
    """Read a member by its name in camel case or in snake case: Google takes both."""
    if not isinstance(document, Mapping):
        return default
    value = document.get(name)
    if value is None:
        value = document.get(re.sub(r"([A-Z])", lambda found: "_" + found[1].lower(), name))
    return default if value is None else value


def find_problem(request: RecordedRequest) -> Problem | None:
    """The first thing that the vendor would complain about, or None for a sound request."""
    where = route(request.path)
    if where is None or (request.method == "POST" and where.method not in _METHODS):
        return Problem(404, f"Requested entity was not found: {request.path}")
    if request.method != ("GET" if where.method in ("getModel", "listModels") else "POST"):
        return Problem(404, f"Requested entity was not found: {request.method} {request.path}")
    problem = _missing_key(request, where) or _refused_key(request, where) or _missing_in_region(request, where)
    if problem is not None:
        return problem
    if where.model.startswith(UNKNOWN_MODEL):
        return Problem(
            404,
            f"models/{where.model} is not found for API version {where.version}, or is not supported for "
            f"{where.method}. Call ListModels to see the list of available models and their supported methods.",
        )
    if request.method == "GET":
        return None
    complaint = _short_deadline(request, where)
    if complaint is not None:
        return Problem(400, complaint)
    if not isinstance(request.json, Mapping):
        return Problem(400, "Invalid JSON payload received. Expected an object.")
    complaint = _wrong_contents(counted(request.json) if where.method == "countTokens" else request.json)
    if complaint is None and where.method != "countTokens":
        body, model = request.json, where.model
        complaint = _wrong_fields(body) or _wrong_config(body, model) or _wrong_end(body, model)
        complaint = complaint or _wrong_signature(body, model)
    return None if complaint is None else Problem(400, complaint)


def counted(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is to be counted: the body itself, or the whole request that is wrapped in it."""
    wrapped = pick(body, "generateContentRequest", body)
    return wrapped if isinstance(wrapped, Mapping) else body


def _missing_key(request: RecordedRequest, where: Route) -> Problem | None:
    headers = request.headers
    bearer = headers.get("authorization", "").removeprefix("Bearer").strip()
    if headers.get("x-goog-api-key") or request.query.get("key") or bearer:
        return None
    if where.vertex:
        return Problem(401, "Request is missing required authentication credential.")
    return Problem(
        403,
        "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other "
        "form of API consumer identity to call this API.",
    )


def _refused_key(request: RecordedRequest, where: Route) -> Problem | None:
    """Refuse the keys that Google made until 2026: whatever begins with AIza."""
    key = request.headers.get("x-goog-api-key") or request.query.get("key") or ""
    if where.vertex or not key.startswith("AIza"):
        return None
    reason = {"reason": "ACCESS_TOKEN_TYPE_UNSUPPORTED", "metadata": {"service": "generativelanguage.googleapis.com"}}
    return Problem(
        401,
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
        "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
        [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", **reason}],
    )


def _missing_in_region(request: RecordedRequest, where: Route) -> Problem | None:
    known = where.location is None or where.location in _LARGE_REGIONS or not gemini_thinking.is_of_3(where.model)
    if known:
        return None
    name = request.path.partition(f"/{where.version}/")[2].partition(":")[0]
    return Problem(
        404,
        f"Publisher Model `{name}` was not found or your project does not have access to it. Please ensure you are "
        "using a valid model version. For more information, see: "
        "https://cloud.google.com/vertex-ai/generative-ai/docs/learn/model-versions",
    )


def _short_deadline(request: RecordedRequest, where: Route) -> str | None:
    seconds = request.headers.get("x-server-timeout", "")
    if where.vertex or not seconds.isdigit() or int(seconds) >= _LEAST_DEADLINE:
        return None
    return f"Manually set deadline {seconds}s is too short. Minimum allowed deadline is {_LEAST_DEADLINE}s."


def _wrong_fields(body: Mapping[str, Any]) -> str | None:
    for name in body:
        camel = re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
        if camel not in _FIELDS:
            return f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.'
    return None


def _wrong_contents(body: Mapping[str, Any]) -> str | None:
    contents = body.get("contents")
    if not isinstance(contents, list) or not contents:
        return "* GenerateContentRequest.contents: contents is not specified\n"
    calls = 0
    for position, turn in enumerate(contents):
        parts = turn.get("parts") if isinstance(turn, Mapping) else None
        if not isinstance(parts, list) or not parts:
            return f"* GenerateContentRequest.contents[{position}].parts: contents.parts must not be empty.\n"
        if turn.get("role", "user") not in _ROLES:
            return "Please use a valid role: user, model."
        results = sum(1 for part in parts if pick(part, "functionResponse") is not None)
        if results and results != calls:
            return (
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        calls = sum(1 for part in parts if pick(part, "functionCall") is not None)
    return None


def begun(body: Mapping[str, Any]) -> str:
    """The text of the answer that the request begins itself: of a model's turn at its end."""
    last = body["contents"][-1]
    texts = [pick(part, "text") for part in last["parts"] if not pick(part, "thought")]
    return "".join(text or "" for text in texts) if last.get("role") == "model" else ""


def _wrong_end(body: Mapping[str, Any], model: str) -> str | None:
    if body["contents"][-1].get("role") != "model" or not _NO_PREFILL.match(model):
        return None
    return "Requests ending with a model turn are not supported."


def _wrong_signature(body: Mapping[str, Any], model: str) -> str | None:
    """Check the signatures as models of the third generation do: all that are there, and that none is missing.

    One is missing where the first call of a turn after the user's last words has none.
    """
    if not gemini_thinking.is_of_3(model):
        return None
    turns = body["contents"]
    signatures = [pick(part, "thoughtSignature") for turn in turns for part in turn["parts"]]
    if any(one and one not in _PLACEHOLDERS and not one.startswith(SIGNATURE) for one in signatures):
        return "Corrupted thought signature."
    said = [place for place, turn in enumerate(turns) if any(pick(part, "text") for part in turn["parts"])]
    asked = max((place for place in said if turns[place].get("role", "user") == "user"), default=0)
    for place, turn in enumerate(turns[asked:], asked):
        calls = [part for part in turn["parts"] if pick(part, "functionCall") is not None]
        if calls and not pick(calls[0], "thoughtSignature"):
            return (
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                "work correctly, and missing thought_signature may lead to degraded model performance. Additional "
                f"data, function call `{pick(calls[0], 'functionCall').get('name')}`, position {place}."
            )
    return None


def thinking_config(body: Mapping[str, Any]) -> dict[str, Any]:
    """The request's ``thinkingConfig``, its members in camel case."""
    config = pick(pick(body, "generationConfig", {}), "thinkingConfig", {})
    return {name: pick(config, name) for name in ("thinkingLevel", "thinkingBudget", "includeThoughts")}


def _wrong_config(body: Mapping[str, Any], model: str) -> str | None:
    config = pick(body, "generationConfig", {})
    temperature = pick(config, "temperature")
    if temperature is not None and not 0 <= temperature <= 2:
        where = "GenerateContentRequest.generation_config.temperature"
        return f"* {where}: {temperature} must be in the range [0.0, 2.0].\n"
    limit = pick(config, "maxOutputTokens")
    if limit is not None and limit < 1:
        return "* GenerateContentRequest.generation_config.max_output_tokens: must be positive.\n"
    return gemini_thinking.complaint(model, thinking_config(body))
