"""All errors, as a tree. A failure's branch decides what happens next.

UnderstudyError
|- ConfigurationError (also a ValueError)     a setting, key, URL or name is wrong: raised before anything is sent
|  `- PluginError                             an installed plugin cannot be used
|     |- UnknownProvider                      nobody provides that name
|     |- AmbiguousProvider                    two distributions claim one name
|     |- UntrustedPlugin                      LLM_TRUSTED_PLUGINS or understudy.lock does not let it load
|     `- BrokenPlugin                         it does not import, has no hooks, a misspelt one, or is a class
`- Failure                                    one attempt on one target failed
   |- QuotaFailure                            the next provider at once, this one not again in this call
   |  |- RateLimited, QuotaExhausted
   |  `- RequestTooLarge                      larger than the quota could ever allow
   |- TransientFailure                        this provider again with backoff, then the next
   |  |- Timeout, ConnectionFailed
   |  `- ServerError, Overloaded, UnknownFailure
   |- TargetFailure                           the next provider at once
   |  |- AuthenticationFailed, PermissionDenied, ModelNotFound    (logged as ERROR: action is required)
   |  |- ProviderUnavailable                  not configured here: nothing was sent
   |  |- TargetResting                        resting for a while: nothing was sent
   |  |  |- CircuitOpen                       after failures, by the circuit breaker
   |  |  |- CoolingDown                       after a quota reply
   |  |  |- NeedsAttention                    after it refused its key, a permission or a model
   |  |  `- LimitReached                      by the caller's own limits
   |  |- ContextTooLong, UnsupportedRequest
   |  |- RequestRefused                       with a warning on the other's answer; the policy can end the call
   |  |- EmptyResponse, AnswerCutShort, MalformedResponse, ResponseRejected
   |  `- AllProvidersFailed                   the end of a whole call
   |- RequestFailure                          the call ends: no other provider would do better
   |  |- InvalidRequest                       found before anything was sent
   |  |- RequestRejected, TooManyCalls        refused by an extension of the caller's own, or by the policy's limit
   |  `- ContentBlocked                       the next provider only if the policy says so
   |- StreamInterrupted                       a stream broke off; after the first token, by the policy
   `- Cancelled                               the caller gave up
"""

from __future__ import annotations

import copyreg
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from understudy.masking import readable

if TYPE_CHECKING:
    from understudy.response import Attempt
    from understudy.usage import Usage


class UnderstudyError(Exception):
    """Every error that this library raises on purpose."""


class ConfigurationError(UnderstudyError, ValueError):
    """A setting is missing or malformed; the message names the variable, where it was found, and how to fix it."""


class PluginError(ConfigurationError):
    """An installed plugin cannot be used."""


class UnknownProvider(PluginError):
    """No installed distribution and no registered class provides that name."""


class AmbiguousProvider(PluginError):
    """Two distributions provide the same name."""


class UntrustedPlugin(PluginError):
    """LLM_TRUSTED_PLUGINS or `understudy.lock` does not let a plugin load; nothing of it was imported."""


class BrokenPlugin(PluginError):
    """A plugin does not import, implements none of the hooks, misspells one, or is a class."""


class Scope(StrEnum):
    """What a failure concerns: this decides what happens next."""

    QUOTA = "quota"
    TRANSIENT = "transient"
    TARGET = "target"
    REQUEST = "request"
    STREAM = "stream"
    CANCELLED = "cancelled"


class Effect(StrEnum):
    """What an outcome says about a target."""

    SUCCESS = "success"
    FAILURE = "failure"
    RATE_LIMITED = "rate limited"
    EXHAUSTED = "quota exhausted"
    REFUSED = "key, right or model refused"
    REPLIED = "replied"  # the model answered, but not as required: that is not an outage
    ALIVE = "alive"  # it refused the request: for a probe, that shows only that the target is up
    NOTHING = "nothing"  # cancelled, or never sent


class Failure(UnderstudyError):
    """One attempt on one target failed.

    Args:
        message: the vendor's or our own words; keys in it are masked, and only the first 10,000 characters kept.
        provider: the provider's name.
        model: the model that was asked.
        status: the HTTP status, where there was a reply; some servers send more than 599.
        code: the vendor's own code, for example "rate_limit_error".
        request_id: the vendor's id of the request.
        retry_after: seconds after which the vendor says to come back; 0 or more.
        retryable: False where the vendor says not to send the same request again; None: the class decides.
        adaptation: how the same target may still answer, in words that complete "once more, ..."; the provider
            finds them in `Request.adaptation` of the attempt that follows at once. None if nothing is known to help.
        usage: the tokens that the attempt cost nevertheless, if the vendor reported them.

    The class says what a failure means: `scope`, what happens next; `effect`, what it says about the target's health;
    `sent`, whether a request went out; `needs_attention`, whether a key, a permission or a model must be changed;
    `concerns_request`, whether other requests may still be answered; `tells_why`, whether `brief` includes the message.
    """

    scope: ClassVar[Scope] = Scope.TRANSIENT
    effect: ClassVar[Effect] = Effect.FAILURE
    sent: ClassVar[bool] = True
    needs_attention: ClassVar[bool] = False
    concerns_request: ClassVar[bool] = False
    summary: ClassVar[str] = "failed"
    tells_why: ClassVar[bool] = False

    def __init__(
        self,
        message: str = "",
        *,
        provider: str = "",
        model: str | None = None,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
        adaptation: str | None = None,
        usage: Usage | None = None,
    ) -> None:
        self.message = readable(message)
        self.provider = provider
        self.model = model
        self.status = status
        self.code = readable(code) if isinstance(code, str) else code
        self.request_id = readable(request_id) if isinstance(request_id, str) else request_id
        self.retry_after = retry_after
        self.retryable = retryable
        self.adaptation = adaptation
        self.usage = usage
        super().__init__(self.message)

    @property
    def brief(self) -> str:
        """What went wrong in a few words, as the error of a failed call lists it."""
        return f"{self.summary}: {_one_line(self.message)}" if self.tells_why and self.message else self.summary

    def __str__(self) -> str:
        who = f"{self.provider} ({self.model})" if self.provider and self.model else self.provider
        numbers = " ".join(str(part) for part in (self.status, self.code) if part)
        text = ": ".join(part for part in (who, self.summary, self.message) if part)
        text += f" [{numbers}]" if numbers else ""
        return f"{text} (request {self.request_id})" if self.request_id else text

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return copyreg.__newobj__, (type(self), self.message), dict(self.__dict__)  # type: ignore[attr-defined]  # not typed


class QuotaFailure(Failure):
    """The account has no quota left for now: the next provider is asked at once."""

    effect = Effect.ALIVE
    scope = Scope.QUOTA
    summary = "quota exceeded"


class RateLimited(QuotaFailure):
    """Too many requests or tokens in a short time; `retry_after` says when it ends, if the vendor says."""

    effect = Effect.RATE_LIMITED


class QuotaExhausted(QuotaFailure):
    """A daily quota, a spend limit or the credit is used up."""

    effect = Effect.EXHAUSTED


class RequestTooLarge(QuotaFailure):
    """The request alone is larger than the quota allows: waiting would not help."""

    summary = "request too large for its quota"


class TransientFailure(Failure):
    """A failure that may pass: the same provider is retried with backoff, then the next is asked."""


class Timeout(TransientFailure):
    """No answer, or no further piece of it, in time."""

    summary = "timeout"


class ConnectionFailed(TransientFailure):
    """The connection was refused, reset or closed before the answer was complete, or the host was not found."""

    summary = "connection failed"


class ServerError(TransientFailure):
    """The vendor's server failed."""

    summary = "server error"


class Overloaded(TransientFailure):
    """The vendor has no room for the request just now."""

    summary = "overloaded"


class UnknownFailure(TransientFailure):
    """A failure of a kind that the provider's plugin does not know; treated as one that may pass."""

    summary = "unknown failure"

    @property
    def brief(self) -> str:
        """The failure's own words, since its class says nothing."""
        return _one_line(self.message) or self.summary


class TargetFailure(Failure):
    """This target cannot answer this request, however often it is asked; another may."""

    effect = Effect.ALIVE
    scope = Scope.TARGET


class AuthenticationFailed(TargetFailure):
    """The vendor does not accept the key."""

    effect = Effect.REFUSED
    summary = "authentication failed"
    needs_attention = True


class PermissionDenied(TargetFailure):
    """The key is valid but lacks this permission."""

    effect = Effect.REFUSED
    summary = "permission denied"
    needs_attention = True


class ModelNotFound(TargetFailure):
    """The vendor has no such model: misspelt, retired, or not pulled."""

    effect = Effect.REFUSED
    summary = "model not found"
    needs_attention = True


class ProviderUnavailable(TargetFailure):
    """The provider cannot be used here and says why; nothing was sent."""

    effect = Effect.NOTHING
    sent = False
    summary = "not available"
    tells_why = True


class TargetResting(TargetFailure):
    """The target rests for a while; nothing was sent. `retry_after` says for how long, if that is known."""

    effect = Effect.NOTHING
    sent = False

    @property
    def brief(self) -> str:
        """Why, and for how long."""
        words = f"{self.summary} ({_one_line(self.message)})" if self.message else self.summary
        known = self.retry_after is not None and self.retry_after < float("inf")
        return f"{words}, back in {self.retry_after:.3g} s" if known else words


class CircuitOpen(TargetResting):
    """The target kept failing: its circuit breaker is open, or half-open with its probe under way."""

    summary = "circuit open"


class CoolingDown(TargetResting):
    """The target refused because of a quota, and is asked again when the quota may be available."""

    summary = "cooling down"


class NeedsAttention(TargetResting):
    """The target refused its key, a permission or its model: it is rarely asked until one of them is changed."""

    summary = "needs attention"


class LimitReached(TargetResting):
    """The caller's own limits for this target leave nothing for the request."""

    summary = "limit reached"


class ContextTooLong(TargetFailure):
    """The conversation is longer than the model's context window."""

    concerns_request = True
    summary = "context too long"


class UnsupportedRequest(TargetFailure):
    """The target lacks something that the request needs, such as images or tools."""

    effect = Effect.NOTHING
    sent = False
    concerns_request = True
    summary = "unsupported request"
    tells_why = True


class RequestRefused(TargetFailure):
    """The vendor says that the request is wrong, without a more exact reason; another vendor may accept it."""

    concerns_request = True
    summary = "request refused"
    tells_why = True


class EmptyResponse(TargetFailure):
    """The reply was well formed and had no content."""

    effect = Effect.REPLIED
    summary = "empty response"


class AnswerCutShort(TargetFailure):
    """Thinking used up the tokens that the answer needed, so the answer breaks off."""

    effect = Effect.REPLIED
    summary = "answer cut short by thinking"


class MalformedResponse(TargetFailure):
    """The reply was not what the vendor's API promises: an HTML page, cut JSON, missing fields."""

    summary = "malformed response"


class ResponseRejected(TargetFailure):
    """One of the caller's own checks rejected the reply."""

    effect = Effect.REPLIED
    summary = "response rejected"


class RequestFailure(Failure):
    """The request itself is at fault, so no other provider is asked."""

    effect = Effect.ALIVE
    scope = Scope.REQUEST


class InvalidRequest(RequestFailure):
    """The request is wrong for every target; nothing was sent. What a vendor says is a RequestRefused."""

    effect = Effect.NOTHING
    sent = False
    summary = "invalid request"


class RequestRejected(RequestFailure):
    """One of the caller's own checks rejected the request; nothing was sent."""

    effect = Effect.NOTHING
    sent = False
    summary = "request rejected"


class TooManyCalls(RequestFailure):
    """As many calls as the policy allows are under way; nothing was sent."""

    effect = Effect.NOTHING
    sent = False
    summary = "too many calls"


class ContentBlocked(RequestFailure):
    """The vendor's safety system blocked the request or the answer."""

    effect = Effect.REPLIED
    summary = "content blocked"


class StreamInterrupted(Failure):
    """A stream ended without its end marker.

    Args:
        partial: the text that had arrived until then.
    """

    scope = Scope.STREAM
    summary = "stream interrupted"

    def __init__(self, message: str = "", *, partial: str = "", **fields: Any) -> None:
        super().__init__(message, **fields)
        self.partial = partial
        self.attempts: tuple[Attempt, ...] = ()


class Cancelled(Failure):
    """The caller gave up."""

    effect = Effect.NOTHING
    scope = Scope.CANCELLED
    summary = "cancelled"


class AllProvidersFailed(TargetFailure):
    """No target answered.

    Args:
        failures: what each target failed with, in order.
    """

    def __init__(self, message: str = "", *, failures: tuple[Failure, ...] = (), **fields: Any) -> None:
        super().__init__(message, **fields)
        self.failures = failures

    def __str__(self) -> str:
        return self.message


def _one_line(text: str, limit: int = 200) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
