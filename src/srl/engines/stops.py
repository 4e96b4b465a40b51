"""Which completions have just written one of the stop texts, whatever tokens spell it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from transformers import PreTrainedTokenizerBase, StopStringCriteria


class StopTexts:
    """Recognises stop texts by the tokens that can spell them, so that nothing is decoded while sampling."""

    def __init__(self, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> None:
        self._criteria = StopStringCriteria(tokenizer, list(texts)) if texts else None
        self._num_tokens = max((len(text.encode()) for text in texts), default=0) + 1  # a token spells a byte at least

    def are_complete(self, rows: Sequence[Sequence[int]]) -> list[bool]:
        """Of each row of tokens (at least one), whether its last token completes a stop text."""
        if self._criteria is None:
            return [False] * len(rows)
        found = [False] * len(rows)
        by_length: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            by_length.setdefault(min(len(row), self._num_tokens), []).append(place)
        for length, places in by_length.items():
            tails = torch.tensor([rows[place][-length:] for place in places])
            complete = self._criteria(cast("Any", tails), cast("Any", None)).tolist()
            for place, is_complete in zip(places, complete, strict=True):
                found[place] = is_complete
        return found
