"""The arguments of one call besides its prompt: how they become a request, and what they change in the policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict

from understudy.errors import ConfigurationError
from understudy.execution.validation import Validator, check_validator
from understudy.frozen import NOTHING, freeze, thawed
from understudy.messages import Message, Prompt, Request, Tool, read_prompt
from understudy.policy import Policy, PolicyNumber
from understudy.settings import Settings

MOST_OVERRIDES = 256  # policies of single calls that are kept for the next call with the same numbers
_PLAIN = Request(messages=(Message.user("-"),))  # what most calls differ from by few fields
RETRIES = PolicyNumber(5)  # the arguments' defaults, distinguishable from the same numbers given by a caller
DELAY = PolicyNumber(5)
_KINDS: Mapping[str, tuple[type, str]] = {
    "system": (str, "a string"),
    "tools": (Iterable, "a sequence of understudy.Tool"),
    "output_schema": (Mapping, "a mapping, the JSON schema that the answer must follow"),
    "stop": (Iterable, "a sequence of strings"),
    "model": (str, "a string"),
    "options": (Mapping, 'settings by provider name, such as {"claude": {"top_k": 5}}'),
}


class CallOptions(TypedDict, total=False):
    """What a call may set besides prompt, temperature, max_tokens and retries; see Request for their meaning.

    `model` applies to the primary only, since other vendors do not have it; name a fallback's model in the route.
    `deadline` is in seconds for the whole call, `timeout` in seconds for one attempt. `policy` overrides the
    factory's for this call: a Policy, or the name of a preset; breaker, cooldowns and budgets stay the factory's.
    `validator` is a plain function that gets the answer, and rejects it by returning False or a reason, or by
    raising an exception; then the next provider is asked.
    """

    system: str | None
    tools: Sequence[Tool]
    tool_choice: str
    output_schema: Mapping[str, Any] | None
    stop: Sequence[str]
    model: str | None
    timeout: float | None
    deadline: float | None
    options: Mapping[str, Mapping[str, Any]]
    policy: Policy | str | None
    validator: Validator | None


class Overrides:
    """The policies of single calls: the factory's, with each call's own arguments.

    Args:
        policy: the factory's.
        check: refuses a policy whose routing does not fit the route.
    """

    __slots__ = ("_check", "_known", "_policy")

    def __init__(self, policy: Policy, check: Callable[[Policy], None]) -> None:
        self._policy = policy
        self._check = check
        self._known: dict[tuple[Any, ...], Policy] = {}

    def policy_for(self, max_retries: int, retry_delay: float, options: CallOptions) -> Policy:
        """Return the numbers of one call.

        Raises:
            TypeError: an argument has the wrong type.
            ValueError: an argument is out of its range.
        """
        own = type(max_retries) is not PolicyNumber, type(retry_delay) is not PolicyNumber
        if not options and own == (False, False):
            return self._policy
        values = (max_retries, retry_delay, *(options.get(name) for name in ("timeout", "deadline", "policy")))
        given = (own, values, *map(type, values))  # True equals 1, and is not a number
        try:
            known = self._known.get(given)
        except TypeError:  # not hashable: a custom strategy, or a mistake
            return self._override(own, max_retries, retry_delay, options)
        if known is None:
            known = self._override(own, max_retries, retry_delay, options)
            if len(self._known) < MOST_OVERRIDES:
                self._known[given] = known
        return known

    def _override(self, own: tuple[bool, bool], max_retries: int, retry_delay: float, options: CallOptions) -> Policy:
        changes: dict[str, Any] = {}
        if own[0]:
            changes["max_retries"] = max_retries
        if own[1]:
            changes["retry_delay"] = retry_delay
        if options.get("timeout") is not None:
            changes["attempt_timeout"] = options["timeout"]
        if options.get("deadline") is not None:
            changes["deadline"] = options["deadline"]
        policy = options.get("policy")
        base = self._policy if policy is None else policy if isinstance(policy, Policy) else Policy.named(policy)
        if base is not self._policy:
            self._check(base)
            changes["max_concurrent_calls"] = self._policy.max_concurrent_calls  # what all calls share is the factory's
        try:
            return replace(base, **changes) if changes else base
        except (TypeError, ValueError) as error:
            words = str(error).replace("attempt_timeout", "timeout") if "timeout" in options else str(error)
            raise type(error)(words) from None


def read_policy(policy: Policy | str | None, settings: Settings) -> Policy:
    """Return the policy that a factory was given, or that LLM_POLICY names.

    Raises:
        ValueError: there is no preset of this name.
        ConfigurationError: LLM_POLICY names none.
    """
    if isinstance(policy, Policy):
        return policy
    if policy is not None:
        return Policy.named(policy)
    found = settings.find("LLM_POLICY")
    if found is None:
        return Policy()
    value, name, origin = found
    try:
        return Policy.named(value)
    except ValueError as error:
        raise ConfigurationError(f"{name} in {origin}: {error}") from None


def read_request(
    prompt: Prompt, temperature: float | None, max_tokens: int | None, timeout: float | None, options: CallOptions
) -> Request:
    """Return the request that a call's arguments make.

    Raises:
        TypeError: an argument has the wrong type, or an option is unknown.
        ValueError: an argument is out of its range.
    """
    system, messages = read_prompt(prompt)
    if not options:
        request = thawed(_PLAIN)
        request.messages, request.system, request.timeout = messages, system, timeout
        request.temperature, request.max_tokens = temperature, max_tokens
        ready = freeze(request, Request)
        ready.__post_init__()
        return ready
    unknown = sorted(set(options) - CallOptions.__annotations__.keys())
    if unknown:
        known = ", ".join(CallOptions.__annotations__)
        raise TypeError(f"expected options among {known}, found {', '.join(unknown)}")
    _check_options(options)
    if given := options.get("system"):
        system = given if system is None else f"{given}\n\n{system}"
    stop = options.get("stop") or ()
    return Request(
        messages=messages,
        system=system,
        tools=_read_tools(options),
        tool_choice=options.get("tool_choice", "auto"),
        output_schema=options.get("output_schema"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        model=options.get("model"),
        temperature=temperature,
        max_tokens=max_tokens,
        timeout=timeout,
        options=options.get("options") or NOTHING,
    )


def _check_options(options: CallOptions) -> None:
    """Check the options of a call before any provider fails on them."""
    for name, value in options.items():
        kind, words = _KINDS.get(name, (object, ""))
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"expected {name} as {words}, found {_kind(value)}")
    for name, own in (options.get("options") or NOTHING).items():
        if not isinstance(own, Mapping):
            raise TypeError(f"expected options of {name} as a mapping, found {_kind(own)}")  # it may hold a key
    if (output_schema := options.get("output_schema")) is not None:
        from understudy.extras.json_schema import check_schema  # not needed by most calls

        check_schema(output_schema)
    check_validator(options.get("validator"))


def _read_tools(options: CallOptions) -> tuple[Tool, ...]:
    tools = tuple(options.get("tools") or ())
    for tool in tools:
        if not isinstance(tool, Tool):
            raise TypeError(f"expected tools as a sequence of understudy.Tool, found {_kind(tool)} in it")
    return tools


def _kind(value: Any) -> str:
    if hasattr(value, "model_json_schema"):
        return "a pydantic model: give its model_json_schema()"
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
