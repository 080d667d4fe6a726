"""Parses the JSON of an answer, and checks it against its schema with the package jsonschema: the extra "schema".

Nothing is fetched: a schema has to contain all that it refers to. `format` is an annotation, as in the standard, and is
not checked.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from typing import Any

# What can surround JSON: "```json" above it; the thoughts of models whose server leaves them in the answer, often
# without their beginning; prose.
_END_OF_THOUGHTS = re.compile(r"</(?:\w+:)?think(?:ing)?>|\[/THINK\]|<\|channel\|>final<\|message\|>")
_FENCE = re.compile(r"```\w*\s*\n(.*?)\n[ \t]*```", re.DOTALL)
_BLANK = "\ufeff \t\r\n"

_SHOWN = 40  # characters of a value that a message shows: enough for a word, too few for an answer
_LISTED = 8  # entries that a message lists

_KINDS: Mapping[str, str] = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}
# What is said of a keyword; {} stands for its value in the schema.
_EXPECTED: Mapping[str, str] = {
    "const": "{}",
    "enum": "one of {}",
    "format": "a string of the format {}",
    "exclusiveMaximum": "less than {}",
    "exclusiveMinimum": "more than {}",
    "maxItems": "at most {} entries",
    "maxLength": "at most {} characters",
    "maxProperties": "at most {} properties",
    "maximum": "at most {}",
    "minItems": "{} or more entries",
    "minLength": "{} or more characters",
    "minProperties": "{} or more properties",
    "minimum": "at least {}",
    "multipleOf": "a multiple of {}",
    "pattern": "a string that matches {}",
    "uniqueItems": "entries that all differ",
}
_COUNTED = {f"{end}{what}" for end in ("min", "max") for what in ("Items", "Length", "Properties")}


def read_answer(text: str) -> tuple[Any, bool]:
    """Parse an answer's JSON, and say whether something surrounded it: a fence, thoughts before it, prose.

    What is between its outermost brackets has to be one value: no inner piece of a cut answer is mistaken for the
    whole.

    Raises:
        ValueError: it is not JSON, or not just one value.
    """
    try:
        return json.loads(text), False
    except json.JSONDecodeError:
        rest = _END_OF_THOUGHTS.split(text)[-1].strip(_BLANK)
        first, fenced = re.search(r"[{\[]", rest), _FENCE.findall(rest)
        bracketed = rest[first.start() : max(rest.rfind("}"), rest.rfind("]")) + 1] if first else ""
        for candidate in () if rest.startswith("<think") else (rest, bracketed, *(fenced if len(fenced) == 1 else ())):
            with suppress(json.JSONDecodeError):
                return json.loads(candidate), True
        raise


@cache
def is_installed() -> bool:
    """Return whether a jsonschema is installed that can be kept from fetching, without importing it."""
    return all(importlib.util.find_spec(name) is not None for name in ("jsonschema", "referencing"))


def check_schema(schema: Mapping[str, Any]) -> None:
    """Check that a schema is usable, before anything is sent; without jsonschema, only that it is JSON.

    Raises:
        ValueError: it is not JSON, is not a valid JSON schema, refers to something that it does not contain, or to
            itself without end.
    """
    text = _write(schema)
    if is_installed():
        _checker(text)


def schema_fault(schema: Mapping[str, Any], value: Any) -> str | None:
    """Say where a value differs from a schema.

    Args:
        schema: a schema that `check_schema` lets pass.
        value: the answer as `json.loads` parsed it.

    Returns:
        The place and what was expected there, for example "$.items[2].name: expected a string, found 3"; None where the
        value follows the schema, and where jsonschema is not installed.

    Raises:
        ValueError: as with `check_schema`.
    """
    return _checker(_write(schema))(value) if is_installed() else None


def _write(schema: Mapping[str, Any]) -> str:
    """Write a schema as JSON: the copy that is kept does not change when the caller's does."""
    try:
        return json.dumps(schema, default=_as_plain, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"output_schema: expected a JSON schema, found something that is not JSON: {error}") from error


def _as_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not a JSON type")


@lru_cache(maxsize=64)
def _checker(text: str) -> Callable[[Any], str | None]:
    """Make a function that says where a value differs from a schema."""
    from jsonschema import Draft202012Validator, SchemaError  # type: ignore[import-untyped]  # it has no types
    from jsonschema.exceptions import best_match  # type: ignore[import-untyped]
    from jsonschema.validators import validator_for  # type: ignore[import-untyped]
    from referencing import Registry

    schema = json.loads(text)
    try:
        with _overflowing():
            kind = validator_for(schema, default=Draft202012Validator)
            kind.check_schema(schema)
            missing = _missing_reference(schema, kind)
    except SchemaError as error:
        raise ValueError(f"output_schema: expected a valid JSON schema; {_describe(error)}") from None
    except RecursionError:
        raise ValueError("output_schema: expected a JSON schema, found one nested too deep to be checked") from None
    except Exception as error:  # "$schema": [], say
        raise ValueError(f"output_schema: expected a valid JSON schema, found one at which {_tell(error)}") from error
    if missing is not None:
        raise ValueError(
            f"output_schema: expected references within the schema, found {_show(missing)}, which is not in it; "
            "nothing is fetched: put it under $defs"
        )
    validator = kind(schema, registry=Registry())  # an empty one: it fetches nothing
    try:
        with _overflowing():
            list(validator.iter_errors(None))  # any answer reaches what is wrong at the root
    except RecursionError:
        raise ValueError(
            "output_schema: expected a JSON schema that comes to an end, found one that refers to itself in a circle"
        ) from None
    except Exception as error:
        raise ValueError(f"output_schema: expected a valid JSON schema, found one at which {_tell(error)}") from error

    def fault(value: Any) -> str | None:
        try:
            with _overflowing():
                error = best_match(validator.iter_errors(value))
                return None if error is None else _describe(error)
        except RecursionError:
            return "$: expected something that can be checked, found lists and objects nested without end"
        except Exception as error:  # NaN is not a multiple of anything, and not even comparable
            return f"$: expected something that can be checked, found what raises {_tell(error)}"

    return fault


@contextmanager
def _overflowing() -> Iterator[None]:
    """Raise RecursionError wherever the stack overflows.

    Raises:
        RecursionError: it did. In rpds, where jsonschema keeps its references, that is a Rust panic, which is not an
            Exception.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ == "PanicException" and "RecursionError" in str(error):
            raise RecursionError("the stack ended within rpds") from None
        raise


def _missing_reference(schema: Any, kind: Any) -> str | None:
    """Return the first thing that a schema refers to and does not contain."""
    from referencing import Registry, Resource
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012, specification_with

    def references(resource: Resource[Any], resolver: Any) -> Iterator[tuple[str, Any]]:
        contents = resource.contents
        if isinstance(contents, Mapping):
            for keyword in ("$ref", "$dynamicRef"):
                if isinstance(contents.get(keyword), str):
                    yield contents[keyword], resolver
        for inner in resource.subresources():
            yield from references(inner, resolver.in_subresource(inner))

    specification = specification_with(kind.META_SCHEMA.get("$schema", ""), default=DRAFT202012)
    whole = specification.create_resource(schema)
    address = whole.id() or ""
    resolver = Registry().with_resource(address, whole).resolver(address)
    for reference, around in references(whole, resolver):
        try:
            around.lookup(reference)
        except Unresolvable:
            return reference
    return None


# ---- words ----


def _describe(error: Any) -> str:
    """Say what a validation error means, without showing the whole value and the whole schema."""
    return f"{error.json_path}: expected {_expectation(error)}, found {_finding(error)}"


def _expectation(error: Any) -> str:
    keyword, wanted = error.validator, error.validator_value
    if keyword == "type":
        return " or ".join(_KINDS.get(one, str(one)) for one in (wanted if isinstance(wanted, list) else [wanted]))
    if keyword == "required" and isinstance(wanted, list):
        return f"the property {_show(next(name for name in wanted if name not in error.instance))}"
    if keyword == "additionalProperties" and wanted is False:
        return f"only {_names(error.schema.get('properties', {}))}"
    if keyword in ("anyOf", "oneOf"):
        if 0 < len(error.context) <= 4 and not any(one.relative_path for one in error.context):
            return " or ".join(dict.fromkeys(map(_expectation, error.context)))
        return f"what {'exactly' if keyword == 'oneOf' else 'at least'} one of {len(wanted)} schemas describes"
    if keyword == "format" and wanted == "regex":
        return "a regular expression that Python can read"
    if keyword in _EXPECTED:
        return _EXPECTED[keyword].format(_names(wanted) if keyword == "enum" else _show(wanted))
    return f"what {keyword} asks for" if keyword else "nothing"  # a schema that is `false`


def _finding(error: Any) -> str:
    keyword, value = error.validator, error.instance
    if keyword == "required":
        return f"only {_names(value)}" if value else "none"
    if keyword == "additionalProperties" and error.validator_value is False:
        return _names(name for name in value if name not in error.schema.get("properties", {}))
    return str(len(value)) if keyword in _COUNTED else _show(value)


def _names(names: Any) -> str:
    """List names or values, the first few of them."""
    shown = [_show(name) for name in names]
    rest = [f"{len(shown) - _LISTED} more"] if len(shown) > _LISTED else []
    return ", ".join([*shown[:_LISTED], *rest]) or "none"


def _show(value: Any) -> str:
    """Show a value if it is short, else name its type."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return _cut(json.dumps(value, ensure_ascii=False, default=repr), _SHOWN)


def _tell(error: Exception) -> str:
    """Describe an exception that jsonschema should not have raised."""
    return _cut(" ".join(f"{type(error).__name__}: {error}".split()), 4 * _SHOWN)


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[:characters]}..."
