"""The similarity is difflib's, bit for bit (promise 1 of the design)."""

import difflib
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from srl.rewards.similarity import matching_blocks, sequence_similarity, similarity_reward

ANY_CHARACTER = st.characters(min_codepoint=0, max_codepoint=0x10FFFF, exclude_categories=())  # surrogates included
FEW_CHARACTERS = st.sampled_from([*"ab \n", "é", "\x00", "\uffff", "\U0001f600", "\ud800", "\udfff"])
SHORT_TEXT = st.one_of(st.text(ANY_CHARACTER, max_size=30), st.text(FEW_CHARACTERS, max_size=30))
BORDER_LENGTHS = (0, 1, 198, 199, 200, 201, 202, 250, 600)


@st.composite
def border_texts(draw: st.DrawFn) -> tuple[str, str]:
    """Two texts around difflib's border of 200 characters, over alphabets on both sides of "more than 1 %"."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    alphabet = [chr(rng.randrange(0x110000)) for _ in range(draw(st.sampled_from([1, 2, 5, 50, 100, 150, 600])))]
    lengths = draw(st.tuples(st.sampled_from(BORDER_LENGTHS), st.sampled_from(BORDER_LENGTHS)))
    a, b = ("".join(rng.choices(alphabet, k=length)) for length in lengths)
    if draw(st.booleans()):  # random texts hardly match: give them a passage in common, same length as before
        a = (b[10:90] + a)[: len(a)]
    return a, b


def assert_equal_to_difflib(a: str, b: str, *, autojunk: bool) -> None:
    expected = difflib.SequenceMatcher(None, a, b, autojunk=autojunk)
    assert sequence_similarity(a, b, autojunk=autojunk) == expected.ratio()
    assert matching_blocks(a, b, autojunk=autojunk) == [tuple(block) for block in expected.get_matching_blocks()]


@settings(max_examples=500, deadline=None)
@given(SHORT_TEXT, SHORT_TEXT, st.booleans())
@example("", "", False)
@example("", "a", True)
@example("a", "", True)
def test_equal_to_difflib_on_any_text(a: str, b: str, autojunk: bool) -> None:
    assert_equal_to_difflib(a, b, autojunk=autojunk)


@settings(max_examples=300, deadline=None)
@given(border_texts(), st.booleans())
def test_equal_to_difflib_around_two_hundred_characters(texts: tuple[str, str], autojunk: bool) -> None:
    assert_equal_to_difflib(*texts, autojunk=autojunk)


@pytest.mark.parametrize("length", [199, 200, 201])
def test_autojunk_bites_from_two_hundred_characters_of_the_second_text(length: int) -> None:
    a, b = "x" + "ab" * 50, ("y" + "ab" * 101)[:length]
    similarity = 2 * 100 / (101 + length)
    assert sequence_similarity(a, b) == similarity
    assert sequence_similarity(a, b, autojunk=True) == (similarity if length < 200 else 0.0)
    assert sequence_similarity(b, a, autojunk=True) == similarity


@given(SHORT_TEXT, SHORT_TEXT, st.booleans())
def test_range_and_identity(a: str, b: str, autojunk: bool) -> None:
    assert 0.0 <= sequence_similarity(a, b, autojunk=autojunk) <= 1.0
    assert sequence_similarity(a, a, autojunk=autojunk) == 1.0
    assert a == b or sequence_similarity(a, b, autojunk=autojunk) < 1.0


@given(SHORT_TEXT, SHORT_TEXT)
def test_similarity_is_the_formula_over_the_blocks(a: str, b: str) -> None:
    blocks = matching_blocks(a, b)
    assert all(a[i : i + size] == b[j : j + size] for i, j, size in blocks)
    if a or b:
        assert sequence_similarity(a, b) == 2.0 * sum(size for _, _, size in blocks) / (len(a) + len(b))


def test_reward_puts_the_named_text_first() -> None:
    action, target = "tide", "diet"  # difflib's own example of an asymmetric ratio
    assert similarity_reward(autojunk=False, first_argument="action")(action, target) == 0.25
    assert similarity_reward(autojunk=False, first_argument="target")(action, target) == 0.5


def test_reward_passes_autojunk_on() -> None:
    action, target = "x" + "ab" * 100, "y" + "ab" * 100
    assert similarity_reward(autojunk=False, first_argument="action")(action, target) > 0.99
    assert similarity_reward(autojunk=True, first_argument="action")(action, target) == 0.0
