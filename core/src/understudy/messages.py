"""What a caller asks: a Request made of messages, their parts, and tools.

Everything here is frozen, so one request can be given to several providers, threads and tasks. A part may carry
`provider_data`, which only the provider family it is keyed by understands (a thinking signature, say); the others
leave it out, and it is still there when the conversation returns to its own vendor.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from understudy.frozen import NOTHING, freeze, unfrozen

TOOL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")  # the form that every vendor in this project accepts
TOOL_CHOICES = ("auto", "none", "required")


class DefaultTemperature(float):
    """A default that a signature shows as a plain number and that means "if the model supports it".

    Leaving it out needs no warning: the caller has not asked for it.
    """


DEFAULT_TEMPERATURE = DefaultTemperature(0.0)  # the likeliest words

# The fields of a Request that hold strings, the one that is usually plain first. Half of a surrogate pair is not text,
# and cannot be sent.
_TEXTS = ("messages", "system", "tools", "output_schema", "stop", "model", "options")
_KINDS: Mapping[str, tuple[type, ...]] = {  # of the fields of parts that are not plain texts
    "arguments": (Mapping,),
    "content": (str, tuple),
    "data": (bytes, bytearray, memoryview, type(None)),
    "is_error": (bool,),
    "media_type": (str, type(None)),
    "name": (str, type(None)),
    "provider_data": (Mapping,),
    "url": (str, type(None)),
}
_HALF = re.compile("[\ud800-\udfff]")

ProviderData: TypeAlias = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text."""

    text: str
    provider_data: ProviderData = field(default_factory=lambda: NOTHING, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture: its bytes with a media type, or a URL that the vendor fetches.

    Raises:
        ValueError: neither or both of `data` and `url` are given, or `data` comes without a media type.
    """

    data: bytes | None = field(default=None, repr=False)
    url: str | None = None
    media_type: str | None = None
    provider_data: ProviderData = field(default_factory=lambda: NOTHING, repr=False)

    def __post_init__(self) -> None:
        _check_attachment("Image", self.data, self.url, self.media_type)

    @classmethod
    def from_file(cls, path: str | Path) -> Image:
        """Read a picture from a file; its name gives the media type."""
        return cls(data=Path(path).read_bytes(), media_type=_guess_media_type(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A document, for example a PDF: its bytes with a media type, or a URL that the vendor fetches.

    Raises:
        ValueError: neither or both of `data` and `url` are given, or `data` comes without a media type.
    """

    data: bytes | None = field(default=None, repr=False)
    url: str | None = None
    media_type: str | None = None
    name: str | None = None
    provider_data: ProviderData = field(default_factory=lambda: NOTHING, repr=False)

    def __post_init__(self) -> None:
        _check_attachment("File", self.data, self.url, self.media_type)

    @classmethod
    def from_file(cls, path: str | Path) -> File:
        """Read a document from a file; its name gives the media type."""
        return cls(data=Path(path).read_bytes(), media_type=_guess_media_type(path), name=Path(path).name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """The model's request to call a tool; answer it with a ToolResult that carries the same id."""

    id: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    provider_data: ProviderData = field(default_factory=lambda: NOTHING, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a tool returned for the ToolCall with this id: text, or text and attachments."""

    call_id: str
    content: str | tuple[Text | Image | File, ...]
    name: str = ""
    is_error: bool = False
    provider_data: ProviderData = field(default_factory=lambda: NOTHING, repr=False)

    @property
    def text(self) -> str:
        """The text of the result, attachments left out."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, Text))


@dataclass(frozen=True, slots=True)
class Thinking:
    """Reasoning that a model showed. Other vendors do not accept it, so it is sent back only to its own."""

    text: str
    provider_data: ProviderData = field(default_factory=lambda: NOTHING, repr=False)


Part: TypeAlias = Text | Image | File | ToolCall | ToolResult | Thinking
Role: TypeAlias = Literal["user", "assistant", "tool"]

_PARTS_OF_ROLE: Mapping[str, tuple[type, ...]] = {
    "user": (Text, Image, File),
    "assistant": (Text, Thinking, ToolCall, Image, File),
    "tool": (ToolResult,),
}


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Args:
        role: "user", "assistant", or "tool" (which holds the results of the tools just called).
        parts: what the turn says, in order; at least one part.

    Raises:
        ValueError: an unknown role, no parts, or a part that does not belong to the role.
    """

    role: Role
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        allowed = _PARTS_OF_ROLE.get(self.role)
        if allowed is None:
            raise ValueError(f"expected a role of user, assistant or tool, found {self.role!r}")
        if not self.parts:
            raise ValueError(f"expected at least one part in a message of role {self.role}, found none")
        for part in self.parts:
            if not isinstance(part, allowed):
                names = ", ".join(kind.__name__ for kind in allowed)
                raise ValueError(f"expected {names} in a message of role {self.role}, found {type(part).__name__}")

    @classmethod
    def user(cls, *parts: str | Text | Image | File) -> Message:
        """What the user says: strings, and images or files."""
        return cls("user", tuple(Text(part) if isinstance(part, str) else part for part in parts))

    @classmethod
    def assistant(cls, *parts: str | Text | Thinking | ToolCall) -> Message:
        """What a model said before."""
        return cls("assistant", tuple(Text(part) if isinstance(part, str) else part for part in parts))

    @classmethod
    def tool(cls, *results: ToolResult) -> Message:
        """What the tools returned that the assistant's last message called."""
        return cls("tool", results)

    @property
    def text(self) -> str:
        """The text of the turn, joined; other parts left out."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


Prompt: TypeAlias = "str | Message | Mapping[str, str] | Sequence[Message | Mapping[str, str]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that the model may ask for.

    Args:
        name: letters, digits, underscores and dashes, at most 64, not starting with a digit or a dash.
        description: what the tool does and when to use it.
        parameters: a JSON schema of type object for the arguments.

    Raises:
        ValueError: the name is not of that form, or is one of "auto", "none", "required".
        TypeError: the parameters are not JSON.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})

    def __post_init__(self) -> None:
        if not TOOL_NAME.fullmatch(self.name) or self.name in TOOL_CHOICES:
            raise ValueError(
                f"expected a tool name of letters, digits, _ and - (at most 64, no {', '.join(TOOL_CHOICES)}), "
                f"found {self.name!r}"
            )
        try:
            json.dumps(self.parameters, default=dict)  # a Mapping of another kind is as good as a dict
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(f"expected the parameters of {self.name} as a JSON schema: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to a provider, the same for every provider.

    Args:
        messages: the conversation, oldest first; at least one message.
        system: instructions that stand above the conversation.
        tools: functions the model may ask for.
        tool_choice: "auto", "none", "required", or the name of the one tool that must be called.
        output_schema: a JSON schema that the answer must follow; the answer comes parsed in `structured`.
        stop: texts at which the model stops.
        model: the vendor's model name; None for the provider's default.
        temperature: 0.0 to 2.0; None leaves it to the model. DEFAULT_TEMPERATURE is 0.0 if the model supports one.
        max_tokens: most tokens of answer, at least 1; None leaves it to the provider. Thinking does not count: if
            a vendor counts it, the provider asks for additional tokens.
        timeout: seconds one attempt may take, above 0; None for the provider's default.
        options: settings that only one provider knows, by provider name: {"claude": {"top_k": 5}}.
        whole: whether the caller gets the answer in one piece although it is requested as a stream: no piece of it is
            handed out before its end; set by the engine.
        adaptation: how this attempt differs from the previous one, in the words of that one's failure; set by the
            engine (see Failure).

    Raises:
        TypeError: a field has the wrong type.
        ValueError: a field is out of its range, or holds half of a surrogate pair.
    """

    messages: tuple[Message, ...]
    system: str | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    output_schema: Mapping[str, Any] | None = None
    stop: tuple[str, ...] = ()
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    timeout: float | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: NOTHING)
    whole: bool = False
    adaptation: str | None = None

    def __post_init__(self) -> None:
        if not self.messages:
            raise ValueError("expected at least one message, found none")
        if self.temperature is not None:
            _check_number("temperature", self.temperature, 0, 2)
        if self.timeout is not None:
            _check_number("timeout", self.timeout, 0, None, "seconds above 0")
        if self.max_tokens is not None:
            if not isinstance(self.max_tokens, int) or isinstance(self.max_tokens, bool):
                raise TypeError(f"expected max_tokens as an int, found {self.max_tokens!r}")
            if self.max_tokens < 1:
                raise ValueError(f"expected max_tokens of at least 1, found {self.max_tokens}")
        if self.tool_choice not in TOOL_CHOICES and self.tool_choice not in {t.name for t in self.tools}:
            raise ValueError(
                f"expected tool_choice as auto, none, required or the name of one of the tools "
                f"({', '.join(t.name for t in self.tools) or 'there are none'}), found {self.tool_choice!r}"
            )
        stop = self.stop
        if stop != () and (isinstance(stop, str) or not all(isinstance(text, str) and text for text in stop)):
            raise ValueError(f"expected stop as a tuple of texts that are not empty, found {stop!r}")
        odd = False
        for turn in self.messages:
            for part in turn.parts:
                if type(part) is Text and type(part.text) is str and part.provider_data is NOTHING:
                    odd = odd or not part.text.isascii()
                    continue
                odd = True
                _check_part(part)
        for name in _TEXTS if odd else _TEXTS[1:]:
            try:
                place = (value := getattr(self, name)) and place_of_half(value)
            except RecursionError:
                raise ValueError(f"expected {name} that can be sent, found lists and objects nested too deep") from None
            if place:
                raise ValueError(
                    f"expected whole characters in {name}, found half of a surrogate pair in {name}{place}: "
                    "cut texts between characters, or clean them first: text.encode('utf-8', 'replace').decode()"
                )

    @property
    def prompt(self) -> str:
        """The text of the last user message, for providers and checks that look at nothing else."""
        for message in reversed(self.messages):
            if message.role == "user":
                return message.text
        return ""


def place_of_half(value: Any) -> str | None:
    """Say where half of a surrogate pair is in a string, or in anything that holds strings; None if there is none."""
    if isinstance(value, str):
        half = None if value.isascii() else _HALF.search(value)
        return None if half is None else f", position {half.start()}"
    inside: Iterable[tuple[Any, Any]]
    if isinstance(value, list | tuple):
        inside = enumerate(value)
    elif hasattr(value, "__dataclass_fields__"):
        inside = ((name, getattr(value, name)) for name in value.__dataclass_fields__)
    else:
        inside = value.items() if isinstance(value, Mapping) else ()
    for name, inner in inside:
        if place := place_of_half(inner) or place_of_half(name):
            return f".{name}{place}" if hasattr(value, "__dataclass_fields__") else f"[{name!r}]{place}"
    return None


def in_whole_characters(value: Any) -> Any:
    """Return a value with its strings in whole characters: adjacent halves are joined, others become U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {in_whole_characters(name): in_whole_characters(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(in_whole_characters, value))
    names = getattr(value, "__dataclass_fields__", ())
    return replace(value, **{name: in_whole_characters(getattr(value, name)) for name in names}) if names else value


def read_prompt(prompt: Prompt) -> tuple[str | None, tuple[Message, ...]]:
    """Turn whatever a caller may give as a prompt into system instructions and messages.

    Args:
        prompt: text, a Message, a mapping {"role": ..., "content": text}, or a sequence of the last two. Leading
            mappings of role "system" become the system instructions.

    Returns:
        The system instructions (None where there are none) and the messages.

    Raises:
        TypeError: the prompt is of none of these kinds.
        ValueError: the prompt is empty, or a mapping lacks its role or content.
    """
    if isinstance(prompt, str):
        if not prompt.strip():
            raise ValueError(f"expected a prompt with some text, found {prompt!r}")
        text, message = unfrozen(Text), unfrozen(Message)  # as every call does
        text.text, text.provider_data = prompt, NOTHING
        message.role, message.parts = "user", (freeze(text, Text),)
        return None, (freeze(message, Message),)
    if isinstance(prompt, Message | Mapping):
        prompt = (prompt,)
    if not isinstance(prompt, Iterable) or isinstance(prompt, bytes):
        raise TypeError(f"expected a prompt as text or a sequence of messages, found {type(prompt).__name__}")
    system: list[str] = []
    messages: list[Message] = []
    for turn in prompt:
        if isinstance(turn, Mapping):
            role, text = _read_mapping(turn)
            if role == "system" and not messages:
                system.append(text)
                continue
            turn = Message(role, (Text(text),))  # type: ignore[arg-type]  # Message refuses other roles itself
        if not isinstance(turn, Message):
            raise TypeError(f"expected messages in the conversation, found {type(turn).__name__}: {turn!r:.80}")
        messages.append(turn)
    if not messages:
        raise ValueError("expected a conversation with at least one message, found none")
    return "\n\n".join(system) or None, tuple(messages)


def _read_mapping(turn: Mapping[str, str]) -> tuple[str, str]:
    role, text = turn.get("role"), turn.get("content")
    if not isinstance(role, str) or not isinstance(text, str) or not text:
        raise ValueError(
            f'expected {{"role": "user", "content": "text"}} with both present, found keys {sorted(turn)}; '
            "for images, files and tools use understudy.Message"
        )
    return role, text


def _check_number(name: str, value: float, low: float, high: float | None, words: str | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected {name} as a number, found {value!r}")
    inside = low <= value <= high if high is not None else low < value < float("inf")
    if not inside:
        raise ValueError(f"expected {name} as {words or f'{low} to {high}'}, found {value!r}")


def _check_part(part: Part) -> None:
    for name in part.__dataclass_fields__:
        value, kinds = getattr(part, name), _KINDS.get(name, (str,))
        if not isinstance(value, kinds):
            words = " or ".join(kind.__name__ for kind in kinds)
            raise TypeError(f"expected {name} of a {type(part).__name__} as {words}, found {type(value).__name__}")
    if not all(isinstance(own, Mapping) for own in part.provider_data.values()):
        raise TypeError(f"expected provider_data as mappings by provider family, found {part.provider_data!r:.80}")


def _check_attachment(kind: str, data: bytes | None, url: str | None, media_type: str | None) -> None:
    if (data is None) == (url is None):
        raise ValueError(f"expected {kind} with either data or url, found {'neither' if url is None else 'both'}")
    if data is not None and not media_type:
        raise ValueError(f"expected {kind} data with a media_type such as image/png, found none")


def _guess_media_type(path: str | Path) -> str:
    import mimetypes

    guessed, _ = mimetypes.guess_type(str(path))
    if guessed is None:
        raise ValueError(f"expected a file whose name gives its media type, found {Path(path).name!r}")
    return guessed
