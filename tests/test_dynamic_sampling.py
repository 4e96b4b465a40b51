"""What is kept, how the batch is refilled, and that it always ends."""

import random
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import example, group

from srl.dynamic_sampling import collect_groups, is_kept, is_kept_by_format_only
from srl.errors import RewardError, SamplingError
from srl.rollouts import RolledOut, rounds
from srl.types import ParseStatus as S
from srl.types import TrainingExample, UngradedRollout

GOOD, FLAT = [0.2, 0.8], [0.5, 0.5]


def in_rounds(sizes):
    """Rolls out all that the feed has, at once; ``sizes`` notes how many that were."""

    def roll_out(feed):
        first = 0
        for items in rounds(feed):
            sizes.append(len(items))
            groups = {first + number: scripted_group(item) for number, item in enumerate(items)}
            yield RolledOut(groups=groups, reward_seconds=0.25)
            first += len(items)

    return roll_out


def scripted_group(item):
    return group(list(item.rewards), index=item.index)


class Drawn(TrainingExample):
    """An example that knows the rewards that its group will have."""

    def __init__(self, index, rewards):
        given = example(index)
        super().__init__(example_id=given.example_id, prompt=given.prompt, target=given.target)
        object.__setattr__(self, "index", index)
        object.__setattr__(self, "rewards", rewards)


def collect(reward_lists, *, groups_per_update=2, min_reward_std=0.01, max_draws=3, roll_out=None, carried=()):
    """Collect from a script: the n-th drawn example gets the n-th list of rewards. Also the sizes of the rounds."""
    script = (Drawn(index, rewards) for index, rewards in enumerate(reward_lists))
    sizes = []
    result = collect_groups(
        lambda number: list(islice(script, number)),
        roll_out or in_rounds(sizes),
        groups_per_update=groups_per_update,
        min_reward_std=min_reward_std,
        max_draws=max_draws,
        carried=carried,
    )
    return result, sizes


def ids(items):
    return [getattr(item, "example", item).example_id for item in items]


def test_refills_until_the_batch_is_full():
    result, drawn = collect([GOOD, FLAT, FLAT, GOOD, GOOD])
    assert [kept.example.example_id for kept in result.kept] == ["e0", "e3"]
    assert [rejected.example.example_id for rejected in result.rejected] == ["e1", "e2"]
    assert drawn == [2, 2]  # one missing at a kept rate of one half: two more
    assert not result.reached_cap
    assert result.reward_seconds == 0.5


def test_surplus_examples_are_given_back_and_not_trained_on():
    result, _ = collect([GOOD, FLAT, GOOD, GOOD])
    assert [kept.example.example_id for kept in result.kept] == ["e0", "e2"]
    assert ids(result.left_over) == ["e3"]
    assert result.surplus == result.left_over


def test_the_threshold_itself_is_rejected():
    assert not is_kept(group([0.0, 0.5]), 0.25)
    assert is_kept(group([0.0, 0.5000001]), 0.25)


def test_float_noise_does_not_keep_a_flat_group_at_threshold_zero():
    assert not is_kept(group([0.1] * 7), 0.0)


def test_cap_with_something_kept_trains_on_it():
    result, drawn = collect([GOOD] + [FLAT] * 100, max_draws=3)
    assert len(result.kept) == 1
    assert result.reached_cap
    assert drawn == [2, 2, 2]  # never more than a batch in flight, however few are kept


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


def at_random(rng, num_slots):
    """Rolls out up to ``num_slots`` examples at a time; which of them is finished next is random."""

    def roll_out(feed):
        running, num_taken, has_ended = {}, 0, False
        while not has_ended or running:
            while len(running) < num_slots and not has_ended:
                item = next(feed, "end")
                has_ended = item == "end"
                if has_ended or item is None:
                    break
                running[num_taken], num_taken = item, num_taken + 1
            finished = rng.sample(sorted(running), min(len(running), rng.randint(0, 2)))
            yield RolledOut(
                groups={place: scripted_group(running.pop(place)) for place in finished}, reward_seconds=0.0
            )

    return roll_out


def one_after_the_other(reward_lists, groups_per_update, max_draws):
    """Kept and rejected, up to the last kept one; and how many were drawn."""
    kept, rejected, drawn = [], [], 0
    for index, rewards in enumerate(reward_lists[: groups_per_update * max_draws]):
        if len(kept) == groups_per_update:
            break
        drawn += 1
        (kept if max(rewards) - min(rewards) > 0.02 else rejected).append(f"e{index}")
    return kept, rejected, drawn


REWARDS = st.lists(st.sampled_from([[0.5, 0.5, 0.5], [0.5, 0.505, 0.5], [0.0, 0.5, 1.0], [1.0, 0.0, 0.0]]), max_size=40)


@given(REWARDS, st.integers(1, 5), st.integers(1, 4), st.integers(1, 12), st.integers(0, 10**6))
def test_whoever_finishes_first_the_batch_is_that_of_drawing_one_after_the_other(
    reward_lists, groups_per_update, max_draws, num_slots, seed
):
    kept, rejected, drawn = one_after_the_other(reward_lists, groups_per_update, max_draws)
    settings = {"groups_per_update": groups_per_update, "max_draws": max_draws}
    try:
        result, _ = collect(reward_lists, roll_out=at_random(random.Random(seed), num_slots), **settings)
    except SamplingError:
        assert (kept, drawn) == ([], groups_per_update * max_draws)
        return
    assert ids(result.kept) == kept
    assert ids(result.rejected)[: len(rejected)] == rejected
    assert result.reached_cap == (len(kept) < groups_per_update and drawn == groups_per_update * max_draws)
    later = [*ids(result.rejected)[len(rejected) :], *ids(result.left_over)]
    assert sorted(later, key=lambda name: int(name[1:])) == [f"e{drawn + number}" for number in range(len(later))]
    assert ids(result.left_over) == sorted(ids(result.left_over), key=lambda name: int(name[1:]))
    assert drawn + len(later) <= groups_per_update * max_draws
    assert len(later) <= 2 * groups_per_update  # at most a batch is in flight
    assert all(max(group.rewards) - min(group.rewards) > 0.01 for group in [*result.kept, *result.surplus])


class Stubborn:
    """The first example never ends before the feed has nothing more; notes what was asked for meanwhile."""

    def __init__(self):
        self.was_closed, self.num_taken = False, 0

    def __call__(self, feed):
        first = next(feed)
        self.num_taken = 1
        try:
            while (item := next(feed)) is not None:
                yield RolledOut(groups={self.num_taken: scripted_group(item)}, reward_seconds=0.0)
                self.num_taken += 1
            yield RolledOut(groups={0: scripted_group(first)}, reward_seconds=0.0)
            raise AssertionError("the batch was full")
        finally:
            self.was_closed = True


def test_the_next_prompts_start_while_a_straggler_runs_and_it_still_counts_first():
    stubborn = Stubborn()
    result, _ = collect([GOOD, FLAT, FLAT, GOOD, GOOD, GOOD, GOOD], groups_per_update=3, roll_out=stubborn)
    assert ids(result.kept) == ["e0", "e3", "e4"]
    assert ids(result.rejected) == ["e1", "e2"]
    assert ids(result.left_over) == ["e5"]  # taken: two of four were kept, so one in flight was not enough
    assert stubborn.num_taken == 6
    assert stubborn.was_closed


@pytest.mark.parametrize("is_finished", [False, True])
def test_what_is_left_when_the_batch_is_full_is_not_trained_on(is_finished):
    def roll_out(feed):
        items = [next(feed) for _ in range(3)]
        for places in ((0,), (3,), (4,) if is_finished else (), (2, 1)):
            yield RolledOut(groups={place: scripted_group(items[place]) for place in places}, reward_seconds=0.0)
            items += [item for item in islice(feed, 1) if item is not None]

    result, _ = collect([FLAT, GOOD, GOOD, GOOD, GOOD], groups_per_update=3, roll_out=roll_out)
    assert (ids(result.kept), ids(result.rejected)) == (["e1", "e2", "e3"], ["e0"])
    surplus, unfinished = ids(result.surplus), ids(result.unfinished)
    assert (surplus, unfinished) == ((["e4"], []) if is_finished else ([], ["e4"]))
    assert ids(result.left_over) == ["e4"]
    assert len(result.fresh) == (5 if is_finished else 4)


def test_carried_groups_come_first_and_only_the_rest_is_drawn():
    carried = [group(GOOD, index=90)]
    result, sizes = collect([FLAT, GOOD, GOOD], carried=carried)
    assert sizes == [1, 2]
    assert ids(result.kept) == ["e90", "e1"]
    assert (result.num_carried, ids(result.fresh)) == (1, ["e1", "e0", "e2"])
    assert ids(result.surplus) == ["e2"]
    result, sizes = collect([GOOD], carried=carried * 2)
    assert (sizes, ids(result.kept), result.fresh) == ([], ["e90", "e90"], [])
    assert not result.reached_cap


def test_the_cap_with_nothing_but_carried_groups_trains_on_them():
    result, _ = collect([FLAT] * 100, carried=[group(GOOD, index=90)])
    assert (ids(result.kept), len(result.rejected), result.reached_cap) == (["e90"], 6, True)


def test_a_dead_grader_stops_long_before_the_cap():
    (one,) = group([0.5]).rollouts
    left_out = UngradedRollout(completion=one.completion, parsed=one.parsed, reason="crash")
    sizes = []

    def roll_out(feed):
        for part in in_rounds(sizes)(feed):
            groups = {
                place: replace(found, rollouts=(), ungraded=(left_out,) * 2) for place, found in part.groups.items()
            }
            yield replace(part, groups=groups)

    with pytest.raises(RewardError, match=r"none of 16 well-formed completions could be graded \(\{'crash': 16\}\)"):
        collect([GOOD] * 100, groups_per_update=8, max_draws=9, roll_out=roll_out)
    assert sizes == [8]


def test_what_could_not_be_graded_is_named_when_nothing_is_left():
    def roll_out(feed):
        yield RolledOut(groups={0: with_ungraded([0.4], 3)} if next(feed) else {}, reward_seconds=0.0)

    with pytest.raises(SamplingError, match=r"could not be graded: \{'deadline': 3\} \(docs/grading.md\)"):
        collect([GOOD], groups_per_update=1, max_draws=1, roll_out=roll_out)
