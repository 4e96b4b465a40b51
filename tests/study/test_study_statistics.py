"""Intervals against hand-computed cases and against simulations whose truth is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from srl.evaluation.statistics import clustered_interval, wilson_interval
from srl.study.statistics import estimate_difference, estimate_rate, holm

NUM_SEEDS, NUM_PROBLEMS = 3, 64
Z2 = 1.959963984540054**2


def test_a_rate_by_hand():
    """Two seeds, 40 problems: the first solves 20 of them, the second 24, of which 20 are the same."""
    values = [[1.0] * 20 + [0.0] * 20, [1.0] * 24 + [0.0] * 16]
    found = estimate_rate(values)
    assert found.mean == 0.55
    weight = 40 + Z2
    centre = (20 + 4 * 0.5 + Z2 / 2) / weight
    squares = 20 * (1 - centre) ** 2 + 4 * (0.5 - centre) ** 2 + 16 * centre**2
    squares += Z2 / 2 * (centre**2 + (1 - centre) ** 2)
    problems, seeds = squares / ((weight - 1) * weight), 2 * 0.05**2 / 2  # the seeds' means are 0.5 and 0.6
    df = (problems + seeds) ** 2 / (problems**2 / (weight - 1) + seeds**2 / 1)
    half = stats.t.ppf(0.975, df) * math.sqrt(problems + seeds)
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half))
    assert 0 < found.low < found.high < 1  # nothing was clipped


def test_a_difference_by_hand():
    """One seed each on four problems; the differences are 1, 1, 0, -1."""
    found = estimate_difference([[1.0, 1.0, 1.0, 0.0]], [[0.0, 0.0, 1.0, 1.0]])
    assert found.mean == 0.25
    centre = 1 / 6  # two problems are added: half with 1, half with -1, and one with 0
    squares = 2 * (1 - centre) ** 2 + centre**2 + (1 + centre) ** 2
    squares += 0.5 * ((1 - centre) ** 2 + (1 + centre) ** 2 + 2 * centre**2)
    deviation = math.sqrt(squares / (5 * 6))
    assert found.p == pytest.approx(2 * stats.t.sf(centre / deviation, 5))
    half = stats.t.ppf(0.975, 5) * deviation
    assert (found.low, found.high) == pytest.approx((centre - half, 1.0))


def test_one_seed_is_over_problems_alone():
    yes_or_no = estimate_rate([[1.0] * 3 + [0.0] * 37])
    assert (yes_or_no.low, yes_or_no.high) == wilson_interval(3, 40)
    shares = estimate_rate([[0.25] * 20 + [0.5] * 20])
    assert (shares.low, shares.high) == clustered_interval([0.25] * 20 + [0.5] * 20, [1] * 40)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_no_interval_has_width_zero(rate):
    found = estimate_rate([[rate] * 64] * 3)
    assert found.mean == rate
    assert found.high - found.low > 0.03
    same = estimate_difference([[rate] * 64] * 3, [[rate] * 64])
    assert same.mean == 0
    assert same.p == 1
    assert same.high - same.low > 0.03


def test_seeds_that_differ_widen_the_interval():
    alike = [[1.0, 0.0] * 32] * 3
    apart = [[1.0] * 64, [0.0] * 64, [1.0, 0.0] * 32]  # the same mean
    assert estimate_rate(apart).mean == estimate_rate(alike).mean
    narrow, wide = estimate_rate(alike), estimate_rate(apart)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_a_base_has_no_variance_between_seeds():
    method = [[1.0] * 40 + [0.0] * 24, [1.0] * 48 + [0.0] * 16, [1.0] * 44 + [0.0] * 20]
    against_base = estimate_difference(method, [[0.0] * 64])
    against_method = estimate_difference(method, [[0.0] * 50 + [1.0] * 14, [0.0] * 64, [1.0] * 20 + [0.0] * 44])
    assert against_base.high - against_base.low < against_method.high - against_method.low


def test_bad_shapes_are_refused():
    for values in ([], [[]], [[1.0], [1.0, 0.0]]):
        with pytest.raises(ValueError, match="at least one seed"):
            estimate_rate(values)
    with pytest.raises(ValueError, match="1 and 2 problems"):
        estimate_difference([[1.0]], [[1.0, 0.0]])


rates = st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=5, max_size=5), min_size=1, max_size=4)


@given(rates)
def test_an_interval_surrounds_its_mean_within_0_and_1(values):
    found = estimate_rate(values)
    assert 0 <= found.low <= found.mean <= found.high <= 1
    assert found.low < found.high


@given(rates, rates)
def test_a_difference_turned_round_is_the_same(first, second):
    there, back = estimate_difference(first, second), estimate_difference(second, first)
    assert there.mean == pytest.approx(-back.mean)
    assert there.p == pytest.approx(back.p)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_p_and_interval_say_the_same():
    rng = np.random.default_rng(0)
    for _ in range(200):
        first = rng.binomial(1, 0.5, size=(3, 30)).tolist()
        second = rng.binomial(1, rng.uniform(0.2, 0.8), size=(3, 30)).tolist()
        found = estimate_difference(first, second)
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def simulate(rng, centre, problem_sd, seed_sd, num_samples, problems=None):
    """Crossed random effects on the logit scale; values[s][p] are shares of ``num_samples`` Bernoulli draws."""
    if problems is None:
        problems = rng.normal(size=(1, NUM_PROBLEMS)) * problem_sd
    seeds = rng.normal(size=(NUM_SEEDS, 1)) * seed_sd
    rest = rng.normal(size=(NUM_SEEDS, NUM_PROBLEMS)) * 0.5
    chance = 1 / (1 + np.exp(-(centre + problems + seeds + rest)))
    return (rng.binomial(num_samples, chance) / num_samples).tolist()


def true_rate(centre, problem_sd, seed_sd):
    """The mean of the same model, integrated."""
    deviation = math.sqrt(problem_sd**2 + seed_sd**2 + 0.25)
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    return float((weights / (1 + np.exp(-(centre + deviation * points)))).sum() / weights.sum())


@pytest.mark.parametrize("num_samples", [1, 4])
@pytest.mark.parametrize(
    ("centre", "problem_sd", "seed_sd"), [(0, 1, 0.4), (-1.5, 1, 0.2), (0, 2.5, 0.4), (2, 1.5, 0.3)]
)
def test_intervals_cover_the_truth(centre, problem_sd, seed_sd, num_samples):
    rng = np.random.default_rng(1)
    truth, num_rounds = true_rate(centre, problem_sd, seed_sd), 400
    found = [estimate_rate(simulate(rng, centre, problem_sd, seed_sd, num_samples)) for _ in range(num_rounds)]
    covered = sum(item.low <= truth <= item.high for item in found) / num_rounds
    assert 0.92 <= covered <= 0.99


@pytest.mark.parametrize(("problem_sd", "seed_sd"), [(1, 0.0), (1, 0.4), (2.5, 0.4), (0.3, 0.8)])
def test_equal_methods_are_rarely_told_apart(problem_sd, seed_sd):
    rng = np.random.default_rng(2)
    num_rounds, rejected = 400, 0
    for _ in range(num_rounds):
        problems = rng.normal(size=(1, NUM_PROBLEMS)) * problem_sd
        first = simulate(rng, 0, problem_sd, seed_sd, 1, problems)
        second = simulate(rng, 0, problem_sd, seed_sd, 1, problems)
        rejected += estimate_difference(first, second).p < 0.05
    assert rejected / num_rounds <= 0.07


def test_a_base_that_is_equal_is_rarely_told_apart():
    rng = np.random.default_rng(3)
    num_rounds, rejected = 400, 0
    for _ in range(num_rounds):
        problems = rng.normal(size=(1, NUM_PROBLEMS))
        method = simulate(rng, 0, 1, 0.0, 1, problems)
        base = simulate(rng, 0, 1, 0.0, 1, problems)[:1]
        rejected += estimate_difference(method, base).p < 0.05
    assert rejected / num_rounds <= 0.07


def test_a_real_difference_is_found():
    rng = np.random.default_rng(4)
    found = 0
    for _ in range(100):
        problems = rng.normal(size=(1, NUM_PROBLEMS))
        first = simulate(rng, 0.8, 1, 0.2, 1, problems)
        found += estimate_difference(first, simulate(rng, -0.8, 1, 0.2, 1, problems)).p < 0.05
    assert found >= 80
