"""What holds for every similarity: numbers in [0, 1] for any two texts, 1 for equal ones, the same answer twice."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import strategies as st

from srl.rewards.shaping import many_of
from srl.types import Reward

ANY_CHARACTER = st.characters(min_codepoint=0, max_codepoint=0x10FFFF, exclude_categories=())  # surrogates included


def texts(pieces: Sequence[str]) -> st.SearchStrategy[str]:
    """Texts of any characters, and texts put together from pieces that mean something to a similarity."""
    built = st.lists(st.one_of(st.sampled_from(pieces), st.text(ANY_CHARACTER, max_size=3)), max_size=14).map("".join)
    return st.one_of(st.text(ANY_CHARACTER, max_size=40), built)


def check_laws(reward: Reward, action: str, target: str) -> None:
    value = reward(action, target)
    assert isinstance(value, float)
    assert 0.0 <= value <= 1.0
    assert not math.isnan(value)
    assert reward(action, target) == value
    assert reward(action, action) == 1.0
    assert reward(target, target) == 1.0
    pairs = [(action, target), (target, target), (action, target)]
    assert many_of(reward)(pairs) == [value, 1.0, value]
