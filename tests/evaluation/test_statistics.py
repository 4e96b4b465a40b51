"""Intervals and pass@k against exact enumeration, and what must hold for any outcomes."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.evaluation.statistics import (
    accuracy_score,
    clustered_interval,
    pass_at_k,
    pass_at_k_score,
    wilson_interval,
)

Z = 1.959963984540054
OUTCOMES = st.lists(st.lists(st.booleans(), min_size=1, max_size=8), min_size=1, max_size=30)


def test_wilson_interval_inverts_the_score_test() -> None:
    """Its ends are the rates p at which |rate - p| = z sqrt(p (1 - p) / n), found here by bisection."""

    def solve(rate: float, n: int, inside: float, outside: float) -> float:
        for _ in range(200):
            middle = (inside + outside) / 2
            if abs(rate - middle) <= Z * math.sqrt(middle * (1 - middle) / n):
                inside = middle
            else:
                outside = middle
        return inside

    for n, right in itertools.product((1, 5, 40, 272), (0.0, 0.25, 0.5, 0.9, 1.0)):
        rate = round(right * n) / n
        low, high = wilson_interval(rate * n, n)
        assert low == pytest.approx(solve(rate, n, rate, 0.0) if rate > 0 else 0.0, abs=1e-9)
        assert high == pytest.approx(solve(rate, n, rate, 1.0) if rate < 1 else 1.0, abs=1e-9)


def test_published_wilson_values() -> None:
    """Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    published = [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
    for right, n, low, high in published:
        assert wilson_interval(right, n) == pytest.approx((low, high), abs=5e-5)


def test_clustered_interval_by_hand() -> None:
    """Problems with 2, 1 and 0 of 2 right; the added clusters are written out as fractions of clusters."""
    added, sizes, right = Z**2 / 2, [2, 2, 2], [2, 1, 0]
    weight = 6 + 2 * added * 2
    centre = (3 + added * 2) / weight
    assert centre == pytest.approx(0.5)
    squares = 1.0 + 0.0 + 1.0 + added * (1.0 + 1.0)  # (c - p m)^2 with p = 1/2, m = 2
    half = Z * math.sqrt(squares) / weight
    assert clustered_interval(right, sizes) == pytest.approx((0.5 - half, 0.5 + half))


def test_clustered_interval_of_single_samples_is_agresti_and_coulls() -> None:
    for n, right in ((10, 3), (40, 0), (40, 40), (200, 77)):
        centre = (right + Z**2 / 2) / (n + Z**2)
        half = Z * math.sqrt(centre * (1 - centre) / (n + Z**2))
        low, high = clustered_interval([1] * right + [0] * (n - right), [1] * n)
        assert (low, high) == pytest.approx((max(0, centre - half), min(1, centre + half)))


@pytest.mark.parametrize("medium", [0.0, 0.2])
@pytest.mark.parametrize("easy", [0.0, 0.02, 0.1, 0.3, 0.5, 0.8])
def test_clustered_interval_covers_the_truth(easy: float, medium: float) -> None:
    """Exact coverage by enumeration, 12 problems with 4 samples: a share of problems is always solved, another half of
    the time, the rest never. At easy 0.02 and medium 0 a percentile bootstrap covers in 22 % of all cases: whenever
    one of the easy problems is among the 12."""
    num_problems, num_samples = 12, 4
    shares = {right: medium * math.comb(num_samples, right) / 2**num_samples for right in range(num_samples + 1)}
    shares[num_samples] += easy
    shares[0] += 1.0 - easy - medium
    truth = sum(right * share for right, share in shares.items()) / num_samples
    covered = 0.0
    for counts in itertools.product(range(num_problems + 1), repeat=num_samples):  # problems with 1, 2, 3, 4 right
        rest = num_problems - sum(counts)
        if rest < 0:
            continue
        ways = math.factorial(num_problems) / math.prod(math.factorial(count) for count in (*counts, rest))
        chance = ways * shares[0] ** rest * math.prod(shares[i + 1] ** count for i, count in enumerate(counts))
        right = [i + 1 for i, count in enumerate(counts) for _ in range(count)] + [0] * rest
        low, high = clustered_interval(right, [num_samples] * num_problems)
        covered += chance * (low <= truth <= high)
    assert covered >= 0.93


@given(OUTCOMES)
def test_an_interval_surrounds_its_rate_and_is_never_empty(outcomes: list[list[bool]]) -> None:
    score = accuracy_score("avg@k", outcomes)
    assert 0.0 <= score.low <= score.value <= score.high <= 1.0
    assert score.high - score.low > 0.01
    assert score.num_problems == len(outcomes)
    assert score.num_samples == sum(map(len, outcomes))


@given(OUTCOMES)
def test_intervals_mirror_right_and_wrong(outcomes: list[list[bool]]) -> None:
    score = accuracy_score("s", outcomes)
    mirrored = accuracy_score("s", [[not right for right in samples] for samples in outcomes])
    assert (score.low, score.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))


@pytest.mark.parametrize(("rate", "num_samples"), [(0, 1), (1, 1), (0, 32), (1, 32)])
def test_all_wrong_or_all_right_keeps_a_real_interval(rate: int, num_samples: int) -> None:
    """More samples of the same 40 problems say nothing about other problems."""
    score = accuracy_score("s", [[bool(rate)] * num_samples] * 40)
    assert score.value == rate
    assert 0.08 < score.high - score.low < 0.11


def test_repeating_samples_does_not_narrow_the_interval_but_more_problems_do() -> None:
    outcomes = [[True], [False], [True], [False]] * 5
    once, repeated = accuracy_score("s", outcomes), accuracy_score("s", [samples * 8 for samples in outcomes])
    assert repeated.high - repeated.low == pytest.approx(once.high - once.low, rel=0.02)
    more = accuracy_score("s", outcomes * 4)
    assert more.high - more.low < 0.6 * (once.high - once.low)


def test_steps_of_a_trajectory_hang_together() -> None:
    """Ten steps in ten trajectories tell more than ten steps in two."""
    apart = accuracy_score("steps", [[True], [False]] * 5)
    together = accuracy_score("steps", [[True] * 5, [False] * 5])
    assert together.value == apart.value == 0.5
    assert together.high - together.low > apart.high - apart.low


def test_unequal_clusters_count_by_their_samples() -> None:
    assert accuracy_score("steps", [[True, True, True], [False]]).value == 0.75


@pytest.mark.parametrize("n", range(1, 8))
def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(n: int) -> None:
    for right, k in itertools.product(range(n + 1), range(1, n + 1)):
        subsets = list(itertools.combinations([True] * right + [False] * (n - right), k))
        expected = Fraction(sum(any(subset) for subset in subsets), len(subsets))
        assert pass_at_k(right, n, k) == pytest.approx(float(expected))


def test_pass_at_k_stays_exact_for_many_samples() -> None:
    assert pass_at_k(1, 10_000, 5_000) == pytest.approx(0.5)
    assert pass_at_k(0, 10_000, 5_000) == 0.0


@pytest.mark.parametrize(("right", "n", "k"), [(0, 4, 5), (4, 4, 5), (1, 4, 0), (5, 4, 1), (-1, 4, 1)])
def test_undefined_pass_at_k_is_never_a_number(right: int, n: int, k: int) -> None:
    with pytest.raises(ValueError, match=r"undefined|impossible"):
        pass_at_k(right, n, k)


def test_scores() -> None:
    outcomes = [[True, False, False, False], [False] * 4, [True] * 4]
    score = pass_at_k_score("whole/pass@2", outcomes, 2)
    assert (score.name, score.value) == ("whole/pass@2", pytest.approx(0.5))
    assert (score.num_problems, score.num_samples) == (3, 12)
    at_all = pass_at_k_score("whole/pass@4", outcomes, 4)
    assert at_all.value == pytest.approx(2 / 3)
    assert (at_all.low, at_all.high) == wilson_interval(2, 3)
    with pytest.raises(ValueError, match="pass@3 is undefined with 2 samples"):
        pass_at_k_score("pass@3", [[True] * 3, [True] * 2], 3)
    for empty in ([], [[True], []]):
        with pytest.raises(ValueError, match="at least one"):
            accuracy_score("s", empty)
