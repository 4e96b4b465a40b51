"""chrF against its definition, written out."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reward_laws import check_laws, texts

from srl.rewards.chrf import chrf_similarity


def by_definition(action, target):
    """Mean precision and recall over the orders that both texts have; F with beta = 2."""
    action, target = "".join(action.split()), "".join(target.split())
    precisions, recalls = [], []
    for n in range(1, 7):
        found = Counter(action[i : i + n] for i in range(len(action) - n + 1))
        wanted = Counter(target[i : i + n] for i in range(len(target) - n + 1))
        if found and wanted:
            common = (found & wanted).total()
            precisions.append(common / found.total())
            recalls.append(common / wanted.total())
    if not precisions:
        return float(action == target)
    precision, recall = (sum(each) / len(each) for each in (precisions, recalls))
    return 5 * precision * recall / (4 * precision + recall) if precision + recall else 0.0


FEW = st.text(st.sampled_from("ab c\n1"), max_size=14)


@settings(max_examples=200, deadline=None)
@given(FEW, FEW)
@example("", "")
@example("", "a")
@example(" ", "\n")
@example("42", "43")
def test_by_definition(action, target):
    assert chrf_similarity(action, target) == pytest.approx(by_definition(action, target), abs=1e-9)


def test_recall_counts_more_than_precision():
    target = "the sum of both is forty two"
    assert chrf_similarity(target + " and more words", target) > chrf_similarity(target[:14], target)


@settings(max_examples=100, deadline=None)
@given(texts(["abc ", "abd ", "\ud800"]), texts(["abc ", "abd ", "\udc00"]))
def test_laws(action, target):
    check_laws(chrf_similarity, action, target)
