"""The shapes of the benchmarks are real: what the docstring of shapes.py says of them is so."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import shapes

from srl.parsing import parse_step
from srl.types import ParseStatus


@pytest.fixture(scope="module")
def small_data(shared_data, tmp_path_factory):
    """The first solutions and two logs, so that a tokenizer is trained in a second."""
    folder = tmp_path_factory.mktemp("data")
    lines = shared_data("math/amc_aime_solutions.jsonl").read_text("utf-8").splitlines(keepends=True)[:60]
    (folder / "math").mkdir()
    (folder / "math" / "amc_aime_solutions.jsonl").write_text("".join(lines), "utf-8")
    (folder / "swe" / "miniswe").mkdir(parents=True)
    for path in sorted(shared_data("swe/miniswe").glob("*.traj.json"))[:2]:
        (folder / "swe" / "miniswe" / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("shape", [shapes.MATH, shapes.AGENT])
def test_lengths_text_and_rewards(small_data, shape):
    groups = shapes.make_groups(shape, 3, drawn="random", group_size=8, seed=1, data=small_data)
    assert groups == shapes.make_groups(shape, 3, drawn="random", group_size=8, seed=1, data=small_data)
    low, high = shape.prompt_tokens
    tokenizer = shapes.load(shape, small_data).tokenizer
    for group in groups:
        lengths = [len(rollout.completion.token_ids) for rollout in group.rollouts]
        assert low <= len(group.prompt_token_ids) <= high
        assert shape.completion_tokens[0] <= min(lengths) < max(lengths) <= shape.completion_tokens[1]
        assert len(set(group.rewards)) == 8
        for rollout in group.rollouts:
            assert rollout.parsed == parse_step(tokenizer.decode(rollout.completion.token_ids[:-1]), "stop")
            assert rollout.parsed.status is ParseStatus.OK
            assert group.example.target.startswith(rollout.parsed.action[:20])
            assert rollout.completion.token_ids[-1] == tokenizer.eos_token_id


def test_all_examples_of_few_trajectories(small_data):
    groups = shapes.make_groups(shapes.MATH, 4, drawn="trajectories", group_size=2, seed=0, data=small_data)
    steps = [group.example.step for group in groups]
    assert len({step.trajectory_id for step in steps}) < len(steps)
    assert [step.step_index for step in steps if step.trajectory_id == steps[0].trajectory_id][:2] == [0, 1]


def test_tokens_survive_json(small_data):
    groups = shapes.make_groups(shapes.MATH, 2, drawn="random", group_size=3, seed=0, data=small_data)
    back = shapes.from_json(shapes.to_json(groups))
    assert shapes.to_json(back) == shapes.to_json(groups)
    assert shapes.num_tokens(back) == shapes.num_tokens(groups)
