"""Tokens that a reply cost."""

from __future__ import annotations

from dataclasses import dataclass

# These providers are free: the first is not a model, the second runs on the user's own machine.
UNPAID = ("echo", "ollama")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens that a reply cost, as the vendor counted them.

    Args:
        input_tokens: all tokens read, those from and to a cache included.
        output_tokens: all tokens written, thinking included.
        thinking_tokens: the part of the output that was thinking, if the vendor reports it.
        cache_read_tokens: the part of the input that came from a cache.
        cache_write_tokens: the part of the input that was written to a cache.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    thinking_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Tokens read and written."""
        return self.input_tokens + self.output_tokens
