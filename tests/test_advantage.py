"""Advantages against numpy, and the properties of Eq. 1."""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from srl.advantage import compute_advantages, reward_std

rewards = st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=2, max_size=16)


@given(rewards)
def test_std_is_the_populations(values):
    np.testing.assert_allclose(reward_std(values), np.std(values), atol=1e-12)


@given(st.floats(-1, 1), st.integers(2, 16))
def test_equal_rewards_have_exactly_no_spread(value, size):
    assert reward_std([value] * size) == 0.0
    assert compute_advantages([value] * size) == [0.0] * size


@given(rewards)
def test_advantages_against_numpy_and_their_sum(values):
    assume(np.std(values) > 1e-3)
    advantages = compute_advantages(values)
    expected = (np.array(values) - np.mean(values)) / (np.std(values) + 1e-6)
    np.testing.assert_allclose(advantages, expected, atol=1e-9)
    assert abs(sum(advantages)) < 1e-9


@given(rewards, st.floats(-10, 10), st.floats(0.1, 10))
def test_a_constant_changes_nothing_and_a_scale_hardly_anything(values, constant, scale):
    assume(np.std(values) > 0.01)
    advantages = np.array(compute_advantages(values))
    np.testing.assert_allclose(compute_advantages([value + constant for value in values]), advantages, atol=1e-6)
    np.testing.assert_allclose(compute_advantages([value * scale for value in values]), advantages, atol=5e-3)


@given(rewards)
def test_without_the_division_advantages_are_distances_from_the_mean(values):
    advantages = compute_advantages(values, scale_by_std=False)
    np.testing.assert_allclose(advantages, np.array(values) - np.mean(values), atol=1e-12)
    assume(np.std(values) > 0.01)
    np.testing.assert_allclose(np.array(advantages) / np.std(values), compute_advantages(values), rtol=2e-4)


@given(st.floats(-1, 1), st.integers(2, 16))
def test_a_flat_group_has_none_without_the_division_either(value, size):
    assert compute_advantages([value] * size, scale_by_std=False) == [0.0] * size
