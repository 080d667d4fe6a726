"""What a call costs through the factory with each of the other plugins, beside the raw SDK that the plugin is built on.

As over_sdk.py does for Claude and Gemini: the same server, words, model, limit and timeout, connections that stay open,
no retries; the raw side calls and reads the text. Sync calls only, since google-generativeai has no others over REST.
There is no aim for these; `more` is the median of the rounds.
"""

import warnings
from collections.abc import Callable
from typing import Any

from _measure import HEADS, beside, compare, isolate, repeated, show
from _sides import MAX_TOKENS, PROMPT, TIMEOUT, ask
from _upstream import upstream

from understudy import LLMFactory

CALLS = 15
SECONDS = 9.0  # for each of the four
MODELS = {
    "openai": ("OPENAI", "gpt-4.1"),
    "cohere": ("COHERE", "command-a-03-2025"),
    "ollama": ("OLLAMA", "gemma4"),
    "gemini-legacy": ("GEMINI_LEGACY", "gemini-2.5-flash-lite"),
}


def raw_openai(url: str, model: str) -> Callable[[], object]:
    """Return a raw call, with Chat Completions."""
    import openai

    client = openai.OpenAI(api_key="key", base_url=f"{url}/v1", max_retries=0, timeout=TIMEOUT)
    messages: list[Any] = [{"role": "user", "content": PROMPT}]

    def call() -> object:
        done = client.chat.completions.create(model=model, messages=messages, max_tokens=MAX_TOKENS)
        return done.choices[0].message.content

    return call


def raw_cohere(url: str, model: str) -> Callable[[], object]:
    """Return a raw call."""
    import cohere

    client = cohere.ClientV2(api_key="key", base_url=url, timeout=TIMEOUT)
    messages: list[Any] = [{"role": "user", "content": PROMPT}]
    options: Any = {"max_retries": 0}

    def call() -> object:
        done = client.chat(model=model, messages=messages, max_tokens=MAX_TOKENS, request_options=options)
        return done.message.content[0].text  # type: ignore[index,union-attr]  # as a user reads it

    return call


def raw_ollama(url: str, model: str) -> Callable[[], object]:
    """Return a raw call."""
    import ollama

    client = ollama.Client(host=url, timeout=TIMEOUT)
    messages = [{"role": "user", "content": PROMPT}]
    return lambda: client.chat(model=model, messages=messages, options={"num_predict": MAX_TOKENS}).message.content


def raw_legacy(url: str, model: str) -> Callable[[], object]:
    """Return a raw call over REST."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its support has ended
        import google.generativeai as genai

    genai.configure(api_key="key", transport="rest", client_options={"api_endpoint": url})
    asked = genai.GenerativeModel(model)
    limit, options = {"max_output_tokens": MAX_TOKENS}, {"retry": None, "timeout": TIMEOUT}
    return lambda: asked.generate_content(PROMPT, generation_config=limit, request_options=options).text


def main() -> None:
    """Measure, and print the table."""
    isolate()
    rows = []
    raws = {"openai": raw_openai, "cohere": raw_cohere, "ollama": raw_ollama, "gemini-legacy": raw_legacy}
    with upstream() as url:
        for name, (prefix, model) in MODELS.items():
            settings = {
                f"{prefix}_API_KEY": "key",
                "GOOGLE_API_KEY": "key",
                f"{prefix}_BASE_URL": f"{url}/v1" if name == "openai" else url,
                f"{prefix}_MODEL": model,
            }
            raw = raws[name](url, model)
            with LLMFactory(name, [], settings=settings) as factory:
                ours = repeated(lambda factory=factory: ask(factory), CALLS)  # type: ignore[misc]  # bound now
                timings = compare({"raw": repeated(raw, CALLS), "ours": ours}, calls=CALLS, seconds=SECONDS)
            rows += beside({f"{name}, raw": timings["raw"]}, f"{name}, factory", timings["ours"], "")
    show(f"The factory over the raw SDK, in microseconds a call (rounds of {CALLS} calls)", HEADS, rows)


if __name__ == "__main__":
    main()
