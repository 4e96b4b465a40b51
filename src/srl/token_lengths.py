"""Training examples -> the length of each prompt in tokens, computed once and kept beside the data.

The cache is keyed by the tokenizer (vocabulary, merges, special tokens, chat template), by every word of the examples
and their order, by the settings that shape the prompts and by the version of this package. So it can be thrown away
but never be wrong.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

import srl
from srl.engines.transformers import render
from srl.training_examples import TrainingExamples
from srl.types import ChatPrompt

UNUSABLE = 2**32 - 1
"""Stands for the length of a prompt that cannot be made to fit."""
BATCH = 256
"""Prompts tokenized at a time; a fast tokenizer shares a batch among the cores."""
CACHE_FOLDER = ".srl"


def prompt_lengths(
    examples: TrainingExamples, tokenizer: PreTrainedTokenizerBase, source: str, *, limit: int, save: bool = True
) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """The length in tokens of every prompt, uint32 of shape (len(examples),); ``UNUSABLE`` where there is none.

    Read from the cache beside ``source`` where it is there, else computed and written, without an error where neither
    the folder of the data nor the user's cache folder can be written. Prompts are made to fit only where they have more
    than ``limit`` tokens, which must be the limit that they are made to fit to. Without ``save`` nothing is written.
    """
    name = f"{_key(examples)}-{tokenizer_hash(tokenizer)}.npy"
    folders = _cache_folders(source)
    for folder in folders:
        lengths = _read(folder / name, len(examples))
        if lengths is not None:
            return lengths
    lengths = _measure(examples, tokenizer, limit)
    for folder in folders if save else ():
        if _write(folder / name, lengths):
            break
    return lengths


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """16 hexadecimal digits that change with anything that changes a prompt's tokens."""
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    described = backend.to_str() if backend is not None else repr(sorted(tokenizer.get_vocab().items()))
    special = repr(sorted(tokenizer.special_tokens_map.items()))  # chat templates write them
    return hashlib.sha256("\0".join((described, special, str(tokenizer.chat_template))).encode()).hexdigest()[:16]


def _key(examples: TrainingExamples) -> str:
    """Changes with any word of any prompt and, as lengths stand in the order of the examples, with that."""
    parts = (srl.__version__, examples.fingerprint, *examples.ids)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _measure(
    examples: TrainingExamples, tokenizer: PreTrainedTokenizerBase, limit: int
) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """In batches; only what is too long then is fitted, one prompt at a time, which costs ten times as much."""
    lengths = np.full(len(examples), UNUSABLE, dtype=np.uint32)
    for start in range(0, len(examples), BATCH):
        places = range(start, min(start + BATCH, len(examples)))
        counts = _count([examples.before_fitting(place).prompt for place in places], tokenizer)
        for place, count in zip(places, counts, strict=True):
            if count > limit:
                fitted = examples.try_get(place)
                count = UNUSABLE if fitted is None else _count([fitted.prompt], tokenizer)[0]
            lengths[place] = count
    return lengths


def _count(prompts: list[ChatPrompt], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    texts = [render(prompt, tokenizer) for prompt in prompts]
    ids: Any = tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    return [len(tokens) for tokens in ids]


def _cache_folders(source: str) -> list[Path]:
    """Beside the data first, then the user's own cache."""
    path = Path(source)
    beside = [path / CACHE_FOLDER] if path.is_dir() else [path.parent / CACHE_FOLDER] if path.exists() else []
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME", "") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home, as in some containers
        return beside
    return [*beside, cache / "srl" / "lengths"]


def _read(path: Path, num_examples: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]] | None:
    try:
        lengths = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # not there, or cut off while it was written: measure again
        return None
    return lengths if lengths.dtype == np.uint32 and lengths.shape == (num_examples,) else None


def _write(path: Path, lengths: np.ndarray[tuple[int], np.dtype[np.uint32]]) -> bool:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.save(file, lengths, allow_pickle=False)
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        return False
    return True
