"""The layout of a packed row against its definition: token i sees token j if and only if j stands on i's path."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from srl.packing.tree import MIN_SHARED, num_new_tokens, pack


def _tokens(seed, length):
    rng = random.Random(seed)
    return [rng.randrange(5, 90) for _ in range(length)]


PIECES = [
    *(_tokens(length, length) for length in (1, 3, MIN_SHARED - 1, MIN_SHARED, MIN_SHARED + 1, 40)),
    _tokens(40, 40)[:5] + _tokens(1, 20),  # begins as the one before it does, for a few tokens
    _tokens(40, 40)[:20] + _tokens(2, 4),  # and for many
]
"""Prompts are made of these, so that they begin alike, contain one another and are equal."""

prompts = st.builds(
    lambda first, others: [token for piece in (*first, *others) for token in PIECES[piece]],
    st.sampled_from([(), (4,), (4,), (5,)]),  # most begin alike
    st.lists(st.integers(0, len(PIECES) - 1), min_size=1, max_size=3),
)
completions = st.lists(st.integers(5, 9), max_size=4)
batches = st.lists(st.tuples(prompts, completions), min_size=1, max_size=9)


def seen(rows, place):
    """Places that the token at ``place`` sees, by ``visible_until``."""
    return [other for other in range(place + 1) if rows.visible_until[other] > place]


def num_shared(one, other):
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def places_of_prompts(rows):
    return [[place for start, end in path for place in range(start, end)] for path in rows.paths]


def check_meaning(pairs, rows):
    """Every place of the row is accounted for: what it sees, in order, spells the beginning of a sequence."""
    spelled = [tuple(rows.token_ids[seen(rows, place)].tolist()) for place in range(rows.num_tokens)]
    accounted = set()
    for (prompt, completion), path, predictors in zip(pairs, places_of_prompts(rows), rows.predictors, strict=True):
        assert rows.token_ids[path].tolist() == prompt
        for position, place in enumerate(path):
            assert seen(rows, place) == path[: position + 1]
            assert rows.positions[place] == position
        assert len(predictors) == len(completion)
        accounted |= {*path, *predictors.tolist()}
        for length, place in enumerate(predictors.tolist()):
            own = predictors[1 : length + 1].tolist()
            assert seen(rows, place) == path + own  # nothing of another completion
            assert rows.token_ids[own].tolist() == completion[:length]
            assert rows.positions[place] == len(prompt) + length - 1
    # The last token of a completion predicts nothing; it stands in the row once for each completion.
    last = sorted(set(range(rows.num_tokens)) - accounted)
    assert Counter(spelled[place] for place in last) == Counter(
        (*prompt, *completion) for prompt, completion in pairs if completion
    )
    for place in last:
        assert rows.positions[place] == len(spelled[place]) - 1
    assert int(rows.positions.max()) + 1 == max(len(prompt) + len(completion) for prompt, completion in pairs)


def check_blocks(rows):
    """The dense blocks cover each pair of tokens that see each other once, and no other pair."""
    count = np.zeros((rows.num_tokens, rows.num_tokens), dtype=int)
    for start, end in rows.self_blocks:
        count[start:end, start:end] += np.tri(end - start, dtype=int)
    for start, end, key_start, key_end in rows.prefix_blocks:
        assert start < end
        assert key_start < key_end
        count[start:end, key_start:key_end] += 1
    places = np.arange(rows.num_tokens)
    mask = (places[None] <= places[:, None]) & (places[:, None] < rows.visible_until[None])
    assert np.array_equal(count, mask)


@settings(max_examples=250, deadline=None)
@given(pairs=batches)
def test_every_token_sees_its_path_and_nothing_else(pairs):
    rows = pack(pairs)
    check_meaning(pairs, rows)
    check_blocks(rows)


@settings(max_examples=250, deadline=None)
@given(pairs=batches)
@example(pairs=[(PIECES[4] + PIECES[5], []), (PIECES[4] + PIECES[6], []), (PIECES[4] + PIECES[5][:5] + [99], [])])
def test_what_prompts_share_stands_once(pairs):
    rows = pack(pairs)
    places = places_of_prompts(rows)
    for one, other in combinations(range(len(pairs)), 2):
        shared = num_shared(pairs[one][0], pairs[other][0])
        same = num_shared(places[one], places[other])
        if pairs[one][0] == pairs[other][0] or shared >= MIN_SHARED:
            assert same == shared
        else:
            assert same == 0


@settings(max_examples=250, deadline=None)
@given(pairs=batches)
@example(pairs=[(PIECES[4] + PIECES[5], []), (PIECES[4] + PIECES[6], []), (PIECES[4] + PIECES[5][:5] + [99], [])])
def test_the_estimate_is_the_number_of_tokens_in_the_row(pairs):
    ordered = sorted(tuple(prompt) for prompt, _ in pairs)
    estimate = len(ordered[0]) + sum(num_new_tokens(prompt, before) for before, prompt in pairwise(ordered))
    assert pack(pairs).num_tokens == estimate + sum(len(completion) for _, completion in pairs)


@settings(max_examples=150, deadline=None)
@given(pairs=batches)
def test_within_groups_only(pairs):
    rows = pack(pairs, across_prompts=False)
    check_meaning(pairs, rows)
    check_blocks(rows)
    distinct = {tuple(prompt) for prompt, _ in pairs}
    assert rows.num_tokens == sum(map(len, distinct)) + sum(len(completion) for _, completion in pairs)
    places = [set(path) for path in places_of_prompts(rows)]
    for one, other in combinations(range(len(pairs)), 2):
        assert places[one] == places[other] if pairs[one][0] == pairs[other][0] else not places[one] & places[other]


def test_a_trajectory_by_hand():
    """Three prompts of one chain, two completions each: the longest stands whole, the others branch off."""
    context = _tokens(7, 60)
    pairs = [([*context[:length], 1, 2], [3, 4]) for length in (20, 40, 60) for _ in range(2)]
    rows = pack(pairs)
    assert rows.num_tokens == (60 + 2) + 2 + 2 + 6 * 2
    # The completions of the longest come first, then what branches off latest.
    assert [end - start for start, end in rows.self_blocks] == [62, 2, 2, 2, 2, 2, 2, 2, 2]
    assert rows.prefix_blocks == [
        (62, 66, 0, 62),
        (66, 72, 0, 40),
        (72, 78, 0, 20),
        (68, 72, 66, 68),
        (74, 78, 72, 74),
    ]
    assert rows.visible_until[[0, 19, 20, 39, 40, 61]].tolist() == [78, 78, 72, 72, 66, 66]


@pytest.mark.parametrize("length", [1, MIN_SHARED - 1, MIN_SHARED])
def test_few_common_tokens_are_not_worth_a_branch(length):
    start = _tokens(3, length)
    rows = pack([([*start, 1, 1], [7]), ([*start, 2], [7])])
    assert rows.num_tokens == 2 * length + 5 - (length if length >= MIN_SHARED else 0)


def test_one_token_prompts_and_no_completions():
    pairs = [([5], []), ([5], [6]), ([5], []), ([7], [])]
    rows = pack(pairs)
    assert sorted(rows.token_ids.tolist()) == [5, 6, 7]
    check_meaning(pairs, rows)
