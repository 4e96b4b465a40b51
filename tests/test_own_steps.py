"""Contexts of the policy's own steps: what enters, where it stands, and what stays the expert's."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.engines.scripted import ScriptedEngine
from srl.own_steps import OwnSteps
from srl.prompts import PromptTexts
from srl.training_examples import MakeExample, mixed_in_problem, step_example
from srl.types import (
    Completion,
    ParsedCompletion,
    ParseStatus,
    Rollout,
    RolloutGroup,
    Source,
    StepExample,
    TrainingExample,
    UngradedRollout,
)

TEXTS = PromptTexts(step_system="next", solve_system="solve")
TITLES = ("Add", "Double", "Halve", "")
BODIES = ("2+3=5", "5*2=10", "10/2=5", "so it is 5")
EXPERT = tuple(f"{k + 1}. **{title}** {body}\n\n" if title else f"{body}\n\n"
               for k, (title, body) in enumerate(zip(TITLES, BODIES, strict=True)))  # fmt: skip
ASSISTANT = partial(step_example, context_in="assistant", title_in_prompt=False, texts=TEXTS)
USER = partial(step_example, context_in="user", title_in_prompt=False, texts=TEXTS)
TITLED = partial(step_example, context_in="assistant", title_in_prompt=True, texts=TEXTS)
COUNT = ScriptedEngine(lambda prompt, index: "").count_prompt_tokens


def step(index: int, trajectory: str = "t") -> StepExample:
    return StepExample(
        trajectory_id=trajectory, step_index=index, num_steps=5, problem="What is it?", context=EXPERT[:index],
        title=TITLES[index] if index < 4 else "", target_action=EXPERT[index].strip() if index < 4 else "done",
        target_body=BODIES[index] if index < 4 else "done", answer="5", source=Source(file="f", row=0),
    )  # fmt: skip


def asked(index: int, make: MakeExample = ASSISTANT, trajectory: str = "t") -> TrainingExample:
    shown = step(index, trajectory)
    return replace(make(shown), step=shown, next_action="what follows")


def rolled_out(example: TrainingExample, *outcomes: tuple[str, float], thought: str = "hm") -> RolloutGroup:
    """One well-formed rollout for each (action, reward)."""
    rollouts = tuple(
        Rollout(
            completion=Completion(text=action, token_ids=(1,), finish_reason="stop"),
            parsed=ParsedCompletion(status=ParseStatus.OK, monologue=thought, action=action),
            reward=reward,
        )
        for action, reward in outcomes
    )
    return RolloutGroup(example=example, prompt_token_ids=(1,), rollouts=rollouts)


def own_steps(make: MakeExample = ASSISTANT, **settings: Any) -> OwnSteps:
    settings = {"with_thoughts": False, "min_reward": 0.9, "after": 0.0, "max_prompt_tokens": 10_000} | settings
    return OwnSteps(make, count_tokens=settings.pop("count_tokens", COUNT), **settings)


def test_an_own_step_stands_in_place_of_the_experts_at_its_place_and_nowhere_else() -> None:
    own = own_steps()
    own.record([rolled_out(asked(1), ("2. **Double** 5+5=10", 0.95))])
    own.begin(0.0)
    first, second, third, fourth = own.apply([asked(index) for index in range(4)])
    assert [first, second] == [asked(0), asked(1)]
    assert third.prompt.assistant_prefix == "1. **Add** 2+3=5\n\n2. **Double** 5+5=10\n\n"
    assert fourth.prompt.assistant_prefix == "1. **Add** 2+3=5\n\n2. **Double** 5+5=10\n\n3. **Halve** 10/2=5\n\n"
    assert (third.target, third.example_id, third.next_action) == (asked(2).target, "t#2", "what follows")
    assert third.step is not None
    assert third.step == replace(step(2), context=(EXPERT[0], "2. **Double** 5+5=10"))
    (other,) = own.apply([asked(3, trajectory="another")])
    assert other == asked(3, trajectory="another")


REWARDS = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 0.89, 0.9, 0.95, 1.0]), min_size=1, max_size=5)


@given(
    st.lists(st.tuples(st.sampled_from(["t", "u"]), st.integers(0, 3), REWARDS), max_size=8),
    st.sampled_from([-1.0, 0.5, 0.9, 1.0]),
)
def test_contexts_hold_the_newest_rollouts_that_are_good_enough(
    history: list[tuple[str, int, list[float]]], min_reward: float
) -> None:
    own = own_steps(min_reward=min_reward)
    best: dict[tuple[str, int], str] = {}
    for number, (trajectory, index, rewards) in enumerate(history):
        actions = [f"own {number}.{place}" for place in range(len(rewards))]
        group = rolled_out(asked(index, trajectory=trajectory), *zip(actions, rewards, strict=True))
        own.record([group])
        if max(rewards) >= min_reward:
            best[trajectory, index] = actions[rewards.index(max(rewards))]
    own.begin(0.5)
    num_own = 0
    for trajectory in ("t", "u"):
        for index in range(5):
            example = asked(min(index, 3), trajectory=trajectory)
            (made,) = own.apply([example])
            assert made.step is not None
            wanted = [best.get((trajectory, k), EXPERT[k]) for k in range(min(index, 3))]
            assert list(made.step.context) == wanted
            num_own += sum((trajectory, k) in best for k in range(min(index, 3)))
            assert made.prompt.assistant_prefix == "".join(f"{text.strip()}\n\n" for text in wanted)
    assert own.own_rate == pytest.approx(num_own / (2 * (0 + 1 + 2 + 3 + 3)))


def test_only_what_is_well_formed_and_graded_enters() -> None:
    own = own_steps(min_reward=-1.0)
    good = rolled_out(asked(0), ("well formed", -0.5))
    bad = replace(good.rollouts[0], parsed=ParsedCompletion(status=ParseStatus.STRAY_TAG, monologue="", action=""))
    ungraded = UngradedRollout(completion=bad.completion, parsed=good.rollouts[0].parsed, reason="deadline")
    own.record([replace(good, rollouts=(replace(bad, reward=1.0),), ungraded=(ungraded,))])
    own.record([replace(good, rollouts=())])
    assert own.state() == []
    own.record([replace(good, rollouts=(replace(bad, reward=1.0), *good.rollouts))])
    assert own.state() == [("t", 0, "well formed")]


def test_whole_problems_neither_enter_nor_change() -> None:
    shown = step(2)
    problem = replace(mixed_in_problem(shown, texts=TEXTS), step=shown)
    own = own_steps()
    own.record([rolled_out(problem, ("so \\boxed{5}", 1.0))])
    assert own.state() == []
    own.record([rolled_out(asked(0), ("mine", 1.0))])
    own.begin(0.0)
    assert own.apply([problem]) == [problem]
    assert own.own_rate == 0.0
    assert own.apply([replace(asked(2), step=None)]) == [replace(asked(2), step=None)]


def test_a_title_that_was_given_stands_before_the_own_body() -> None:
    own = own_steps(TITLED)
    own.record([rolled_out(asked(0, TITLED), ("3+2=5", 1.0)), rolled_out(asked(3, TITLED), ("thus 5", 1.0))])
    own.begin(0.0)
    (made,) = own.apply([asked(1, TITLED)])
    assert made.prompt.assistant_prefix == "1. **Add**\n3+2=5\n\n2. **Double**\n\n"
    assert ("t", 3, "thus 5") in own.state()  # the expert's step has no title
    plain = own_steps(ASSISTANT)  # here the action holds number and title itself
    plain.record([rolled_out(asked(0), ("1. **Sum up** 3+2=5", 1.0))])
    assert plain.state() == [("t", 0, "1. **Sum up** 3+2=5")]


def test_thoughts_stand_in_their_tags_before_the_step() -> None:
    own = own_steps(with_thoughts=True)
    own.record([rolled_out(asked(0), ("1. **Add** 3+2=5", 1.0), thought="three and two"),
                rolled_out(asked(2), ("5", 1.0), thought="")])  # fmt: skip
    own.begin(0.0)
    (made,) = own.apply([asked(3)])
    assert made.prompt.assistant_prefix == (
        "<think>three and two</think>1. **Add** 3+2=5\n\n2. **Double** 5*2=10\n\n<think></think>5\n\n"
    )


@pytest.mark.parametrize("make", [ASSISTANT, USER])
def test_a_prompt_over_the_limit_keeps_the_experts_context(make: MakeExample) -> None:
    long = "1. **Add** " + "2+3 is 3+2 is " * 5 + "5"
    own = own_steps(make)
    own.record([rolled_out(asked(0, make), (long, 1.0))])
    own.begin(0.0)
    (made,) = own.apply([asked(1, make)])
    length = COUNT(made.prompt)
    assert length > COUNT(asked(1, make).prompt)
    for limit, is_own in ((length, True), (length - 1, False)):
        limited = own_steps(make, max_prompt_tokens=limit)
        limited.restore(own.state())
        limited.begin(0.0)
        (made,) = limited.apply([asked(1, make)])
        assert (made != asked(1, make)) == is_own
        assert limited.own_rate == float(is_own)


def test_before_its_time_nothing_is_used_and_everything_is_collected() -> None:
    own = own_steps(after=0.5)
    own.begin(0.0)
    own.record([rolled_out(asked(0), ("mine", 1.0))])
    for progress, context in ((0.0, EXPERT[0]), (0.4999, EXPERT[0]), (0.5, "mine"), (1.0, "mine")):
        own.begin(progress)
        (made,) = own.apply([asked(1)])
        assert made.step is not None
        assert made.step.context == (context,)
        assert own.own_rate == float(context == "mine")


def test_the_rate_is_that_of_one_update() -> None:
    own = own_steps()
    own.record([rolled_out(asked(0), ("mine", 1.0))])
    own.begin(0.1)
    assert own.own_rate == 0.0
    own.apply([asked(1), asked(3)])
    assert own.own_rate == 2 / 4
    own.begin(0.2)
    own.apply([asked(0)])
    assert own.own_rate == 0.0


def test_of_an_agents_log_the_shown_rounds_are_replaced_and_not_the_first_ones() -> None:
    """Its prompt shows the last rounds only."""
    shown = replace(
        step(3), kind="agent", context=("ls", "cat a"), observations=("a", "text"), title="", target_action="rm a",
        target_body="rm a",
    )  # fmt: skip
    example = replace(USER(shown), step=shown)
    own = own_steps(USER)
    for index, text in enumerate(("never shown", "ls .", "cat ./a")):
        own.record([rolled_out(asked(index, USER), (text, 1.0))])
    own.begin(0.0)
    (made,) = own.apply([example])
    assert made.step is not None
    assert made.step.context == ("ls .", "cat ./a")
    assert "### Action 2\nls .\n\n### Observation 2\na" in made.prompt.messages[1]["content"]


@given(st.lists(st.tuples(st.sampled_from("tu"), st.integers(0, 3), st.text(min_size=1, max_size=4)), max_size=9))
def test_a_restored_one_makes_the_same_contexts(history: list[tuple[str, int, str]]) -> None:
    own, copy = own_steps(), own_steps()
    for trajectory, index, action in history:
        own.record([rolled_out(asked(index, trajectory=trajectory), (action, 1.0))])
    copy.restore(json.loads(json.dumps(own.state())))
    assert copy.state() == own.state()
    for one in (own, copy):
        one.begin(0.0)
    examples = [asked(index, trajectory=trajectory) for trajectory in "tu" for index in range(4)]
    assert copy.apply(examples) == own.apply(examples)
    assert copy.own_rate == own.own_rate
