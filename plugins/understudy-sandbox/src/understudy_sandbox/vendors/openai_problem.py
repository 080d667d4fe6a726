"""Why a request to OpenAI is turned away."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """HTTP status, message, and what the vendor says about it: the parameter, the code and the type."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    type: str = "invalid_request_error"


def missing(name: str) -> Problem:
    """A parameter that has to be there."""
    return Problem(400, f"Missing required parameter: '{name}'.", name, "missing_required_parameter")


def unsupported(name: str, hint: str = "") -> Problem:
    """A parameter that this model does not take."""
    message = f"Unsupported parameter: '{name}' is not supported with this model.{hint}"
    return Problem(400, message, name, "unsupported_parameter")
