"""Words: what they are, and their similarity against difflib on the same lists."""

from __future__ import annotations

import difflib

import pytest
from hypothesis import example, given, settings
from reward_laws import check_laws, texts

from srl.rewards.similarity import MAX_SCORED_CHARACTERS
from srl.rewards.words import split_words, words_similarity

PIECES = ["\\frac{1}{2}", "3.14", " ", "don't", "x_1", "\\{", "\\", "\n", "1,234", "é", "e\u0301", "the "]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \n\t", []),
        ("3.14 and 3.", ["3.14", "and", "3", "."]),
        ("1,234", ["1", ",", "234"]),
        (r"\frac{12}{x}", [r"\frac", "{", "12", "}", "{", "x", "}"]),
        (r"\{1\} \\ \,", [r"\{", "1", r"\}", r"\\", r"\,"]),
        ("don't f'", ["don't", "f", "'"]),
        ("2x_1", ["2", "x", "_", "1"]),
        ("über-naïve", ["über", "-", "naïve"]),
        ("\ud800a", ["\ud800", "a"]),
        ("\\", ["\\"]),
    ],
)
def test_words(text, words):
    assert split_words(text) == words


def test_white_space_does_not_count():
    assert words_similarity("x=1 ,\n\ny", "x = 1, y") == 1.0


def test_a_wrong_number_costs_one_word():
    assert words_similarity("the sum is 123456", "the sum is 123457") == 0.75


@settings(max_examples=150, deadline=None)
@given(texts(PIECES), texts(PIECES))
@example("", "")
@example("a" * 33_000, "a" * 33_000)
def test_laws(action, target):
    check_laws(words_similarity, action, target)


@settings(max_examples=150, deadline=None)
@given(texts(PIECES), texts(PIECES))
def test_equal_to_difflib_on_words(action, target):
    expected = difflib.SequenceMatcher(None, split_words(action), split_words(target), autojunk=False).ratio()
    assert words_similarity(action, target) == expected


def test_words_beyond_the_limit_count_as_unmatched():
    short, longer = "a " * 40_000, "a " * 39_999 + "b"
    assert words_similarity(short, longer) == pytest.approx(2 * MAX_SCORED_CHARACTERS / 80_000)
    assert words_similarity(short, short) == 1.0
