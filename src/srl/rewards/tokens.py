"""Two texts -> share of matching tokens, in order; the paper's formula (section 4.2) on the policy's own tokens.

Loading takes a tokenizer from a local folder or the Hub, as ``srl.policy`` does, and never code from it.

The decision a reader would question: each text is tokenised as it stands, without special tokens and without what
comes before it in the completion. A word at the beginning of an action may then be another token than the same word
after a space; both texts are treated alike, so equal texts stay equal.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from srl.errors import ConfigError
from srl.rewards.similarity import bounded_similarities
from srl.types import Ungraded


class TokenSimilarity:
    """2 M / T over tokens, in [0, 1]; 1.0 for two texts without any."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def from_pretrained(cls, model_path: str) -> TokenSimilarity:
        """With the tokenizer of a local folder or Hub id. Raises ConfigError where there is none."""
        transformers: Any = importlib.import_module("transformers")
        try:
            return cls(transformers.AutoTokenizer.from_pretrained(model_path, trust_remote_code=False))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f'reward.similarity = "tokens" cannot load a tokenizer from {model_path!r}: {error}. Give a local '
                "folder with a tokenizer, or the id of such a model on the Hub."
            ) from error

    def __call__(self, action: str, target: str) -> float:
        """The similarity of one action."""
        encoded = self._encode([action, target])
        return bounded_similarities([(encoded[action], encoded[target])], num_workers=1)[0]

    def many(self, pairs: Sequence[tuple[str, str]]) -> list[float | Ungraded]:
        """The similarities of many pairs; a text that occurs more than once is tokenised once."""
        encoded = self._encode([text for pair in pairs for text in pair])
        return [*bounded_similarities([(encoded[action], encoded[target]) for action, target in pairs])]

    def _encode(self, texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
        if not texts:
            return {}
        distinct = list(dict.fromkeys(texts))
        # Tokenizers take no lone surrogates, which a str may hold; each becomes a question mark.
        whole = [text.encode("utf-8", "replace").decode("utf-8") for text in distinct]
        ids = self._tokenizer(whole, add_special_tokens=False, verbose=False)["input_ids"]
        return {text: tuple(row) for text, row in zip(distinct, ids, strict=True)}
