"""Who plays: in which environment, and how each is set up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contestant:
    """Somebody who plays.

    Args:
        name: what it is called in the tables.
        key: what it is called on the command line.
        worker: the script in workers/ that calls it.
        settings: how it is set up, for the reader of the page.
        variant: what its worker is told.
        requirements: what its environment holds; nothing for those that run where the benchmark does.
    """

    name: str
    key: str
    worker: str
    settings: str
    variant: str = ""
    requirements: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether it is Understudy."""
        return self.worker == "with_understudy"


def _ours(lane: str, preset: str) -> Contestant:
    return Contestant(
        f"Understudy {lane} {preset}",
        f"understudy-{lane}-{preset}",
        "with_understudy",
        f"`LLMFactory('primary', ['backup'], policy=Policy.{preset}())` and `OPENAI_TRANSPORT={lane}`. Where a call "
        "fails over, the circuit breaker and the cooldown after refusals are switched off: else it would soon "
        "leave the primary out.",
        f"{lane} {preset}",
    )


REFERENCE = Contestant(
    "openai",
    "openai",
    "with_openai",
    "OpenAI's SDK, `max_retries=0`; where a call fails over, an `except` between two clients.",
)
TENSORZERO = Contestant(
    "TensorZero",
    "tensorzero",
    "with_tensorzero",
    "`build_embedded`, one model with `routing = ['primary', 'backup']`, without observability.",
    requirements=("tensorzero>=2026.6",),
)
CONTESTANTS = (
    REFERENCE,
    *(_ours(lane, preset) for lane in ("http", "sdk") for preset in ("patient", "eager")),
    TENSORZERO,
    Contestant(
        "LiteLLM",
        "litellm",
        "with_litellm",
        "`completion(fallbacks=[...], max_retries=0, num_retries=0)`, and `acompletion` likewise. Sync streams have no "
        "fallbacks: with them it makes an async client, whose stream it cannot read.",
        requirements=("litellm>=1.106",),
    ),
    Contestant(
        "Pydantic AI",
        "pydantic-ai",
        "with_pydantic_ai",
        "`Agent(FallbackModel(primary, backup))`, `max_retries=0`; sync calls with `run_sync` and `run_stream_sync`.",
        requirements=("pydantic-ai-slim[openai]>=2.68",),
    ),
    Contestant(
        "LangChain",
        "langchain",
        "with_langchain",
        "`ChatOpenAI(max_retries=0).with_fallbacks([backup])`.",
        requirements=("langchain-core>=1.7", "langchain-openai>=1.7"),
    ),
)
