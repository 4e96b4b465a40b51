"""Two texts -> chrF, the F-score of character n-grams of Popović (2015), computed by sacrebleu, divided by 100.

Settings, sacrebleu's own defaults: n from 1 to 6, no word n-grams, beta = 2 (recall, the share of the target's n-grams
that the action has, weighs four times as much as precision), case counts, white space does not.

    chrf = (1 + beta^2) P R / (beta^2 P + R),   P and R averaged over the orders n

Texts shorter than n characters have no n-grams of that order; the orders that both have are averaged (the effective
order), so that "42" against "42" is 1 and not 1/3. Order beyond six characters counts for nothing: chrF sees which
n-grams there are, not where.

The decision a reader would question: two texts without a visible character are equal (1.0) and one against any other
text is 0.0, where sacrebleu says 0.0 to both.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from srl.rewards.extras import import_extra

CHAR_ORDER = 6
WORD_ORDER = 0
BETA = 2


def chrf_similarity(action: str, target: str) -> float:
    """ChrF of the action with the target as its only reference, in [0, 1]. Raises ConfigError without sacrebleu.

    >>> round(chrf_similarity("x = 42", "x = 43"), 3), chrf_similarity("x = 42", "x=42")
    (0.479, 1.0)
    """
    if "".join(action.split()) == "".join(target.split()):
        return 1.0
    return min(1.0, float(_chrf().sentence_score(action, [target]).score) / 100.0)


@cache
def _chrf() -> Any:
    library = import_extra("sacrebleu.metrics.chrf", extra="similarities")
    return library.CHRF(char_order=CHAR_ORDER, word_order=WORD_ORDER, beta=BETA, eps_smoothing=False)
