"""Which model is asked by default, and which settings a model itself takes.

What a model refuses is nowhere listed: the models are whatever was pulled, and the server says what one of them lacks.
"""

from __future__ import annotations

# The model of every example in the README of ollama 0.6.3, read 2026-11-23.
DEFAULT_MODEL = "gemma4"

# Beginnings of names. These models go on from an assistant's message at the end: the template of Llama 3.1 to 3.3
# leaves the last message open (https://github.com/ollama/ollama/issues/6778, read 2026-11-23), and so does the server's
# renderer for Qwen3-Coder (ollama, model/renderers/qwen3coder.go). Others close it and begin a new one, Gemma 4 among
# them (gemma4.go); the API does not tell which do.
_PREFILL = ("llama3.1", "llama3.2", "llama3.3", "qwen3-coder")

# Settings of a model, which the API has under `options` (ollama 0.6.3, _types.Options, and its documentation of
# Modelfiles). Beside `options` it would pass them over without a word.
MODEL_SETTINGS = frozenset(
    (
        *("num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "use_mlock", "num_thread", "num_keep", "numa"),
        *("num_predict", "seed", "temperature", "top_k", "top_p", "min_p", "typical_p", "tfs_z", "stop"),
        *("repeat_last_n", "repeat_penalty", "presence_penalty", "frequency_penalty", "penalize_newline"),
        *("mirostat", "mirostat_tau", "mirostat_eta", "low_vram", "f16_kv", "logits_all", "vocab_only"),
    )
)


def takes_prefill(model: str) -> bool:
    """Return whether a model is known to go on from an assistant's message at the end."""
    return model.rpartition("/")[2].startswith(_PREFILL)
