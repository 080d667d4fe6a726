"""Which model is asked by default, and which settings a model itself takes.

What a model refuses is nowhere listed: the models are whatever was pulled, and the server says what one of them lacks.
"""

from __future__ import annotations

# The model of every example in the README of ollama 0.6.3, read 2026-11-23.
DEFAULT_MODEL = "gemma4"

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
