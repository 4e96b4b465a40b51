"""Completions become rewards: the penalty for a broken format, and never a reward from an error of ours."""

import math

import pytest
from tiny import example

from srl.engines.scripted import ScriptedEngine
from srl.errors import RewardError
from srl.parsing import parse_step
from srl.rewards.similarity import similarity_reward
from srl.rollouts import Scoring, roll_out
from srl.types import ParseStatus, SamplingParams

SAMPLING = SamplingParams(temperature=1.0, max_completion_tokens=60)
REPLIES = ["<think>a</think>seven times six", "<think>a</think>seven", "no tags", "<think>a</think>" + "x" * 60]


def sample(reward, replies=REPLIES):
    scoring = Scoring(parse=parse_step, reward=reward, format_penalty=-1.0)
    engine = ScriptedEngine(lambda prompt, index: replies[index])
    return roll_out([example(0), example(1)], engine, scoring, group_size=len(replies), sampling=SAMPLING, seed=0)


def test_well_formed_completions_earn_their_similarity_and_others_the_penalty():
    first, second = sample(similarity_reward(autojunk=False, first_argument="action"))
    assert first.rewards == second.rewards == (1.0, 2 * 5 / (5 + 15), -1.0, -1.0)
    statuses = [rollout.parsed.status for rollout in first.rollouts]
    assert statuses == [ParseStatus.OK, ParseStatus.OK, ParseStatus.MISSING_THINK, ParseStatus.TRUNCATED]
    assert [first.example.example_id, second.example.example_id] == ["e0", "e1"]


def test_the_reward_never_sees_the_monologue_or_a_broken_completion():
    seen = []

    def reward(action, target):
        seen.append((action, target))
        return 0.5

    sample(reward)
    assert seen == [("seven times six", "seven times six"), ("seven", "seven times six")] * 2


def test_a_reward_that_raises_stops_the_run_with_the_examples_id():
    def broken(action, target):
        raise ZeroDivisionError("division by zero")

    with pytest.raises(RewardError, match="ZeroDivisionError on example e0"):
        sample(broken)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_no_finite_number_is_an_error(value):
    with pytest.raises(RewardError, match="must be a finite number"):
        sample(lambda action, target: value)
