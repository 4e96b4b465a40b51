"""The similarity is difflib's, bit for bit (promise 1 of the design)."""

import difflib
import itertools
import json
import random
from concurrent.futures import ThreadPoolExecutor

import cydifflib
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from srl.rewards import matching
from srl.rewards.shaping import many_of
from srl.rewards.similarity import (
    MAX_SCORED_CHARACTERS,
    matching_blocks,
    sequence_similarities,
    sequence_similarity,
    similarity_reward,
)

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


# What CPython tests of its own difflib, written anew: (a, b, autojunk, ratio), ratios worked out by hand.
KNOWN = [
    ("", "", True, 1.0),
    ("", "x", False, 0.0),
    ("b" * 100, "a" + "b" * 100, True, 200 / 201),  # one inserted at the beginning
    ("b" * 100, "b" * 50 + "a" + "b" * 50, True, 200 / 201),  # and in the middle
    ("a" * 40 + "c" + "b" * 40, "a" * 40 + "b" * 40, True, 160 / 161),  # one deleted
    ("b" * 200, "a" + "b" * 200, True, 0.0),  # 200 of 201 are popular, so nothing is left
    ("b" * 200, "a" + "b" * 200, False, 400 / 401),
    ("foo bar", "foo baz bar", False, 14 / 18),
    ("dabcd", "d" * 100 + "abc" + "d" * 100, False, 10 / 208),
    ("dabcd", "d" * 100 + "abc" + "d" * 100, True, 10 / 208),  # grows over the popular d on both sides
    ("qabxcd", "abycdf", False, 8 / 12),
    ("private Thread currentThread;", "private volatile Thread currentThread;", False, 58 / 67),
]


@pytest.mark.parametrize(("a", "b", "autojunk", "ratio"), KNOWN)
def test_known_ratios(a: str, b: str, autojunk: bool, ratio: float) -> None:
    assert sequence_similarity(a, b, autojunk=autojunk) == pytest.approx(ratio, abs=1e-15)
    assert_equal_to_difflib(a, b, autojunk=autojunk)


LONG = {
    "a common beginning": ("x" * 90 + "abc", "x" * 90 + "bac"),
    "a common end": ("abc" + "xy" * 60, "bca" + "xy" * 60),
    "a longer run before the common end": ("q" * 70 + "ab" + "z" * 40, "ba" + "q" * 70 + "ba" + "z" * 40),
    "a run as long as the common end, before it": ("q" * 40 + "ab" + "z" * 40, "ba" + "q" * 40 + "ba" + "z" * 40),
    "the longest run twice in b": ("0123456789" * 4, "x" + "0123456789" * 4 + "y" + "0123456789" * 4),
    "the longest run twice in a": ("x" + "0123456789" * 4 + "y" + "0123456789" * 4, "0123456789" * 4),
    "periods": ("abc" * 70, "abd" * 70),
    "shifted periods": ("ab" * 100, "ba" * 100),
    "a period longer than the border": ("abcdefghijklmnopqrstuvwxyzABCD" * 5, "bcdefghijklmnopqrstuvwxyzABCDa" * 5),
    "one letter": ("a" * 300, "a" * 299 + "b"),
    "overlapping runs": ("abcabcabdabcabcabc" * 9, "abcabdabcabcabcabc" * 8),
}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("autojunk", [False, True])
def test_equal_to_difflib_where_rows_are_skipped(name: str, autojunk: bool) -> None:
    a, b = LONG[name]
    assert_equal_to_difflib(a, b, autojunk=autojunk)
    assert_equal_to_difflib(b, a, autojunk=autojunk)


@st.composite
def patchworks(draw: st.DrawFn) -> tuple[str, str]:
    """Two texts made of the same few passages, repeated, cut and in any order: many long and equally long runs."""
    alphabet = draw(st.sampled_from(["a", "ab", "abc", "abcdefghijklmnopqrstuvwxyz"]))
    passages = draw(st.lists(st.text(alphabet, min_size=1, max_size=60), min_size=1, max_size=4))
    piece = st.builds(lambda text, start: text[start:], st.sampled_from(passages), st.integers(0, 3))
    texts = st.lists(piece, max_size=12).map("".join)
    return draw(texts), draw(texts)


@settings(max_examples=600, deadline=None)
@given(patchworks(), st.booleans())
def test_equal_to_difflib_on_patchworks(texts: tuple[str, str], autojunk: bool) -> None:
    assert_equal_to_difflib(*texts, autojunk=autojunk)


TOKENS = st.one_of(
    st.lists(st.integers(-3, 5), max_size=40), st.lists(st.sampled_from(["x", "=", "42", ""]), max_size=40)
)


@settings(deadline=None)
@given(TOKENS, TOKENS, st.booleans())
def test_equal_to_difflib_on_tokens(a: list, b: list, autojunk: bool) -> None:
    assert_equal_to_difflib(a, b, autojunk=autojunk)


@pytest.mark.parametrize("num_tokens", [199, 230, 33_000])
def test_tokens_around_the_borders(num_tokens: int) -> None:
    a = [index % 1009 for index in range(num_tokens)]
    b = [*a[num_tokens // 3 :], "end"]
    for autojunk in (False, True):
        expected = cydifflib.SequenceMatcher(None, a, b, autojunk=autojunk)
        assert sequence_similarity(a, b, autojunk=autojunk) == expected.ratio()
    many_kinds = list(range(70_000))
    assert sequence_similarity(many_kinds, [*many_kinds[:40_000], -1, *many_kinds[40_001:]]) == 2 * 69_999 / 140_000


@pytest.mark.parametrize(
    ("length", "extra"), [*itertools.product([31_999, 32_001], ["", "\uffff", "\U0001f600", "\ud800"]), (100_000, "")]
)
def test_long_texts(length: int, extra: str) -> None:
    """Around the border between 16 and 32 bits, with symbols on both sides of it."""
    words = [f"{number} " for number in range(3000)]
    rng = random.Random(length)
    a = (extra + "".join(rng.choices(words, k=length // 3)))[:length]
    b = a[: length // 2] + "?" + a[length // 2 + 5 : -7] + extra
    for autojunk in (False, True):
        expected = cydifflib.SequenceMatcher(None, a, b, autojunk=autojunk)
        assert sequence_similarity(a, b, autojunk=autojunk) == expected.ratio()
        assert matching_blocks(a, b, autojunk=autojunk) == [tuple(block) for block in expected.get_matching_blocks()]


def steps_and_actions(shared_data, num_pairs: int) -> list[tuple[str, str]]:
    """Pairs of real texts: a step or an agent's action with itself reworded, with its neighbour, or with any other."""
    rng = random.Random(0)
    texts = [
        step.strip()
        for line in shared_data("math/amc_aime_solutions.jsonl").read_text("utf-8").splitlines()
        for step in json.loads(line)["solution"].split("\n\n")
    ]
    for path in sorted(shared_data("swe/miniswe").glob("*.traj.json")):
        messages = json.loads(path.read_text("utf-8"))["messages"]
        texts += [str(message["content"]) for message in messages if message["role"] == "assistant"]
    texts = [text[:1500] for text in texts if text]
    pairs = []
    for index in range(num_pairs):
        place = rng.randrange(len(texts) - 1)
        a = texts[place]
        words = a.split(" ")
        for _ in range(rng.randrange(len(words) + 1) if index % 3 == 0 else 0):
            words[rng.randrange(len(words))] = rng.choice(words)
        pairs.append((a, [" ".join(words), texts[place + 1], rng.choice(texts)][index % 3]))
    return pairs


@pytest.mark.slow
def test_equal_to_difflib_on_ten_thousand_real_pairs(shared_data) -> None:
    """By cydifflib all of them, by difflib the shorter half: it would take minutes for the others."""
    pairs = steps_and_actions(shared_data, 10_000)
    for autojunk in (False, True):
        found = sequence_similarities(pairs, autojunk=autojunk)
        assert found == [cydifflib.SequenceMatcher(None, a, b, autojunk=autojunk).ratio() for a, b in pairs]
        for (a, b), similarity in zip(pairs, found, strict=True):
            if len(a) * len(b) < 10_000:
                assert similarity == difflib.SequenceMatcher(None, a, b, autojunk=autojunk).ratio()


@pytest.mark.parametrize("num_workers", [1, 2, 5, None])
def test_many_pairs_are_the_pairs_one_by_one(num_workers: int | None) -> None:
    rng = random.Random(3)
    texts = ["".join(rng.choices("abcde 123", k=rng.randrange(260))) for _ in range(40)] + ["", "\U0001f600", "\uffff"]
    pairs = [(rng.choice(texts), rng.choice(texts)) for _ in range(500)]
    for autojunk in (False, True):
        one_by_one = [sequence_similarity(a, b, autojunk=autojunk) for a, b in pairs]
        assert sequence_similarities(pairs, autojunk=autojunk, num_workers=num_workers) == one_by_one
    assert sequence_similarities([], num_workers=num_workers) == []


def test_many_pairs_may_hold_lists() -> None:
    pairs = [(["a", "b"], ["b"]), ([1, 2], [2, 1]), ([], []), ("ab", "b")]
    assert sequence_similarities(pairs) == [2 / 3, 0.5, 1.0, 2 / 3]
    mixed = [(["x"], ("x",)), (range(3), [0, 1, 2]), (b"ab", [97, 98]), ([], ()), ("", []), ("", "x"), ((), "x")]
    expected = [difflib.SequenceMatcher(None, a, b, autojunk=False).ratio() for a, b in mixed]
    assert sequence_similarities(mixed) == expected == [sequence_similarity(a, b) for a, b in mixed]


def test_many_needs_a_worker() -> None:
    with pytest.raises(ValueError, match="num_workers is 0; it must be at least 1"):
        sequence_similarities([("a", "b")], num_workers=0)


def test_threads_may_compare_at_the_same_time() -> None:
    pairs = [("abc" * n, "abd" * n) for n in range(1, 60)]
    expected = [sequence_similarity(a, b) for a, b in pairs]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda pair: sequence_similarity(*pair), pairs)) == expected


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("a", "b"), [
    ("a" * 100_000, "a" * 99_999),
    ("a" * 32_000 + "b", "c" + "a" * 32_000),
    ("abc" * 11_000, "abd" * 11_000),
    ("ab" * 16_000, "ba" * 16_000),
    ("a" * 100_000, "the area of a square of side a is a^2. " * 800),
    ("x".join("a" * n for n in range(1, 141)), "y".join("a" * n for n in range(1, 141))),
], ids=["equal", "shifted", "periods", "shifted periods", "one letter", "stairs"])  # fmt: skip
def test_texts_that_take_difflib_hours_do_not_stall(a: str, b: str) -> None:
    similarity = sequence_similarity(a, b)
    assert similarity == 2 * sum(size for _, _, size in matching_blocks(a, b)) / (len(a) + len(b))


def test_beyond_the_cap_nothing_counts_as_matched() -> None:
    reward = similarity_reward(autojunk=False, first_argument="action")
    cap = MAX_SCORED_CHARACTERS
    target = "the same step"
    assert reward("x" * (cap + 8) + target, target) == 0.0
    assert reward(target + "x" * cap, target) == 2 * len(target) / (cap + 2 * len(target))
    assert reward("y" * (cap + 500), "y" * (cap + 501)) == 2 * cap / (2 * cap + 1001)
    assert reward("y" * (cap + 500), "y" * (cap + 500)) == 1.0


@given(st.lists(st.tuples(SHORT_TEXT, SHORT_TEXT), max_size=5), st.booleans(), st.sampled_from(["action", "target"]))
def test_the_rewards_of_many_are_the_rewards_of_each(pairs, autojunk, first) -> None:
    reward = similarity_reward(autojunk=autojunk, first_argument=first)
    assert many_of(reward)(pairs) == [reward(action, target) for action, target in pairs]


def test_where_no_cache_can_be_written_it_is_compiled_anew() -> None:
    """numba finds no place for the cache of a function that stands in no file."""
    assert matching._compiled(eval("lambda x: x + 1"))(41) == 42


@pytest.mark.parametrize("gap", range(60))
def test_no_run_hides_between_the_rows_that_are_looked_at(gap: int) -> None:
    """A run of 24, after which only every 25th row is looked at, and one of 25 that cannot go together with it."""
    first, second = "abcdefghijklmnopqrstuvwx", "ABCDEFGHIJKLMNOPQRSTUVWXY"
    a, b = first + "-" * gap + second + "+" * 40, second + "=" * 9 + first
    assert matching_blocks(a, b) == [(24 + gap, 0, 25), (len(a), len(b), 0)]
    assert_equal_to_difflib(a, b, autojunk=False)
