"""What is kept, how the batch is refilled, and that it always ends."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import example, group

from srl.dynamic_sampling import collect_groups, is_kept, is_kept_by_format_only
from srl.errors import SamplingError
from srl.types import ParseStatus as S
from srl.types import UngradedRollout

GOOD, FLAT = [0.2, 0.8], [0.5, 0.5]


def collect(reward_lists, *, groups_per_update=2, min_reward_std=0.01, max_draws=3):
    """Collect from a script: the n-th drawn example gets the n-th list of rewards."""
    script = iter(enumerate(reward_lists))
    drawn = []

    def draw(number):
        items = [item for _, item in zip(range(number), script, strict=False)]
        drawn.append(len(items))
        return [(index, rewards) for index, rewards in items]

    def roll_out(items, draw_index):
        return [group(rewards, index=index) for index, rewards in items]

    result = collect_groups(
        draw, roll_out, groups_per_update=groups_per_update, min_reward_std=min_reward_std, max_draws=max_draws
    )
    return result, drawn


def test_refills_until_the_batch_is_full():
    result, drawn = collect([GOOD, FLAT, FLAT, GOOD, GOOD])
    assert [kept.example.example_id for kept in result.kept] == ["e0", "e3"]
    assert [rejected.example.example_id for rejected in result.rejected] == ["e1", "e2"]
    assert drawn == [2, 2]  # one missing at a kept rate of one half: two more
    assert not result.reached_cap


def test_surplus_examples_are_given_back_and_not_trained_on():
    result, _ = collect([GOOD, FLAT, GOOD, GOOD])
    assert [kept.example.example_id for kept in result.kept] == ["e0", "e2"]
    assert [surplus.example for surplus in result.surplus] == [example(3)]


def test_the_threshold_itself_is_rejected():
    assert not is_kept(group([0.0, 0.5]), 0.25)
    assert is_kept(group([0.0, 0.5000001]), 0.25)


def test_float_noise_does_not_keep_a_flat_group_at_threshold_zero():
    assert not is_kept(group([0.1] * 7), 0.0)


def test_cap_with_something_kept_trains_on_it():
    result, drawn = collect([GOOD] + [FLAT] * 100, max_draws=3)
    assert len(result.kept) == 1
    assert result.reached_cap
    assert sum(drawn) == 6


def test_cap_with_nothing_kept_is_an_error_with_the_histogram():
    with pytest.raises(SamplingError, match=r"6 groups.*'\+0\.5': 12.*'ok': 12"):
        collect([FLAT] * 100)


def test_the_end_of_the_data_is_not_the_cap():
    result, _ = collect([GOOD, FLAT])
    assert len(result.kept) == 1
    assert not result.reached_cap
    result, _ = collect([])
    assert result.kept == []


def test_kept_by_format_only():
    penalty = [-1.0, 0.5, 0.5, 0.5]
    assert is_kept_by_format_only(group(penalty, [S.MISSING_THINK, S.OK, S.OK, S.OK]), 0.01)
    assert not is_kept_by_format_only(group([-1.0, 0.2, 0.9, 0.5], [S.TRUNCATED, S.OK, S.OK, S.OK]), 0.01)
    assert not is_kept_by_format_only(group([0.2, 0.9]), 0.01)
    assert is_kept_by_format_only(group([-1.0, 0.9], [S.TRUNCATED, S.OK]), 0.01)


def with_ungraded(rewards, num_ungraded):
    (one,) = group([0.5]).rollouts
    left_out = UngradedRollout(completion=one.completion, parsed=one.parsed, reason="deadline")
    return replace(group(rewards), ungraded=(left_out,) * num_ungraded)


@pytest.mark.parametrize(("rewards", "num_ungraded", "kept"), [
    ([0.2, 0.8], 2, True), ([0.2, 0.8], 3, False), ([0.2, 0.8, 0.5, 0.1], 4, True), ([], 4, False), ([0.2], 0, False),
])  # fmt: skip
@pytest.mark.parametrize("threshold", [0.01, -1.0])
def test_a_group_with_too_few_graded_rollouts_is_dropped(rewards, num_ungraded, kept, threshold):
    """Also where dynamic sampling is off (a threshold of -1)."""
    assert is_kept(with_ungraded(rewards, num_ungraded), threshold) is kept


@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.5, 0.505, 1.0]), min_size=3, max_size=3), max_size=40),
    st.integers(1, 5),
    st.integers(1, 4),
)
def test_it_ends_and_never_keeps_a_group_at_or_under_the_threshold(reward_lists, groups_per_update, max_draws):
    try:
        result, drawn = collect(
            reward_lists, groups_per_update=groups_per_update, min_reward_std=0.01, max_draws=max_draws
        )
    except SamplingError:
        return
    assert sum(drawn) <= groups_per_update * max_draws
    assert len(result.kept) <= groups_per_update
    spreads = [max(kept.rewards) - min(kept.rewards) for kept in result.kept]
    assert all(spread > 0.01 for spread in spreads)  # a std above 0.01 needs a range above it
    assert len(result.kept) + len(result.rejected) + len(result.surplus) == sum(drawn)


def test_what_could_not_be_graded_is_named_when_nothing_is_left():
    groups = [with_ungraded([0.4], 3)]
    with pytest.raises(SamplingError, match=r"could not be graded: \{'deadline': 3\} \(docs/grading.md\)"):
        collect_groups(lambda n: [example(0)], lambda examples, draw: groups, groups_per_update=1, min_reward_std=0.01,
                       max_draws=1)  # fmt: skip
