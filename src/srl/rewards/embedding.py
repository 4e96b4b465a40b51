"""Two texts -> cosine of their embeddings by a sentence-transformers model, in [0, 1]; ours, not the paper's.

    similarity = max(0, cos(e(action), e(target)))

A negative cosine means "less alike than unrelated" and is 0. The decision a reader would question: not (1 + cos) / 2.
Unrelated texts have a cosine near 0, and would then earn half the reward.

Loading takes a local folder or a Hub id, as ``srl.policy`` does. Only safetensors are read, and only modules of
sentence-transformers itself: no pickle, no code from the model's folder. What a model says depends on the batch a text
was in, by a rounding error; each text is embedded once and kept, so equal actions have equal rewards.
"""

from __future__ import annotations

import importlib
import json
import math
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from srl.errors import ConfigError, RewardError
from srl.rewards.extras import import_extra
from srl.types import Ungraded

MAX_CACHED_TEXTS = 20_000
"""Embeddings that are kept, the least recently used forgotten first; 60 MB at 768 numbers each."""
BATCH_SIZE = 64

_PICKLED = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
_FETCHED = ("*.json", "*.safetensors", "*.txt", "*.model")


class EmbeddingSimilarity:
    """The formula above with one model."""

    def __init__(self, model: str) -> None:
        """``model``: local folder or Hub id. Raises ConfigError where it is not there, needs code or is pickled."""
        self._model = _load(model)
        self._embeddings: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    def __call__(self, action: str, target: str) -> float:
        """The similarity of one action."""
        (similarity,) = self._similarities([(action, target)])
        return similarity

    def many(self, pairs: Sequence[tuple[str, str]]) -> list[float | Ungraded]:
        """The similarities of many pairs; every text that is not known yet is embedded once, in batches."""
        return [*self._similarities(pairs)]

    def _similarities(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        compared = [pair for pair in pairs if pair[0] != pair[1]]
        embeddings = self._embed(list(dict.fromkeys(text for pair in compared for text in pair)))
        return [
            1.0 if action == target else _cosine(embeddings[action], embeddings[target]) for action, target in pairs
        ]

    def _embed(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        new = [text for text in texts if text not in self._embeddings]
        if new:
            # Tokenizers take no lone surrogates, which a str may hold; each becomes a question mark.
            whole = [text.encode("utf-8", "replace").decode("utf-8") for text in new]
            rows = self._model.encode(
                whole, batch_size=BATCH_SIZE, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
            )
            self._embeddings.update(zip(new, rows, strict=True))
        found: dict[str, NDArray[np.float32]] = {}
        for text in texts:
            found[text] = self._embeddings[text]
            self._embeddings.move_to_end(text)
        while len(self._embeddings) > MAX_CACHED_TEXTS:
            self._embeddings.popitem(last=False)
        return found


def _cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    cosine = float(np.dot(first.astype(np.float64), second.astype(np.float64)))
    if math.isnan(cosine):
        raise RewardError("the embedding model gives no number for a text (NaN); is it a float16 model on a CPU?")
    return min(1.0, max(0.0, cosine))


def _load(model: str) -> Any:
    library = import_extra("sentence_transformers", extra="embeddings")
    try:
        folder = Path(model) if Path(model).is_dir() else _fetch(model)
        _check(folder)
        return library.SentenceTransformer(
            str(folder), trust_remote_code=False, local_files_only=True, model_kwargs={"use_safetensors": True}
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"reward.embedding_model: cannot load a sentence-transformers model from {model!r}: {error}. Give a local "
            "folder with safetensors weights, or the id of such a model on the Hub."
        ) from error


def _fetch(model: str) -> Path:
    """The Hub's files without weights in other formats and without code."""
    hub: Any = importlib.import_module("huggingface_hub")
    return Path(hub.snapshot_download(model, allow_patterns=list(_FETCHED)))


def _check(folder: Path) -> None:
    """Raises ValueError where loading would import code that is not sentence-transformers', or unpickle weights."""
    listed = folder / "modules.json"
    modules = cast("list[dict[str, str]]", json.loads(listed.read_text("utf-8"))) if listed.is_file() else []
    for module in modules:
        if not module["type"].startswith("sentence_transformers."):
            raise ValueError(f"its module {module['type']} is not part of sentence-transformers and would run code")
    for place in [folder, *(folder / module["path"] for module in modules)]:
        pickled = [path.name for pattern in _PICKLED for path in sorted(place.glob(pattern))]
        if pickled and not list(place.glob("*.safetensors")):
            raise ValueError(f"{pickled[0]} is pickled, and there are no safetensors beside it")
