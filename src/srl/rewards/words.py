r"""Two texts -> share of matching words, in order; the paper's formula (section 4.2) on words in place of characters.

A word is one of: a LaTeX command (``\frac``, ``\{``), a number with its decimals (``3.14``; in ``1,234`` the comma is
a sign of its own), a run of letters with the apostrophes inside it (``don't``), any other sign. White space separates
and does not count, so texts that differ in nothing else are equal.

The decision a reader would question: 12 and 13 are different words, as different as 12 and "pear". On characters they
are half alike, and a wrong number costs the less the longer it is; here it costs one word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from srl.rewards.similarity import bounded_similarities
from srl.types import Ungraded

_WORD = re.compile(r"\\(?:[A-Za-z]+|\S)|\d+(?:\.\d+)?|[^\W\d_]+(?:['\u2019][^\W\d_]+)*|\S")


def split_words(text: str) -> list[str]:
    r"""The words of a text.

    >>> split_words(r"It's \frac{x1}{2.5}.")
    ["It's", '\\frac', '{', 'x', '1', '}', '{', '2.5', '}', '.']
    """
    return _WORD.findall(text)


class WordsSimilarity:
    """2 M / T over words, in [0, 1]; 1.0 for two texts without any."""

    def __call__(self, action: str, target: str) -> float:
        """The similarity of one action."""
        return bounded_similarities([(split_words(action), split_words(target))], num_workers=1)[0]

    def many(self, pairs: Sequence[tuple[str, str]]) -> list[float | Ungraded]:
        """The similarities of many pairs; a text that occurs more than once is split once."""
        words = {text: split_words(text) for pair in pairs for text in pair}
        return [*bounded_similarities([(words[action], words[target]) for action, target in pairs])]


words_similarity = WordsSimilarity()
"""What a recipe calls "words"."""
