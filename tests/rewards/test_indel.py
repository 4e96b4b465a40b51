"""Longest common subsequence against the textbook recursion, and against the paper's number."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from reward_laws import check_laws, texts

from srl.rewards.indel import indel_similarity, lcs_similarity
from srl.rewards.similarity import sequence_similarity

FEW = st.text(st.sampled_from("ab c\ud800"), max_size=12)


def longest_common_subsequence(a, b):
    lengths = [0] * (len(b) + 1)
    for one in a:
        before = lengths[:]
        for j, other in enumerate(b):
            lengths[j + 1] = before[j] + 1 if one == other else max(before[j + 1], lengths[j])
    return lengths[-1]


@settings(max_examples=200, deadline=None)
@given(FEW, FEW)
@example("", "")
@example("", "a")
def test_both_by_the_textbook(action, target):
    common = longest_common_subsequence(action, target)
    total, longest = len(action) + len(target), max(len(action), len(target))
    assert abs(indel_similarity(action, target) - (2 * common / total if total else 1.0)) < 1e-12
    assert abs(lcs_similarity(action, target) - (common / longest if longest else 1.0)) < 1e-12


@settings(max_examples=200, deadline=None)
@given(FEW, FEW)
def test_indel_is_never_below_the_papers_and_symmetric(action, target):
    assert indel_similarity(action, target) >= sequence_similarity(action, target) - 1e-12
    assert indel_similarity(action, target) == indel_similarity(target, action)


def test_where_they_differ():
    # The first of the two longest blocks, "ba", leaves nothing to its sides; the longest subsequence is "cca".
    assert sequence_similarity("babcca", "ccba") == 0.4
    assert indel_similarity("babcca", "ccba") == 0.6
    assert indel_similarity("ab", "abab") > lcs_similarity("ab", "abab")  # 4/6 against 2/4


@settings(max_examples=150, deadline=None)
@given(texts(["abc ", "abd "]), texts(["abc ", "abd "]))
def test_laws(action, target):
    check_laws(indel_similarity, action, target)
    check_laws(lcs_similarity, action, target)


def test_long_texts_end():
    assert 0 < indel_similarity("ab" * 50_000, "ba" * 50_000) < 1
