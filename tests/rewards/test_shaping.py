"""Sums and thresholds of rewards."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.rewards.shaping import many_of, overlong_penalty, thresholded, weighted_sum
from srl.types import Ungraded

PAIRS = [("a", "a"), ("a", "b"), ("", "b")]


class Lengths:
    """Grades by the length of the action; counts its calls; does not grade an empty one."""

    def __init__(self):
        self.batches = []

    def __call__(self, action, target):
        return self.many([(action, target)])[0]

    def many(self, pairs):
        self.batches.append(list(pairs))
        return [len(action) / 10 if action else Ungraded(reason="empty") for action, _ in pairs]


def test_many_of_is_the_rewards_own_or_one_call_for_each_pair():
    lengths = Lengths()
    assert many_of(lengths)(PAIRS) == [0.1, 0.1, Ungraded(reason="empty")]
    assert lengths.batches == [PAIRS]
    calls = []
    assert many_of(lambda action, target: calls.append(action) or 0.5)(PAIRS) == [0.5] * 3
    assert calls == ["a", "a", ""]
    assert many_of(lengths)([]) == []


def test_a_sum_asks_each_part_once_for_the_whole_batch():
    first, second = Lengths(), Lengths()
    weighed = weighted_sum({"first": (1.0, first), "second": (3.0, second)})
    many_of(weighed)(PAIRS)
    assert (first.batches, second.batches) == ([PAIRS], [PAIRS])


@given(
    st.lists(st.tuples(st.floats(0.001, 1000), st.floats(0, 1)), min_size=1, max_size=6),
)
def test_a_sum_is_the_weighted_mean(parts):
    weighed = weighted_sum({str(i): (weight, lambda a, t, v=value: v) for i, (weight, value) in enumerate(parts)})
    expected = sum(weight * value for weight, value in parts) / sum(weight for weight, _ in parts)
    assert weighed("a", "b") == pytest.approx(expected, abs=1e-12)
    assert 0.0 <= weighed("a", "b") <= 1.0


def test_a_sum_of_ones_is_exactly_one():
    for weights in ([1, 1, 1], [0.1] * 10, [0.7, 0.2, 0.1], [3, 7, 11]):
        weighed = weighted_sum({str(i): (weight, lambda a, t: 1.0) for i, weight in enumerate(weights)})
        assert weighed("a", "a") == 1.0


def test_what_one_part_cannot_grade_the_sum_does_not():
    weighed = weighted_sum({"lengths": (1.0, Lengths()), "one": (1.0, lambda action, target: 1.0)})
    assert many_of(weighed)(PAIRS) == [0.55, 0.55, Ungraded(reason="empty")]
    assert weighed("", "b") == Ungraded(reason="empty")


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (0.0, 0.2, 0.8, 0.0),
        (0.2, 0.2, 0.8, 0.0),
        (0.5, 0.2, 0.8, 0.5),
        (0.65, 0.2, 0.8, 0.75),
        (0.8, 0.2, 0.8, 1.0),
        (1.0, 0.2, 0.8, 1.0),
        (0.3, 0.0, 1.0, 0.3),
        (0.5, 0.5, 0.50001, 0.0),
        (0.6, 0.5, 0.50001, 1.0),
    ],
)
def test_thresholds(value, low, high, expected):
    assert thresholded(lambda action, target: value, low, high)("a", "b") == pytest.approx(expected)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_thresholds_keep_the_order_and_the_ends(values, one, other):
    low, high = sorted((one, other))
    if high - low < 1e-6:
        return
    shaped = [thresholded(lambda action, target, v=value: v, low, high)("a", "b") for value in sorted(values)]
    assert shaped == sorted(shaped)
    assert all(0.0 <= value <= 1.0 for value in shaped)
    assert thresholded(lambda action, target: low, low, high)("a", "b") == 0.0
    assert thresholded(lambda action, target: high, low, high)("a", "b") == 1.0


def test_thresholds_leave_ungraded_alone_and_pass_batches_on():
    lengths = Lengths()
    shaped = thresholded(lengths, 0.0, 0.2)
    assert many_of(shaped)(PAIRS) == [0.5, 0.5, Ungraded(reason="empty")]
    assert lengths.batches == [PAIRS]


def test_a_threshold_of_a_sum():
    weighed = weighted_sum({"a": (1.0, lambda action, target: 0.4), "b": (1.0, lambda action, target: 0.8)})
    assert thresholded(weighed, 0.5, 0.7)("x", "y") == pytest.approx(0.5)


def test_the_penalty_begins_after_the_free_part_and_is_whole_at_the_limit():
    penalties = [overlong_penalty(num, max_completion_tokens=10, overlong_tokens=4) for num in range(13)]
    assert penalties == [0.0] * 7 + [-0.25, -0.5, -0.75, -1.0, -1.0, -1.0]
    assert overlong_penalty(10, max_completion_tokens=10, overlong_tokens=0) == 0.0
    assert math.copysign(1, overlong_penalty(1, max_completion_tokens=10, overlong_tokens=4)) == 1  # no -0.0 in records


@given(st.integers(0, 400), st.integers(1, 300), st.integers(0, 299))
def test_the_penalty_never_rises_with_length_and_stays_in_its_range(num_tokens, limit, overlong):
    overlong = min(overlong, limit - 1)
    here, next_one = (
        overlong_penalty(num, max_completion_tokens=limit, overlong_tokens=overlong)
        for num in (num_tokens, num_tokens + 1)
    )
    assert -1.0 <= next_one <= here <= 0.0


def test_the_penalty_is_trls():
    rewards = pytest.importorskip("trl.rewards")
    for limit, overlong in ((100, 20), (100, 99), (20480, 4096), (7, 3), (100, 0)):
        theirs = rewards.get_soft_overlong_punishment(limit, overlong)
        near = (0, limit - overlong, limit - overlong + 1, limit - 1, limit)
        lengths = [num for num in (*near, *range(1, limit, 37)) if num <= limit]  # none is sampled beyond
        ours = [overlong_penalty(num, max_completion_tokens=limit, overlong_tokens=overlong) for num in lengths]
        assert ours == theirs([[1] * num for num in lengths])
