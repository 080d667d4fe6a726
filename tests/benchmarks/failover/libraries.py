"""Who takes part: the libraries, where they run, and how each of them is set up."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

TIMEOUT = 2.0  # seconds: every library's timeout for a request to the primary, and to the backup
LONGEST_STREAM = 5  # times that, for libraries that limit a stream as a whole
AS_THEY_COME = "as they come"
TUNED = "tuned for fast failover"
HASTE: Mapping[str, float] = {  # as the tuned Router of LiteLLM: no retry, and two failures are enough, for 5 seconds
    "quick_retries": 0,
    "breaker_failures": 2,
    "breaker_requests": 2,
    "breaker_open": 5,
    "breaker_jitter": 0,
}


@dataclass(frozen=True)
class Variant:
    """One way of setting a library up.

    Args:
        name: what its driver calls it.
        columns: the tables that it stands in.
        settings: what is set, for the reader of the table.
        options: what its driver is told besides the name.
        lanes: how many processes play its rows side by side, apart from one more; more where waiting is long.
        environment: variables of the process, where a library takes a setting from there.
        streams_only: whether what is set has a meaning for streams alone.
    """

    name: str
    columns: tuple[str, ...]
    settings: str
    options: Mapping[str, Any] = field(default_factory=dict)
    lanes: int = 2
    environment: Mapping[str, str] = field(default_factory=dict)
    streams_only: bool = False


@dataclass(frozen=True)
class Library:
    """A library that fails over.

    Args:
        name: what it is called in the tables.
        driver: the script in drivers/ that calls it.
        requirements: what its environment holds; nothing for ours, which runs where the benchmark does.
        variants: how it is set up.
        remarks: what else the reader should know, with links to where its documents say so.
        on_page: whether it is played when nobody is named.
    """

    name: str
    driver: str
    requirements: tuple[str, ...]
    variants: tuple[Variant, ...]
    remarks: str = ""
    on_page: bool = True

    @property
    def key(self) -> str:
        """What it is called on the command line and in names of files."""
        return self.name.lower().replace(",", "").replace(" ", "-")


def _peer(
    name: str,
    driver: str,
    requirements: tuple[str, ...],
    *,
    defaults: str,
    tuned: str,
    remarks: str,
    options: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Library:
    variants = (
        Variant("defaults", (AS_THEY_COME,), defaults, options or {}),
        Variant("tuned", (TUNED,), tuned, options or {}, environment=environment or {}),
    )
    return Library(name, driver, requirements, variants, remarks)


OURS = Library(
    "Understudy",
    "with_understudy",
    (),
    (
        Variant(
            "patient",
            (AS_THEY_COME,),
            "`Policy.patient()`, the default preset, for programs that can wait: it insists on the primary by design, "
            "with 5 retries after 5, 10, 20, 40 and 60 s. `attempt_timeout`, `first_token_timeout` and `idle_timeout` "
            "are the common timeout.",
            lanes=6,
        ),
        Variant(
            "eager",
            (AS_THEY_COME, TUNED),
            "`Policy.eager()`, the other preset, for services, with the same three timeouts and nothing else changed. "
            "It stands in both tables.",
        ),
        Variant(
            "eager tuned",
            (TUNED,),
            f"`Policy.eager({', '.join(f'{name}={value:g}' for name, value in HASTE.items())})` and the same three "
            "timeouts: the numbers of the tuned Router of LiteLLM, which retries nothing, and leaves a primary alone "
            "after its second failure, for 5 s, without jitter.",
            HASTE,
        ),
    ),
    "[All numbers of a policy](policies.md#the-numbers), and where they come from.",
)
_ROUTER = (
    "[Retries, fallbacks and cooldowns](https://docs.litellm.ai/docs/router/learn/reliability), "
    "[order and cooldowns](https://docs.litellm.ai/docs/routing), "
    "[timeouts](https://docs.litellm.ai/docs/proxy/timeout)"
)
_ROUTER_STREAMS = (
    "After the first piece of text the Router does not fall back, "
    "[on purpose](https://github.com/BerriAI/litellm/issues/40404); "
    "[an option for it](https://github.com/BerriAI/litellm/pull/41127) is not in this version."
)
_LITELLM = ("litellm>=1.106",)
_LITELLM_LONGEST = {"LITELLM_MAX_STREAMING_DURATION_SECONDS": str(LONGEST_STREAM * TIMEOUT)}
PYDANTIC_AI = _peer(
    "Pydantic AI",
    "with_pydantic_ai",
    ("pydantic-ai-slim[openai]>=2.68",),
    defaults="`Agent(FallbackModel(primary, backup))`, `ModelSettings(timeout=...)`.",
    tuned="`max_retries=0`; `request_timeout` for whole answers and `first_event_timeout` for streams; `fallback_on` "
    "with a handler of errors that leaves out status 400 and takes in answers that cannot be read, and a handler of "
    "responses that refuses empty ones (it is not applied to streams); "
    "`openai_chat_streaming_requires_finish_reason=True`.",
    remarks="[Fallback model](https://ai.pydantic.dev/models/overview): SDK retries are to be turned off. Inside an "
    "agent the documents now prefer the capability "
    "[`ModelFallback`](https://github.com/pydantic/pydantic-ai/blob/main/docs/capabilities/model-fallback.md), which "
    "shares the core of `FallbackModel`: `python3 noxfile.py failover modelfallback` plays that.",
)
PEERS = (
    _peer(
        "LiteLLM SDK",
        "with_litellm_sdk",
        _LITELLM,
        defaults="`acompletion(fallbacks=[...], timeout=...)`.",
        tuned="`max_retries=0` and `num_retries=0`, since its client otherwise retries before a fallback is asked; "
        "`LITELLM_MAX_STREAMING_DURATION_SECONDS` of five times the timeout.",
        remarks="[Reliability](https://docs.litellm.ai/docs/completion/reliable_completions). For everything beyond a "
        "single call, LiteLLM has the Router.",
        environment=_LITELLM_LONGEST,
    ),
    _peer(
        "LiteLLM Router, fallbacks",
        "with_litellm_router",
        _LITELLM,
        defaults="`Router(fallbacks=[{'primary': ['backup']}], timeout=...)`: two model groups, the second of which is "
        "the fallback of the first, as its documents have it for another model.",
        tuned="`num_retries=0`, `stream_timeout=...`, and `allowed_fails=1`, since a group of one deployment is "
        "otherwise [hardly ever](https://github.com/BerriAI/litellm/pull/7823) cooled down, and "
        "[is so](https://github.com/BerriAI/litellm/pull/8668) where that is set; `cooldown_time` is left at its "
        "default of 5 s; `LITELLM_MAX_STREAMING_DURATION_SECONDS` as above.",
        remarks=f"{_ROUTER}. {_ROUTER_STREAMS}",
        environment=_LITELLM_LONGEST,
    ),
    _peer(
        "LiteLLM Router, order",
        "with_litellm_router",
        _LITELLM,
        defaults="`Router(timeout=...)` with both deployments in one model group, `order` 1 and 2, as its documents "
        "have it for priorities among deployments of one model.",
        tuned="`num_retries=0`, `stream_timeout=...` and `LITELLM_MAX_STREAMING_DURATION_SECONDS` as above. "
        "`allowed_fails` is left alone: here the Router's own rule is in force, which cools a deployment down after a "
        "429, or when more than half of at least five requests in a minute have failed.",
        remarks=f"{_ROUTER}. {_ROUTER_STREAMS}",
        options={"order": True},
        environment=_LITELLM_LONGEST,
    ),
    PYDANTIC_AI,
    _peer(
        "LangChain",
        "with_langchain",
        ("langchain-core>=1.7", "langchain-openai>=1.7"),
        defaults="`ChatOpenAI(timeout=...).with_fallbacks([backup])`.",
        tuned="`max_retries=0`; `stream_chunk_timeout=...`; for whole answers a step behind the model that refuses "
        "empty ones, and `exceptions_to_handle` without the caller's own errors (streams keep the default, since an "
        "error inside a stream has a class that cannot be told from those).",
        remarks="[Fallbacks](https://docs.langchain.com/docs/guides/productionization/fallbacks/): retries are to be "
        "turned off. [`exceptions_to_handle`](https://reference.langchain.com/python/langchain-core/runnables/"
        "fallbacks/RunnableWithFallbacks/exceptions_to_handle), [`stream_chunk_timeout`]"
        "(https://reference.langchain.com/python/langchain-openai/chat_models/base/BaseChatOpenAI/"
        "stream_chunk_timeout). Agents have a middleware for fallbacks, which is not played here.",
    ),
    _peer(
        "TensorZero",
        "with_tensorzero",
        ("tensorzero>=2026.6",),
        defaults="`AsyncTensorZeroGateway.build_embedded`, one model with `routing = ['primary', 'backup']`, and for "
        "both `timeouts` with `non_streaming.total_ms` and `streaming.ttft_ms`. Nothing is retried by default.",
        tuned="the same and `streaming.total_ms` of five times the timeout, so that no stream hangs for ever.",
        remarks="[Retries, fallbacks and timeouts](https://github.com/tensorzero/tensorzero/blob/main/docs/gateway/"
        "guides/retries-fallbacks.mdx). Its [repository](https://github.com/tensorzero/tensorzero) is archived and "
        "no longer maintained.",
    ),
)


def _aside(library: Library, name: str, **options: Any) -> Library:
    """Return a library in another arrangement, which is played where it is named and has no column on the page."""
    variants = tuple(replace(variant, options=options) for variant in library.variants)
    return replace(library, name=name, variants=variants, on_page=False)


LIBRARIES = (OURS, *PEERS, _aside(PYDANTIC_AI, "Pydantic AI ModelFallback", capability=True))
COLUMNS = (AS_THEY_COME, TUNED)
