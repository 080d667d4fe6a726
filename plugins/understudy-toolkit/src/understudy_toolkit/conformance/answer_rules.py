"""Rules of the contract: what a healthy answer looks like, whole and as a stream, and what becomes of the request."""

from __future__ import annotations

import re
import typing
from dataclasses import replace

import pytest

from understudy.messages import Message, Part, Text, Thinking
from understudy.provider import ChatProvider
from understudy.response import Finish, FinishReason, LLMResponse, ResponseWarning, StreamEvent
from understudy.routing.adapters import PlainProvider
from understudy.usage import Usage
from understudy_toolkit.conformance.asking import REQUEST, WAYS, Way, finish_of, snapshot, text_of
from understudy_toolkit.conformance.setup import ContractSetup

FOREIGN = {"somebody-else": {"signature": "foreign-signature", "cache": ["foreign-mark"]}}


class AnswerRules(ContractSetup):
    """What an answer looks like, and what becomes of the request."""

    def test_an_answer_has_its_types(self, ask: Way, provider: ChatProvider) -> None:
        self.arrange("text")
        response = ask(provider, REQUEST)
        assert isinstance(response, LLMResponse), (
            f"expected {ask.name}() to return an LLMResponse, found {type(response).__name__}"
        )
        assert response.success is True, (
            f"expected success True from a healthy vendor, found {response.success!r} ({response.error}); "
            "a provider of the full contract raises a Failure instead of returning one"
        )
        kinds: dict[str, object] = {
            "content": str,
            "provider_name": str,
            "metadata": dict,
            "model": (str, type(None)),
            "finish_reason": (FinishReason, type(None)),
            "usage": (Usage, type(None)),
            "parts": tuple,
            "warnings": tuple,
            "request_id": (str, type(None)),
        }
        for field, kind in kinds.items():
            value = getattr(response, field)
            assert isinstance(value, kind), (  # type: ignore[arg-type]  # a dict of object: types and tuples of them
                f"expected LLMResponse.{field} as {_names(kind)}, found {value!r:.100} ({type(value).__name__})"
            )
        assert response.content.strip(), "expected some text, found none; raise EmptyResponse where nothing came"

    def test_an_answer_names_the_provider(self, ask: Way, provider: ChatProvider) -> None:
        self.arrange("text")
        found = ask(provider, REQUEST).provider_name
        allowed = ("", self.name) if isinstance(provider, PlainProvider) else (self.name,)
        assert found in allowed, f"expected provider_name {self.name!r} in the answer, found {found!r}"

    def test_parts_joined_are_the_content(self, ask: Way, provider: ChatProvider) -> None:
        self.arrange("text")
        response = ask(provider, REQUEST)
        if not response.parts:
            pytest.skip("the answer has no parts, so that its content is all of it")
        strangers = [part for part in response.parts if not isinstance(part, typing.get_args(Part))]
        assert not strangers, f"expected parts of understudy's kinds (Text, Thinking, ToolCall), found {strangers!r}"
        joined = "".join(part.text for part in response.parts if isinstance(part, Text))
        assert joined == response.content, (
            "expected the texts among `parts`, joined, to be `content`: whoever continues the conversation sends the "
            f"parts; found {joined!r:.200} and {response.content!r:.200}"
        )

    def test_usage_is_counted(self, ask: Way, provider: ChatProvider) -> None:
        self.arrange("text")
        usage = ask(provider, REQUEST).usage
        if usage is None:
            assert not self.reports_usage, "expected usage in every answer (reports_usage is True), found None"
            pytest.skip("the answer tells no usage, and reports_usage is False")
        counts = {name: getattr(usage, name) for name in Usage.__slots__}
        wrong = {name: count for name, count in counts.items() if type(count) is not int or count < 0}
        assert not wrong, f"expected tokens as whole numbers of 0 or more, found {wrong}"
        assert not self.reports_usage or usage.output_tokens > 0, f"expected some output tokens, found {usage}"
        inside = max(usage.cache_read_tokens, usage.cache_write_tokens)
        assert usage.input_tokens >= inside, f"expected input_tokens with those of the cache in it, found {usage}"
        assert usage.output_tokens >= usage.thinking_tokens, (
            f"expected output_tokens with those of thinking in it, found {usage}"
        )

    def test_the_tokens_are_those_that_the_vendor_counted(self, ask: Way, provider: ChatProvider) -> None:
        self.arrange("text")
        WAYS[0](provider, REQUEST)
        expected = self.answer_usage()
        if expected is None:
            pytest.skip("no `costs` are named: what the answer costs is not known")
        found = ask(provider, REQUEST).usage
        assert found == expected, (
            f"expected the tokens that the vendor counted, {expected}, found {found}; take each from its own field, "
            "and None where the vendor tells nothing"
        )

    def test_an_answer_is_read_whatever_its_content_type_says(self, ask: Way, provider: ChatProvider) -> None:
        self.stated("content_types")
        for content_type in self.content_types:
            try:
                self.label(content_type)
            except NotImplementedError as error:
                pytest.skip(f"a content type cannot be arranged: {error}")
            assert ask(provider, REQUEST).success, f"expected an answer that is sent as {content_type} to be read"

    def test_a_stream_ends_in_finish(self, ask_stream: Way, provider: ChatProvider) -> None:
        self.arrange("text")
        events = ask_stream.events(provider, REQUEST)
        finish_of(ask_stream.name, events)
        strangers = [event for event in events if not isinstance(event, typing.get_args(StreamEvent))]
        assert not strangers, (
            f"expected only TextDelta, ThinkingDelta, ToolCallDelta and Finish in a stream, found {strangers!r:.200}"
        )
        count = sum(isinstance(event, Finish) for event in events)
        assert count == 1, f"expected one Finish, the last event, found {count}"

    def test_deltas_joined_are_the_text(self, ask_stream: Way, provider: ChatProvider) -> None:
        self.arrange("text")
        events = ask_stream.events(provider, REQUEST)
        told, whole = text_of(events), finish_of(ask_stream.name, events).response.content
        assert told == whole, (
            "expected the pieces of text, joined, to be the text in Finish, byte by byte; "
            f"found pieces {told!r:.200} and text {whole!r:.200}"
        )

    def test_a_stream_finishes_with_what_generate_returns(self, ask_stream: Way, provider: ChatProvider) -> None:
        self.arrange("text")
        whole, streamed = _shape(WAYS[0](provider, REQUEST)), _shape(ask_stream(provider, REQUEST))
        different = {name: (whole[name], streamed[name]) for name in whole if whole[name] != streamed[name]}
        assert not different, (
            f"expected {ask_stream.name}() to finish with what generate() returns, found differences (generate, "
            f"{ask_stream.name}): {different}; make both with one function of yours"
        )

    def test_why_it_stopped_is_told(self, ask: Way, provider: ChatProvider) -> None:
        self.arrange("text")
        found = ask(provider, REQUEST).finish_reason
        if found is None:
            self.not_for_three_methods(provider, "they may leave it out")
            pytest.skip("the answer has no finish_reason")
        assert found is FinishReason.STOP, (
            f"expected finish_reason STOP from a whole answer, found {found!r}; map the vendor's reasons in one table"
        )
        self.arrange("length")
        found = ask(provider, replace(REQUEST, max_tokens=3)).finish_reason
        assert found is FinishReason.LENGTH, (
            f"expected finish_reason LENGTH from an answer that max_tokens cut, found {found!r}"
        )

    def test_warnings_are_response_warnings(self, ask: Way, provider: ChatProvider) -> None:
        self.arrange("text")
        asked = replace(REQUEST, temperature=1.9, stop=("ZEBRA",), max_tokens=64, system="Be brief.")
        for warning in ask(provider, asked).warnings:
            assert isinstance(warning, ResponseWarning), (
                f"expected ResponseWarning(setting, message) in `warnings`, found {warning!r}"
            )
            assert warning.setting, f"expected the setting's name in a warning, found none: {warning!r}"

    def test_the_request_is_not_changed(self, ask: Way, provider: ChatProvider) -> None:
        self.arrange("text")
        turns = (Message.user("Hello"), Message.assistant("Hello!"), *REQUEST.messages)
        asked = replace(
            REQUEST, messages=turns, system="Be kind.", options={self.name: {}, "somebody-else": {"x": [1]}}
        )
        before = snapshot(asked)
        ask(provider, asked)
        assert snapshot(asked) == before, (
            "expected the request as it was before the call, since the next provider gets it too; found it changed: "
            f"{asked!r:.500}; copy what you change"
        )

    def test_nothing_of_a_call_is_left_for_the_next(self, ask: Way, provider: ChatProvider) -> None:
        self.arrange("text")
        asked = replace(REQUEST, temperature=0.35, max_tokens=4321, stop=("ZEBRA",), model=self.another_model)
        ask(provider, replace(asked, system="House-rules", messages=(Message.user("First-question"), *asked.messages)))
        ask(provider, REQUEST)
        sent = self.seen()
        marks = (r"\b0\.35", r"\b4321\b", "ZEBRA", "House-rules", "First-question", re.escape(self.another_model))
        found = [mark for mark in marks if re.search(mark, sent)]
        assert not found, (
            f"expected a request to be sent as it is, found in it what the one before had asked for: {found}; keep "
            "nothing of a request in the provider"
        )

    def test_no_setting_is_lost_in_silence(self, ask: Way, provider: ChatProvider) -> None:
        self.arrange("text")
        asked = replace(REQUEST, temperature=0.35, max_tokens=4321, stop=("ZEBRA",), model=self.another_model)
        response = ask(provider, asked)
        sent = self.seen()
        warned = {getattr(warning, "setting", "") for warning in response.warnings}
        settings = {"temperature": r"\b0\.35", "max_tokens": r"\b4321\b", "stop": "ZEBRA"}
        settings["model"] = re.escape(self.another_model)
        lost = [name for name, shape in settings.items() if name not in warned and not re.search(shape, sent)]
        assert not lost, (
            f"expected each setting of the request to be sent or to be told in a warning, found {' and '.join(lost)} "
            f"neither in what the vendor received nor in {sorted(warned) or 'any warning'}; send it, or add "
            "ResponseWarning(setting, why) to the answer"
        )

    def test_a_conversation_is_passed_on(self, ask: Way, provider: ChatProvider) -> None:
        self.needs(provider, "conversation")
        self.arrange("text")
        turns = (Message.user("First-question"), Message.assistant("First-answer"), Message.user("Second-question"))
        assert ask(provider, replace(REQUEST, messages=turns, system="House-rules")).success
        sent = self.seen()
        lost = [text for text in ("House-rules", *(turn.text for turn in turns)) if text not in sent]
        assert not lost, f"expected system instructions and every turn to be sent, found these left out: {lost}"

    def test_what_only_others_understand_is_left_out(self, ask: Way, provider: ChatProvider) -> None:
        self.arrange("text")
        thought = Thinking("foreign-thought", FOREIGN)
        spoken = (thought, Text("Hello!", FOREIGN))
        turns = (Message.user("Hello"), Message("assistant", spoken), *REQUEST.messages)
        response = ask(provider, replace(REQUEST, messages=turns, options={"somebody-else": {"a": "foreign-option"}}))
        assert response.success, "expected a conversation that began with another provider to be taken"
        found = re.findall(r"foreign-\w+", self.received() or "")
        assert not found, (
            f"expected what only another provider understands to be left out, found it sent: {found}; read only "
            f"part.provider_data[{self.name!r}] and request.options[{self.name!r}], and leave out Thinking of others"
        )


def _names(kind: object) -> str:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return " or ".join("None" if one is type(None) else one.__name__ for one in kinds)


def _shape(response: LLMResponse) -> dict[str, object]:
    return {
        "success": response.success,
        "provider_name": response.provider_name,
        "model": response.model,
        "finish_reason": response.finish_reason,
        "usage told": response.usage is not None,
        "kinds of parts": sorted({type(part).__name__ for part in response.parts}),
        "structured": type(response.structured).__name__,
        "settings warned of": sorted(getattr(warning, "setting", "") for warning in response.warnings),
        "metadata": sorted(response.metadata),
        "request_id told": response.request_id is not None,
    }
