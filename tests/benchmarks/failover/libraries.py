"""Who takes part: the libraries, where they run, and how each of them is set up."""

from collections.abc import Mapping
from dataclasses import dataclass, field

TIMEOUT = 2.0  # seconds: every library's timeout for a request to the primary, and to the backup
LONGEST_STREAM = 5  # times that, for libraries that limit a stream as a whole
AS_THEY_COME = "as they come"
TUNED = "tuned for fast failover"


@dataclass(frozen=True)
class Variant:
    """One way of setting a library up.

    Args:
        name: what its driver calls it.
        column: the table that it stands in.
        settings: what is set, for the reader of the table.
        lanes: how many processes play its rows side by side, apart from one more; more where waiting is long.
        environment: variables of the process, where a library takes a setting from there.
    """

    name: str
    column: str
    settings: str
    lanes: int = 2
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Library:
    """A library that fails over.

    Args:
        name: what it is called in the tables.
        driver: the script in drivers/ that calls it.
        requirements: what its environment holds; nothing for ours, which runs where the benchmark does.
        variants: how it is set up.
    """

    name: str
    driver: str
    requirements: tuple[str, ...]
    variants: tuple[Variant, Variant]


def _peer(
    name: str, driver: str, requirements: tuple[str, ...], defaults: str, tuned: str, **environment: str
) -> Library:
    variants = (
        Variant("defaults", AS_THEY_COME, defaults),
        Variant("tuned", TUNED, tuned, environment=environment),
    )
    return Library(name, driver, requirements, variants)


OURS = Library(
    "Understudy",
    "with_understudy",
    (),
    (
        Variant(
            "patient",
            AS_THEY_COME,
            "`Policy.patient()`, the default, which insists on the primary by design: 5 retries after 5, 10, 20, 40 "
            "and 60 s. `attempt_timeout`, `first_token_timeout` and `idle_timeout` are the common timeout.",
            lanes=6,
        ),
        Variant(
            "eager",
            TUNED,
            "`Policy.eager()` with the same three timeouts and nothing else changed.",
        ),
    ),
)
PEERS = (
    _peer(
        "LiteLLM SDK",
        "with_litellm_sdk",
        ("litellm>=1.106",),
        "`acompletion(fallbacks=[...], timeout=...)`.",
        "`max_retries=0` and `num_retries=0`, since its client otherwise retries before a fallback is asked; "
        "`LITELLM_MAX_STREAMING_DURATION_SECONDS` of five times the timeout.",
        LITELLM_MAX_STREAMING_DURATION_SECONDS=str(LONGEST_STREAM * TIMEOUT),
    ),
    _peer(
        "LiteLLM Router",
        "with_litellm_router",
        ("litellm>=1.106",),
        "`Router(fallbacks=[{'primary': ['backup']}], timeout=...)`.",
        "`num_retries=0`, `stream_timeout=...`, and `allowed_fails=1`, without which a group of one deployment is "
        "not cooled down; `cooldown_time` is left at its default; `LITELLM_MAX_STREAMING_DURATION_SECONDS` as above.",
        LITELLM_MAX_STREAMING_DURATION_SECONDS=str(LONGEST_STREAM * TIMEOUT),
    ),
    _peer(
        "Pydantic AI",
        "with_pydantic_ai",
        ("pydantic-ai-slim[openai]>=2.68",),
        "`Agent(FallbackModel(primary, backup))`, `ModelSettings(timeout=...)`.",
        "`max_retries=0`; `request_timeout` for whole answers and `first_event_timeout` for streams; `fallback_on` "
        "with a handler of errors that leaves out status 400 and takes in answers that cannot be read, and a "
        "handler of responses that refuses empty ones (it is not applied to streams); "
        "`openai_chat_streaming_requires_finish_reason=True`.",
    ),
    _peer(
        "LangChain",
        "with_langchain",
        ("langchain-core>=1.7", "langchain-openai>=1.7"),
        "`ChatOpenAI(timeout=...).with_fallbacks([backup])`.",
        "`max_retries=0`; `stream_chunk_timeout=...`; for whole answers a step behind the model that refuses empty "
        "ones, and `exceptions_to_handle` without the caller's own errors (streams keep the default, since an "
        "error inside a stream has a class that cannot be told from those).",
    ),
    _peer(
        "TensorZero",
        "with_tensorzero",
        ("tensorzero>=2026.6",),
        "`AsyncTensorZeroGateway.build_embedded`, one model with `routing = ['primary', 'backup']`, and for both "
        "`timeouts` with `non_streaming.total_ms` and `streaming.ttft_ms`. Nothing is retried by default.",
        "the same and `streaming.total_ms` of five times the timeout, so that no stream hangs for ever.",
    ),
)
LIBRARIES = (OURS, *PEERS)
COLUMNS = (AS_THEY_COME, TUNED)
