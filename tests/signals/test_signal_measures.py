"""The signals of one update, each with a value known by hand."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.config import StageConfig
from srl.data_config import DataConfig
from srl.metrics import DEFINITIONS
from srl.reward_config import RewardConfig
from srl.signals.measures import SignalSettings, settings_of_stage, signal_metrics
from srl.types import (
    ChatPrompt,
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

STEPS = SignalSettings(target="step", junk_text="")
PREVIOUS = "1. **Start** The train leaves at 7:45 and is 20 minutes late."
TARGET = "2. **Add** So it is there at 8:05, as the table says."
NEXT = "3. **Wait** The bus goes at 8:30, that is 25 minutes later."


def rollout(action: str, reward: float | None, status: ParseStatus = ParseStatus.OK) -> Rollout | UngradedRollout:
    parts: dict[str, Any] = {
        "completion": Completion(text=action, token_ids=(1,), finish_reason="stop"),
        "parsed": ParsedCompletion(status=status, monologue="", action=action),
    }
    return UngradedRollout(reason="deadline", **parts) if reward is None else Rollout(reward=reward, **parts)


def group(*sampled: Rollout | UngradedRollout, step_index: int = 1, is_last: bool = False) -> RolloutGroup:
    step = StepExample(
        trajectory_id="t", step_index=step_index, num_steps=3, problem="?", context=(PREVIOUS,)[:step_index], title="",
        target_action=TARGET, target_body=TARGET, answer="25", source=Source(file="f", row=0),
    )  # fmt: skip
    example = TrainingExample(
        example_id="t#1",
        prompt=ChatPrompt(messages=()),
        target=TARGET,
        step=step,
        next_action="" if is_last else NEXT,
    )
    return RolloutGroup(
        example=example,
        prompt_token_ids=(),
        rollouts=tuple(item for item in sampled if isinstance(item, Rollout)),
        ungraded=tuple(item for item in sampled if isinstance(item, UngradedRollout)),
    )


def test_every_signal_by_hand() -> None:
    groups = [
        group(
            rollout(PREVIOUS, 0.3),
            rollout(f"{TARGET}\n{NEXT}", 0.6),
            rollout(TARGET, 1.0),
            rollout(TARGET, None),
            rollout("", -1.0, ParseStatus.MISSING_THINK),
        ),
        group(rollout(TARGET, 1.0), rollout(TARGET + "!", 0.99), step_index=0, is_last=True),
    ]
    metrics = signal_metrics(groups, replace(STEPS, junk_text="action"))
    first = 0.5  # lengths rank 2, 3, 1 and rewards 1, 2, 3: a correlation of -0.5; the second group gives -1
    assert metrics == {
        "signals/context_copy_rate": 1 / 4,  # of the first group alone: the first step has no context
        "signals/several_steps_rate": 1 / 4,  # of the first group alone: the last step has no next one
        "signals/duplicate_rate": 2 / 6,  # the ungraded one counts, the broken one does not
        "signals/reward_length_correlation": pytest.approx((-first - 1.0) / 2),
        "signals/length_ratio": pytest.approx((1.0 + (len(TARGET) + 1) / len(TARGET)) / 2),  # three are shorter
        "signals/autojunk_rate": 0.0,
    }
    assert metrics.keys() <= DEFINITIONS.keys()


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        (STEPS, {"autojunk_rate"}),
        (SignalSettings(target="solution", junk_text=""), {"context_copy_rate", "several_steps_rate", "autojunk_rate"}),
        (
            SignalSettings(target="answer", junk_text=""),
            {"context_copy_rate", "several_steps_rate", "length_ratio", "autojunk_rate"},
        ),
    ],
)
def test_signals_that_do_not_apply_are_left_out(settings: SignalSettings, missing: set[str]) -> None:
    every = {key.removeprefix("signals/") for key in DEFINITIONS if key.startswith("signals/")}
    metrics = signal_metrics([group(rollout(TARGET, 1.0), rollout(PREVIOUS, 0.2))], settings)
    assert {key.removeprefix("signals/") for key in metrics} == every - missing


def test_nothing_well_formed_leaves_nothing() -> None:
    broken = group(rollout("", -1.0, ParseStatus.UNCLOSED_THINK))
    assert signal_metrics([broken], STEPS) == signal_metrics([], STEPS) == {}


@pytest.mark.parametrize(("length", "rate"), [(199, 0.0), (200, 1.0)])
@pytest.mark.parametrize("second", ["action", "target"])
def test_the_cliff_is_at_200_characters_of_the_second_argument(length: int, rate: float, second: Any) -> None:
    long, short = "x" * length, "x"
    action, target = (long, short) if second == "action" else (short, long)
    of_length = group(rollout(action, 0.5))
    of_length = replace(of_length, example=replace(of_length.example, target=target))
    settings = replace(STEPS, junk_text=second)
    assert signal_metrics([of_length], settings)["signals/autojunk_rate"] == rate


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ("step", "")),
        ({"reward": RewardConfig(autojunk=True)}, ("step", "target")),
        ({"reward": RewardConfig(autojunk=True, first_argument="target")}, ("step", "action")),
        ({"data": DataConfig(train="x", one_step=True)}, ("solution", "")),
        ({"kind": "rlvr"}, ("answer", "")),
    ],
)
def test_settings_come_from_the_recipe(settings: dict[str, Any], expected: tuple[str, str]) -> None:
    config = StageConfig(**({"kind": "srl", "data": DataConfig(train="x")} | settings))
    found = settings_of_stage(config)
    assert (found.target, found.junk_text) == expected


ACTION = st.sampled_from([PREVIOUS, TARGET, f"{TARGET}\n{NEXT}", "x", "another step"])
SAMPLED = st.builds(
    rollout, ACTION, st.none() | st.floats(0, 1), st.sampled_from([ParseStatus.OK, ParseStatus.TRUNCATED])
)


@given(st.lists(st.lists(SAMPLED, min_size=1, max_size=5), max_size=4), st.randoms(use_true_random=False))
def test_rates_are_rates_and_order_does_not_matter(sampled: list[list[Any]], rng: random.Random) -> None:
    metrics = signal_metrics([group(*rollouts) for rollouts in sampled], STEPS)
    for key, value in metrics.items():
        assert (-1.0 if "correlation" in key else 0.0) <= value
        assert value <= 1.0 or key == "signals/length_ratio"
    mixed = [rng.sample(rollouts, len(rollouts)) for rollouts in rng.sample(sampled, len(sampled))]
    again = signal_metrics([group(*rollouts) for rollouts in mixed], STEPS)
    assert again == pytest.approx(metrics)
