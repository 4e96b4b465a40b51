"""The outcome gate finishes what the action began, grades it, and never turns a failure into a number."""

from dataclasses import replace

import pytest
from tiny import example

from srl.completion_rewards import Scoring
from srl.engines.scripted import ScriptedEngine
from srl.errors import DataError, RewardError
from srl.outcome_gate import OutcomeGate
from srl.parsing import parse_step
from srl.prompts import PromptTexts
from srl.rollouts import roll_out
from srl.training_examples import rest_of_solution
from srl.types import Completion, SamplingParams, Source, StepExample, TrainingExample, Ungraded

STEP = StepExample(
    trajectory_id="t",
    step_index=1,
    num_steps=3,
    problem="Add 1, 2 and 3.",
    context=("1. **Start** 1 + 2 = 3",),
    title="Go on",
    target_action="2. **Go on** 3 + 3 = 6",
    target_body="3 + 3 = 6",
    answer="6",
    source=Source(file="f", row=0),
)
TEXTS = PromptTexts(solve_system="solve", context_heading="So far:")
SAMPLING = SamplingParams(temperature=1.0, max_completion_tokens=200)


def right_if_equal(solution, answer):
    return float(solution.rpartition("=")[2].strip().strip("\\boxed{}") == answer)


def prompt(step, action):
    return rest_of_solution(step, action, context_in="assistant", title_in_prompt=False, texts=TEXTS)


def gate(mode="gate", weight=0.5, **options):
    options = {"prompt": prompt, "reward": right_if_equal, "max_completion_tokens": 100} | options
    return OutcomeGate(mode=mode, weight=weight, **options)


def training_example():
    return TrainingExample(example_id="t#1", prompt=example(0).prompt, target=STEP.target_action, step=STEP)


def sample(the_gate, actions, endings, *, examples=None, drop_errors=False):
    """One group with these actions; a rest is written by the script that ``endings`` holds for its last line."""

    def reply(asked, index):
        if not asked.assistant_prefix:
            return f"<think></think>{actions[index]}"
        return endings[asked.assistant_prefix.strip().rpartition("\n")[2]]

    engine = ScriptedEngine(reply)
    scoring = Scoring(parse=parse_step, reward=lambda action, target: 0.8, format_penalty=-1.0, gate=the_gate,
                      drop_errors=drop_errors)  # fmt: skip
    size = len(actions)
    examples = examples or [training_example()]
    group, *_ = roll_out(examples, engine, scoring, group_size=size, sampling=SAMPLING, seed=0)
    return group, engine


def test_a_wrong_outcome_takes_away_the_weight_of_the_reward():
    group, engine = sample(gate(weight=0.75), ["good", "bad"], {"good": "3 = 6", "bad": "3 = 7"})
    assert group.rewards == (0.8, 0.8 * (1 - 0.75))
    assert [rollout.outcome for rollout in group.rollouts] == [1.0, 0.0]
    assert engine.num_calls == 2


def test_a_blend_is_the_weighted_mean():
    group, _ = sample(gate("blend", 0.25), ["good", "bad"], {"good": "3 = 6", "bad": "3 = 7"})
    assert group.rewards == pytest.approx((0.75 * 0.8 + 0.25, 0.75 * 0.8))


def test_the_rest_is_asked_for_after_the_context_and_the_action():
    asked = prompt(STEP, "2. **Go on** 3 + 3 = 6")
    assert asked.messages[0]["content"] == "solve"
    assert asked.assistant_prefix == "1. **Start** 1 + 2 = 3\n\n2. **Go on** 3 + 3 = 6\n\n"
    titled = rest_of_solution(STEP, "3 + 3 = 6", context_in="user", title_in_prompt=True, texts=TEXTS)
    assert titled.assistant_prefix == ""
    assert titled.messages[1]["content"].endswith("So far:\n\n1. **Start** 1 + 2 = 3\n\n2. **Go on**\n3 + 3 = 6")


def test_an_action_with_a_final_answer_is_graded_as_it_is_and_equal_actions_once():
    group, engine = sample(gate(), ["so = \\boxed{6}", "good", "good"], {"good": "3 = 6"})
    assert [rollout.outcome for rollout in group.rollouts] == [1.0, 1.0, 1.0]
    assert [rollout.num_finishing_tokens for rollout in group.rollouts] == [0, len("3 = 6") + 1, 0]
    assert engine.num_calls == 2


def test_broken_formats_are_not_finished_and_cut_endings_are_wrong():
    group, _ = sample(gate(max_completion_tokens=4), ["good", ""], {"good": "and so on = 6"})
    assert group.rewards == (0.4, -1.0)
    assert group.rollouts[1].outcome is None


def test_an_expert_finishes_in_place_of_the_policy_and_may_fail():
    asked = []

    def expert(prompts):
        asked.extend(prompts)
        done = Completion(text="= 6", token_ids=(), finish_reason="stop")
        return [done if "good" in item.assistant_prefix else Ungraded(reason="timeout") for item in prompts]

    group, engine = sample(gate(expert=expert), ["good", "bad"], {})
    assert engine.num_calls == 1
    assert len(asked) == 2
    assert group.rewards == (0.8,)
    assert [rollout.reason for rollout in group.ungraded] == ["timeout"]


def test_an_ungraded_outcome_leaves_the_rollout_out():
    class Killed:
        def __call__(self, solution, answer):
            raise AssertionError

        def many(self, pairs):
            return [Ungraded(reason="deadline") if "7" in text else 1.0 for text, _ in pairs]

    group, _ = sample(gate(reward=Killed()), ["good", "bad"], {"good": "6", "bad": "7"})
    assert group.rewards == (0.8,)
    assert group.ungraded[0].num_finishing_tokens == 2


def test_without_a_final_answer_there_is_no_outcome():
    with pytest.raises(DataError, match="e0 has no final answer"):
        gate().outcomes(
            [(example(0), "x")], ScriptedEngine(lambda prompt, index: "x"), seed=0, grade=lambda pairs, ids: []
        )


def test_when_no_outcome_at_all_can_be_graded_the_run_stops():
    class Dead:
        def __call__(self, solution, answer):
            raise AssertionError

        def many(self, pairs):
            return [Ungraded(reason="crash")] * len(pairs)

    examples = [replace(training_example(), example_id=f"t{number}#1") for number in range(8)]
    with pytest.raises(RewardError, match=r"none of 16 well-formed completions could be graded \(\{'crash': 16\}\)"):
        sample(gate(reward=Dead()), ["one", "two"], {"one": "= 6", "two": "= 6"}, examples=examples)


@pytest.mark.parametrize("drop_errors", [False, True])
@pytest.mark.parametrize("bad", [float("nan"), 2.0, KeyError("grader")])
def test_errors_of_the_grader_have_the_examples_id_or_are_left_out(bad, drop_errors):
    def reward(solution, answer):
        if "7" not in solution:
            return 1.0
        if isinstance(bad, Exception):
            raise bad
        return bad

    endings = {"good": "= 6", "bad": "= 7"}
    if not drop_errors:
        with pytest.raises(RewardError, match="on example t#1"):
            sample(gate(reward=reward), ["good", "bad"], endings)
        return
    group, _ = sample(gate(reward=reward), ["good", "bad"], endings, drop_errors=True)
    assert group.rewards == (0.8,)
    assert [rollout.reason for rollout in group.ungraded] == ["error"]


def test_what_leaves_no_room_for_an_ending_is_ungraded():
    short = ScriptedEngine(lambda prompt, index: "").count_prompt_tokens(prompt(STEP, "good"))
    group, _ = sample(gate(max_prompt_tokens=short), ["good", "a longer one"], {"good": "= 6"})
    assert group.rewards == (0.8,)
    assert [rollout.reason for rollout in group.ungraded] == ["too_long"]


def test_endings_are_greedy_and_have_a_seed_of_their_own():
    class Spy(ScriptedEngine):
        calls = ()

        def generate(self, prompts, **options):
            self.calls += (options,)
            return super().generate(prompts, **options)

    engine = Spy(lambda asked, index: "= 6" if asked.assistant_prefix else "<think></think>good")
    scoring = Scoring(parse=parse_step, reward=lambda action, target: 0.8, format_penalty=-1.0, gate=gate())
    for seed in (1, 2):
        roll_out([training_example()], engine, scoring, group_size=1, sampling=SAMPLING, seed=seed)
    assert [call["sampling"].temperature for call in engine.calls] == [1.0, 0.0, 1.0, 0.0]
    assert len({call["seed"] for call in engine.calls}) == 4
