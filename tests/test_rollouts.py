"""Completions become rewards: the penalty for a broken format, and never a reward from an error of ours."""

import math
import time

import numpy as np
import pytest
from tiny import example

from srl.engines.scripted import ScriptedEngine
from srl.errors import ConfigError, RewardError, SRLError
from srl.parsing import parse_step
from srl.rewards.shaping import thresholded, weighted_sum
from srl.rewards.similarity import similarity_reward
from srl.rollouts import Scoring, roll_out
from srl.types import ParseStatus, SamplingParams, Ungraded

SAMPLING = SamplingParams(temperature=1.0, max_completion_tokens=60)
REPLIES = ["<think>a</think>seven times six", "<think>a</think>seven", "no tags", "<think>a</think>" + "x" * 60]


def sample(reward, replies=REPLIES, num_examples=2, **options):
    scoring = Scoring(parse=parse_step, reward=reward, format_penalty=-1.0, **options)
    engine = ScriptedEngine(lambda prompt, index: replies[index])
    return roll_out(
        [example(index) for index in range(num_examples)],
        engine,
        scoring,
        group_size=len(replies),
        sampling=SAMPLING,
        seed=0,
    )


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


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.1, 1.0000001, None, "0.5", [0.5]])
def test_a_reward_that_is_no_number_in_0_to_1_is_an_error(value):
    with pytest.raises(RewardError, match=r"reward of example e0 is .*must be a number in \[0, 1\]"):
        sample(lambda action, target: value)


@pytest.mark.parametrize("value", [0, 1, True, np.float32(0.5), np.float64(1.0)])
def test_every_kind_of_number_becomes_a_float(value):
    (rollout, *_), _ = (group.rollouts for group in sample(lambda action, target: value))
    assert type(rollout.reward) is float
    assert rollout.reward == value


class ManyRewards:
    """A reward that sees all pairs at once and answers by a script."""

    def __init__(self, answer):
        self.calls, self._answer = [], answer

    def __call__(self, action, target):
        raise AssertionError("many is there to be called")

    def many(self, pairs):
        self.calls.append(list(pairs))
        return [self._answer(action) for action, _ in pairs]


def test_a_reward_with_many_gets_all_pairs_of_a_part_at_once():
    reward = ManyRewards(lambda action: 0.5)
    groups = sample(reward)
    assert [len(call) for call in reward.calls] == [4]  # two groups with two well-formed completions each
    assert groups[0].rewards == (0.5, 0.5, -1.0, -1.0)


def test_what_cannot_be_graded_is_left_out_and_never_a_number():
    first, _ = sample(ManyRewards(lambda action: Ungraded(reason="deadline") if action == "seven" else 0.25))
    assert first.rewards == (0.25, -1.0, -1.0)
    (left_out,) = first.ungraded
    assert (left_out.reason, left_out.parsed.action, left_out.completion.text) == ("deadline", "seven", REPLIES[1])
    assert len(first.sampled) == 4


def test_when_nothing_at_all_can_be_graded_the_run_stops():
    replies = ["<think>a</think>one"] * 8
    with pytest.raises(RewardError, match=r"none of 64 well-formed completions could be graded \(\{'crash': 64\}\)"):
        sample(ManyRewards(lambda action: Ungraded(reason="crash")), replies, num_examples=8)


def test_a_few_examples_that_hang_every_grading_do_not_stop_the_run():
    groups = sample(ManyRewards(lambda action: Ungraded(reason="deadline")), ["<think>a</think>one"] * 16)
    assert [(len(group.rollouts), len(group.ungraded)) for group in groups] == [(0, 16), (0, 16)]


def fails_on_seven(action):
    if action == "seven":
        raise KeyError("no such word")
    return 0.75


@pytest.mark.parametrize("reward", [lambda action, target: fails_on_seven(action), ManyRewards(fails_on_seven)])
def test_errors_are_dropped_and_counted_if_the_recipe_says_so(reward, caplog):
    first, second = sample(reward, drop_errors=True)
    assert first.rewards == second.rewards == (0.75, -1.0, -1.0)
    assert [rollout.reason for rollout in (*first.ungraded, *second.ungraded)] == ["error", "error"]
    assert "example e0, which is left out" in caplog.text


def test_one_bad_pair_among_many_is_named():
    with pytest.raises(RewardError, match="KeyError on example e0"):
        sample(ManyRewards(fails_on_seven))


def test_an_endpoint_that_cannot_be_used_is_no_examples_fault():
    def dead(action):
        raise ConfigError("no key")

    reward = ManyRewards(dead)
    with pytest.raises(ConfigError, match="no key"):
        sample(reward, drop_errors=True)
    assert len(reward.calls) == 1


class PartsEngine(ScriptedEngine):
    """Hands over the last prompt first, each in a part of its own, and notes what was rewarded by then."""

    def __init__(self, reply, rewarded):
        super().__init__(reply)
        self.rewarded, self.seen = rewarded, []

    def stream(self, prompts, **options):
        generations = self.generate(prompts, **options)
        for index in reversed(range(len(prompts))):
            yield {index: generations[index]}
            deadline = time.monotonic() + 10  # rewards are computed while the engine works on the next part
            while len(self.rewarded.calls) < len(prompts) - index and time.monotonic() < deadline:
                time.sleep(0.001)
            self.seen.append(len(self.rewarded.calls))


def test_rewards_are_computed_while_a_streaming_engine_samples():
    reward = ManyRewards(lambda action: 0.5 if action == "seven" else 1.0)
    engine = PartsEngine(lambda prompt, index: REPLIES[index], reward)
    scoring = Scoring(parse=parse_step, reward=reward, format_penalty=-1.0)
    examples = [example(0), example(1), example(2)]
    groups = roll_out(examples, engine, scoring, group_size=4, sampling=SAMPLING, seed=0)
    assert engine.seen == [1, 2, 3]
    assert [group.example for group in groups] == examples
    assert {group.rewards for group in groups} == {(1.0, 0.5, -1.0, -1.0)}
    assert (
        groups[2].prompt_token_ids
        == engine.generate([examples[2].prompt], num_samples=1, sampling=SAMPLING, seed=0)[0].prompt_token_ids
    )


def test_only_the_pair_that_is_to_blame_is_asked_for_alone():
    reward = ManyRewards(fails_on_seven)
    sample(reward, ["<think>a</think>one"] * 7 + ["<think>a</think>seven"], num_examples=1, drop_errors=True)
    assert [len(call) for call in reward.calls] == [8, 4, 4, 2, 2, 1, 1]


def test_too_few_rewards_are_an_error():
    class Short(ManyRewards):
        def many(self, pairs):
            return super().many(pairs)[1:]

    with pytest.raises(RewardError, match="ValueError on example e0"):
        sample(Short(lambda action: 0.5))


class LateEngine(ScriptedEngine):
    """Hands over one prompt after the other, and waits until the reward of the first has been computed."""

    num_parts = 0

    def stream(self, prompts, **options):
        for index, generation in enumerate(self.generate(prompts, **options)):
            self.num_parts += 1
            yield {index: generation}
            time.sleep(0.2)


def test_a_reward_that_fails_ends_the_sampling():
    engine = LateEngine(lambda prompt, index: "<think>a</think>seven")
    scoring = Scoring(parse=parse_step, reward=lambda action, target: fails_on_seven(action), format_penalty=-1.0)
    examples = [example(index) for index in range(9)]
    with pytest.raises(RewardError, match="KeyError on example e0"):
        roll_out(examples, engine, scoring, group_size=1, sampling=SAMPLING, seed=0)
    assert engine.num_parts < 9


def test_an_engine_that_hands_over_too_few_completions_is_refused():
    class Short(ScriptedEngine):
        def generate(self, prompts, *, num_samples, **options):
            return super().generate(prompts, num_samples=num_samples - 1, **options)

    scoring = Scoring(parse=parse_step, reward=lambda action, target: 0.5, format_penalty=-1.0)
    engine = Short(lambda prompt, index: REPLIES[0])
    with pytest.raises(SRLError, match="handed over 3 completions of prompt 0, where 4 were asked for"):
        roll_out([example(0)], engine, scoring, group_size=4, sampling=SAMPLING, seed=0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -3.0, 5.0])
@pytest.mark.parametrize("shape", ["sum", "thresholds"])
def test_sums_and_thresholds_hide_no_error(bad, shape):
    parts = {"own": (1.0, lambda action, target: bad), "other": (1.0, lambda action, target: 1.0)}
    reward = weighted_sum(parts) if shape == "sum" else thresholded(parts["own"][1], 0.4, 0.9)
    with pytest.raises(RewardError, match=r"example e0: .* is (nan|inf|-3\.0|5\.0); it must be a number in \[0, 1\]"):
        sample(reward)
