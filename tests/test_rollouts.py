"""Completions become rewards: the penalty for a broken format, and never a reward from an error of ours."""

import math
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import example

import srl.rollouts
from srl.completion_rewards import Scoring
from srl.engines.scripted import ScriptedEngine
from srl.errors import ConfigError, RewardError, SRLError
from srl.parsing import parse_step
from srl.rewards.shaping import thresholded, weighted_sum
from srl.rewards.similarity import similarity_reward
from srl.rollouts import roll_out, stream_groups
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
        generations = self.generate(list(prompts), **options)
        for index in reversed(range(len(generations))):
            yield {index: generations[index]}
            deadline = time.monotonic() + 10  # rewards are computed while the engine works on the next part
            while len(self.rewarded.calls) < len(generations) - index and time.monotonic() < deadline:
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


class TickingEngine(ScriptedEngine):
    """Has room for some prompts at a time; the n-th one takes ``ticks[n]`` ticks, over and over."""

    def __init__(self, ticks, num_slots, reply=lambda prompt, index: REPLIES[index]):
        super().__init__(reply)
        self._ticks, self._num_slots = ticks, num_slots
        self.num_taken, self.num_stopped, self.num_ticks = 0, 0, 0

    def stream(self, prompts, **options):
        running, has_ended = {}, False
        try:
            while running or not has_ended:
                is_blocked = False
                while len(running) < self._num_slots and not has_ended and not is_blocked:
                    prompt = next(prompts, "end")
                    has_ended, is_blocked = prompt == "end", prompt is None
                    if not has_ended and not is_blocked:
                        (generation,) = self.generate([prompt], **options)
                        running[self.num_taken] = [self._ticks[self.num_taken % len(self._ticks)], generation]
                        self.num_taken += 1
                if not running:
                    if is_blocked:
                        yield {}
                    continue
                self.num_ticks += 1
                for item in running.values():
                    item[0] -= 1
                done = {place: running.pop(place)[1] for place in list(running) if running[place][0] == 0}
                if done:
                    yield done
        finally:
            self.num_stopped = len(running)


def scoring_by(reward=None, **options):
    reward = reward or (lambda action, target: len(action) / 100)
    return Scoring(parse=parse_step, reward=reward, format_penalty=-1.0, **options)


def stream(feed, engine, scoring=None, group_size=4, **options):
    return stream_groups(
        feed, engine, scoring or scoring_by(), group_size=group_size, sampling=SAMPLING, seed=0, **options
    )


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(1, 5), st.integers(0, 12))
def test_a_stream_of_any_timing_gives_what_a_list_gives(ticks, num_slots, num_examples):
    examples = [example(index) for index in range(num_examples)]
    parts = list(stream(iter(examples), TickingEngine(ticks, num_slots)))
    handed = [place for part in parts for place in part.groups]
    assert sorted(handed) == list(range(num_examples))
    found = {place: group for part in parts for place, group in part.groups.items()}
    plain = ScriptedEngine(lambda prompt, index: REPLIES[index])
    listed = roll_out(examples, plain, scoring_by(), group_size=4, sampling=SAMPLING, seed=0)
    assert [found[place] for place in range(num_examples)] == listed
    ticking = TickingEngine(ticks, num_slots)
    assert roll_out(examples, ticking, scoring_by(), group_size=4, sampling=SAMPLING, seed=0) == listed


def test_groups_are_known_one_part_later_however_fast_their_rewards_are():
    engine = TickingEngine([2, 1, 5], 3)
    seen = []
    for part in stream(iter([example(index) for index in range(3)]), engine):
        seen.append((sorted(part.groups), engine.num_ticks))
    assert seen == [([1], 2), ([0], 5), ([2], 5)]  # of prompts that ended with ticks 1, 2 and 5


def test_a_feed_that_waits_for_the_groups_is_asked_again_when_they_are_known():
    engine = TickingEngine([1], 4)
    groups = {}

    def feed():
        for index in range(6):
            while len(groups) < index // 2 * 2:  # two at a time
                yield None
            yield example(index)

    for part in stream(feed(), engine):
        groups |= part.groups
    assert sorted(groups) == [0, 1, 2, 3, 4, 5]
    listing = ScriptedEngine(lambda prompt, index: REPLIES[index])
    groups.clear()
    for part in stream(feed(), listing):
        groups |= part.groups
    assert (sorted(groups), listing.num_calls) == ([0, 1, 2, 3, 4, 5], 3)


def test_closing_the_stream_stops_what_is_in_flight():
    engine = TickingEngine([1, 9, 9], 3)
    parts = stream((example(index) for index in range(99)), engine)
    next(parts)
    parts.close()
    assert engine.num_stopped == 2
    assert engine.num_taken < 9


def test_a_reward_that_fails_stops_what_is_in_flight():
    engine = TickingEngine([1, 9, 9], 3, lambda prompt, index: "<think>a</think>seven")
    scoring = scoring_by(lambda action, target: fails_on_seven(action))
    with pytest.raises(RewardError) as caught:
        list(stream((example(index) for index in range(99)), engine, scoring, group_size=1))
    assert engine.num_stopped == 2
    assert caught.tb is not None  # which holds the generators; they were closed all the same


def test_a_feed_with_nothing_while_nothing_runs_is_an_error_and_no_endless_loop():
    with pytest.raises(SRLError, match="the feed has no example although nothing is being sampled"):
        list(stream(iter([None, example(0)]), ScriptedEngine(lambda prompt, index: REPLIES[index])))


def test_an_engine_that_loses_a_prompt_is_refused():
    class Forgetful(TickingEngine):
        def stream(self, prompts, **options):
            yield from (part for part in super().stream(prompts, **options) if 1 not in part)

    with pytest.raises(SRLError, match="took 3 prompts and handed over 2"):
        list(stream(iter([example(index) for index in range(3)]), Forgetful([1], 1)))


def test_the_time_that_sampling_stood_still_for_rewards_is_measured(monkeypatch):
    """By a clock that only the reward moves, and that moves only while it is waited for."""
    now, is_waited_for = [0.0], threading.Event()

    def clock():
        before = now[0]
        is_waited_for.set()
        return before

    def slow(action, target):
        assert is_waited_for.wait(10)
        now[0] += 7.0
        return 0.5

    monkeypatch.setattr(srl.rollouts, "time", SimpleNamespace(perf_counter=clock))
    (part,) = stream(iter([example(0)]), TickingEngine([1], 1), scoring_by(slow), group_size=1)
    assert part.reward_seconds == 7.0


class SlowReward(ManyRewards):
    """``many`` waits: the first call until ``go`` is set, all others for ``seconds``."""

    def __init__(self, answer=lambda action: 0.5, seconds=0.0):
        super().__init__(answer)
        self.go, self.has_begun, self._seconds = threading.Event(), threading.Event(), seconds
        self.num_running, self.most_running = 0, 0

    def many(self, pairs):
        self.num_running += 1
        self.most_running = max(self.most_running, self.num_running)
        self.has_begun.set()
        try:
            time.sleep(self._seconds)
            assert self.go.wait(20)
            return super().many(pairs)
        finally:
            self.num_running -= 1

    def take_until_running(self, parts):
        """Takes parts until one is handed over while a call for later ones runs."""
        for _ in parts:
            time.sleep(0.02)
            if self.num_running:
                return


class OneByOne(ScriptedEngine):
    """Hands over one prompt at a time, and calls ``at_end`` after the last one."""

    def __init__(self, reply, at_end=lambda: None):
        super().__init__(reply)
        self._at_end = at_end

    def stream(self, prompts, **options):
        for place, prompt in enumerate(prompts):
            yield {place: self.generate([prompt], **options)[0]}
        self._at_end()


def test_a_slow_reward_is_called_once_for_all_that_waits():
    reward = SlowReward()
    engine = OneByOne(lambda prompt, index: REPLIES[index], at_end=reward.go.set)
    examples = [example(index) for index in range(64)]
    groups = roll_out(examples, engine, scoring_by(reward), group_size=1, sampling=SAMPLING, seed=0)
    assert len(reward.calls) <= 2  # what was there when the first call began, and all the rest
    assert sum(map(len, reward.calls)) == 64
    assert [group.example for group in groups] == examples
    assert {group.rewards for group in groups} == {(0.5,)}


def test_a_feed_that_depends_on_the_groups_waits_for_few_calls_of_a_slow_reward():
    reward = SlowReward(seconds=0.05)
    reward.go.set()
    engine = OneByOne(lambda prompt, index: REPLIES[index])
    feed = (example(index) for index in range(64))
    parts = list(stream(feed, engine, scoring_by(reward), group_size=1, lag=16))
    assert [sorted(part.groups) for part in parts] == [*([place] for place in range(48)), [*range(48, 64)]]
    assert len(reward.calls) <= 20


def test_parts_that_are_scored_together_get_their_own_rewards_and_errors():
    def reply(prompt, index):
        number = engine.num_calls
        return "no tags" if number % 3 == 0 else f"<think>a</think>{'x' * number}"

    def answer(action):
        if len(action) == 32:
            raise KeyError("x")
        return len(action) / 100

    examples = [example(index) for index in range(40)]
    for drop_errors in (False, True):
        reward = SlowReward(answer)
        engine = OneByOne(reply, at_end=reward.go.set)
        scoring = scoring_by(reward, drop_errors=drop_errors)
        if not drop_errors:
            with pytest.raises(RewardError, match="KeyError on example e31:"):
                roll_out(examples, engine, scoring, group_size=1, sampling=SAMPLING, seed=0)
            continue
        groups = roll_out(examples, engine, scoring, group_size=1, sampling=SAMPLING, seed=0)
        expected = [-1.0 if number % 3 == 0 else number / 100 for number in range(1, 41) if number != 32]
        assert groups[31].rewards == ()
        assert [reward for group in groups for reward in group.rewards] == expected


def test_a_closed_stream_waits_for_the_running_call_and_drops_the_rest():
    """So that two calls of one reward never overlap."""
    reward = SlowReward(seconds=0.2)
    reward.go.set()
    for _ in range(3):
        engine = OneByOne(lambda prompt, index: REPLIES[index])
        with closing(
            stream((example(index) for index in range(99)), engine, scoring_by(reward), group_size=1)
        ) as parts:
            reward.take_until_running(parts)
        assert reward.num_running == 0
    assert reward.most_running == 1
    assert sum(map(len, reward.calls)) < 3 * 99


def test_an_error_of_the_consumer_or_the_engine_waits_for_no_reward():
    class BrokenEngine(OneByOne):
        def stream(self, prompts, **options):
            yield from super().stream(prompts, **options)
            assert reward.has_begun.wait(20)
            raise KeyboardInterrupt

    reward = SlowReward()
    with pytest.raises(KeyboardInterrupt):
        list(stream(iter([example(0)]), BrokenEngine(lambda prompt, index: REPLIES[index]), scoring_by(reward), 1))
    assert reward.num_running == 1
    reward.go.set()

    later = SlowReward(seconds=0.2)
    later.go.set()

    def consume():
        feed = (example(index) for index in range(99))
        engine = OneByOne(lambda prompt, index: REPLIES[index])
        with closing(stream(feed, engine, scoring_by(later), group_size=1)) as parts:
            later.take_until_running(parts)
            later.go.clear()  # while it still sleeps
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume()
    assert later.num_running == 1
    later.go.set()


HANGING = """
import threading
from srl.completion_rewards import BackgroundScoring, Scoring
from srl.parsing import parse_step
from srl.types import Completion
from tiny import example

has_begun = threading.Event()

def hang(action, target):
    has_begun.set()
    threading.Event().wait()

background = BackgroundScoring(Scoring(parse=parse_step, reward=hang, format_penalty=-1.0))
completion = Completion(text="<think>a</think>seven", token_ids=(1,), finish_reason="stop")
background.submit([(completion, example(0))])
assert has_begun.wait(20)
background.close(wait=False)
print("done")
"""


def test_a_call_that_hangs_does_not_keep_the_program_from_ending():
    result = subprocess.run(
        [sys.executable, "-c", HANGING], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=120
    )
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr
