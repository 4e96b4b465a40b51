"""What is measured, chosen and ordered before a stage: against counting by hand, and through files."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import group

from srl.config import StageConfig
from srl.curriculum import NUM_POOLS, MeasuredExample, choose, easy_first, measure, sliding_starts
from srl.data_config import DataConfig, SelectionConfig
from srl.errors import DataError
from srl.example_stream import ExampleStream
from srl.stage_data import build_stage
from srl.training_config import SamplingConfig
from srl.types import RolloutGroup, UngradedRollout

REWARDS = st.lists(st.sampled_from([-1.0, 0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), max_size=5)


def groups_of(rewards: list[list[float]]) -> list[RolloutGroup]:
    return [group(values, index=index) for index, values in enumerate(rewards)]


@given(st.lists(REWARDS, max_size=6))
def test_mean_and_std_are_those_of_the_graded_rollouts(rewards: list[list[float]]) -> None:
    for item, values, number in zip(measure(groups_of(rewards)), rewards, range(len(rewards)), strict=True):
        assert item.example_id == f"e{number}"
        assert item.mean_reward == (pytest.approx(fmean(values)) if values else None)
        assert item.reward_std == (pytest.approx(pstdev(values), abs=1e-12) if values else 0.0)


def test_all_that_was_sampled_is_counted_also_what_has_no_reward_and_what_finished_solutions() -> None:
    graded = group([0.0, 1.0])  # two and three tokens
    first, second = graded.rollouts
    ungraded = UngradedRollout(
        completion=second.completion, parsed=second.parsed, reason="deadline", num_finishing_tokens=7
    )
    mixed = replace(graded, rollouts=(replace(first, num_finishing_tokens=11),), ungraded=(ungraded,))
    (item,) = measure([mixed])
    assert item == MeasuredExample(example_id="e0", mean_reward=0.0, reward_std=0.0, num_tokens=2 + 11 + 3 + 7)


LIMITS = st.tuples(st.sampled_from([0.0, 0.1, 0.45]), st.sampled_from([-1.0, 0.2, 0.5, 1.0]))


@given(st.lists(REWARDS, min_size=1, max_size=8), LIMITS)
def test_what_is_chosen_is_what_counting_finds(rewards: list[list[float]], limits: tuple[float, float]) -> None:
    min_std, max_mean = limits
    wanted = [
        f"e{number}"
        for number, values in enumerate(rewards)
        if values and fmean(values) <= max_mean and (min_std == 0 or pstdev(values) > min_std)
    ]
    settings = SelectionConfig(num_rollouts=4, min_reward_std=min_std, max_mean_reward=max_mean, easy_share=0.5)
    measured = measure(groups_of(rewards))
    if wanted:
        assert choose(measured, settings) == wanted
    else:
        with pytest.raises(DataError, match=f"of {len(rewards)} examples"):
            choose(measured, settings)


def test_an_examples_std_must_be_above_the_limit_and_its_mean_may_be_at_it() -> None:
    measured = measure(groups_of([[0.0, 1.0], [0.0, 0.5], [0.5, 0.5]]))
    assert choose(measured, SelectionConfig(num_rollouts=2, min_reward_std=0.25)) == ["e0"]
    assert choose(measured, SelectionConfig(num_rollouts=2, max_mean_reward=0.5)) == ["e0", "e1", "e2"]
    assert choose(measured, SelectionConfig(num_rollouts=2, max_mean_reward=0.49)) == ["e1"]


def test_nothing_left_says_how_many_were_lost_by_which_limit_and_what_to_change() -> None:
    measured = measure(groups_of([[0.0, 1.0], [0.75, 0.75], [], [0.5, 1.0]]))
    settings = SelectionConfig(num_rollouts=2, min_reward_std=0.2, max_mean_reward=0.4)
    with pytest.raises(DataError) as caught:
        choose(measured, settings)
    for part in ("of 4 examples 2 have a reward std above 0.2", "at most 0.4", "go up to 0.750", "max_mean_reward"):
        assert part in str(caught.value)


@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=1, max_size=3), min_size=1, max_size=30),
    st.sampled_from([0.01, 0.2, 0.5, 0.99]),
    st.sampled_from([0.25, 0.5, 1.0]),
)
def test_pools_grow_evenly_from_the_easiest_to_all(
    rewards: list[list[float]], easy_share: float, full_at: float
) -> None:
    settings = SelectionConfig(num_rollouts=2, easy_share=easy_share, full_at=full_at)
    measured = measure(groups_of(rewards))
    means = {f"e{number}": fmean(values) for number, values in enumerate(rewards)}
    chosen = sorted(means)
    pools = easy_first(measured, chosen, settings)
    assert len(pools) == NUM_POOLS + 1
    for place, pool in enumerate(pools):
        share = easy_share + (1 - easy_share) * place / NUM_POOLS
        assert share * len(chosen) - 1e-9 <= len(pool.ids) < share * len(chosen) + 1 + 1e-9
        left_out = [means[name] for name in chosen if name not in pool.ids]
        assert min(means[name] for name in pool.ids) >= max(left_out, default=-math.inf)
        assert len(set(pool.ids)) == len(pool.ids)
        if place < NUM_POOLS:
            assert pool.until == pytest.approx(full_at * (place + 1) / NUM_POOLS)
            assert set(pool.ids) <= set(pools[place + 1].ids)
    assert set(pools[-1].ids) == set(chosen)


def test_only_what_was_chosen_is_ordered_and_without_a_curriculum_there_are_no_pools() -> None:
    measured = measure(groups_of([[1.0], [0.5], [0.0], [0.75]]))
    pools = easy_first(measured, ["e0", "e1", "e2"], SelectionConfig(num_rollouts=2, easy_share=0.5))
    assert [list(pool.ids) for pool in pools[:1]] == [["e0", "e1"]]
    assert all("e3" not in pool.ids for pool in pools)
    assert easy_first(measured, ["e0"], SelectionConfig(num_rollouts=2, min_reward_std=0.1)) == []


@given(st.lists(st.integers(1, 14), min_size=1, max_size=6), st.integers(2, 9), st.randoms())
def test_starts_slide_from_the_latest_to_the_problem_alone(
    lengths: list[int], num_stages: int, rng: random.Random
) -> None:
    positions = [(f"t{number}", k) for number, length in enumerate(lengths) for k in range(length)]
    rng.shuffle(positions)
    ids = [f"{name}#{k}" for name, k in positions]
    pools = sliding_starts(ids, positions, num_stages)
    assert sorted(name for pool in pools for name in pool.ids) == sorted(ids)  # each once
    assert sorted(pools[-1].ids) == sorted(f"t{number}#0" for number in range(len(lengths)))
    parts = [round(pool.until * num_stages) for pool in pools]
    assert parts == sorted(set(parts))
    assert parts[-1] == num_stages
    where = {name: part for pool, part in zip(pools, parts, strict=True) for name in pool.ids}
    for (trajectory, k), name in zip(positions, ids, strict=True):
        length = lengths[int(trajectory[1:])]
        given_share = Fraction(k, length)
        assert k == 0 or where[name] < num_stages
        if where[name] < num_stages - 1:  # one stage before the end stands what is left for the problem's sake
            assert 1 - Fraction(where[name], num_stages) <= given_share < 1 - Fraction(where[name] - 1, num_stages)
        if k:
            assert where[name] <= where[f"{trajectory}#{k - 1}"]
        if k == length - 1 and length >= num_stages:
            assert where[name] == 1


def test_the_time_of_a_range_without_starts_goes_to_the_next() -> None:
    positions = [("a", 0), ("a", 1), ("a", 2)]
    pools = sliding_starts(["a0", "a1", "a2"], positions, 6)
    assert [(pool.until, list(pool.ids)) for pool in pools] == [(2 / 6, ["a2"]), (4 / 6, ["a1"]), (1.0, ["a0"])]


def write_solutions(path: Path, lengths: list[int]) -> str:
    """One solution of each length, in numbered steps."""
    rows = []
    for number, length in enumerate(lengths):
        steps = [f"{k + 1}. **Step {k}** {number}+{k}={number + k}" for k in range(length - 1)]
        steps.append(f"{length}. **Conclude** The answer is \\boxed{{{number}}}.")
        rows.append({"id": f"t{number}", "problem": f"Problem {number}?", "solution": "\n\n".join(steps)})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_staged_starts_of_a_file_of_different_lengths(tmp_path: Path) -> None:
    """Drawn as in a stage: at each progress what is given is what the stage says, at the end nothing."""
    lengths = [2, 3, 7, 12]
    config = StageConfig(
        kind="rlvr",
        data=DataConfig(
            train=write_solutions(tmp_path / "a.jsonl", lengths),
            num_validation_trajectories=0,
            starts="staged",
            num_start_stages=3,
        ),
        sampling=SamplingConfig(max_completion_tokens=32),
    )
    training = build_stage("s", config, seed=0).stage.training
    assert len(training) == sum(lengths)
    steps = [example.step for example in training]
    positions = [(step.trajectory_id, step.step_index) for step in steps if step is not None]
    pools = sliding_starts([example.example_id for example in training], positions, 3)
    stream = ExampleStream(training, seed=0, num_epochs=20, pools=pools)
    seen: dict[float, set[tuple[int, int]]] = {}
    for progress in (0.0, 0.33, 0.4, 0.66, 0.67, 0.99, 1.0):
        stream.begin(progress)
        drawn = stream.draw(40)
        for example in drawn:
            assert example.step is not None
            length, k = example.step.num_steps, example.step.step_index
            seen.setdefault(progress, set()).add((length, k))
            assert example.prompt.assistant_prefix.count("**Step") == k
    assert seen[0.0] == seen[0.33] == {(3, 2), (7, 5), (7, 6), (12, 8), (12, 9), (12, 10), (12, 11)}
    assert seen[0.4] == seen[0.66]
    assert {k for length, k in seen[0.4] if length == 12} == {1, 2, 3, 4, 5, 6, 7}
    assert {k for length, k in seen[0.4] if length == 2} == {1}
    assert seen[0.67] == seen[0.99] == seen[1.0] == {(2, 0), (3, 0), (7, 0), (12, 0)}
