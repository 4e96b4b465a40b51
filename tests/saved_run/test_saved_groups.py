"""What training writes of a group is what comes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srl.run_dir import RunDir
from srl.saved_run.groups import read_groups
from srl.saved_run.load import load_run
from srl.saved_run.settings import stage_settings
from srl.types import (
    ChatPrompt,
    Completion,
    FinishReason,
    ParsedCompletion,
    ParseStatus,
    Rollout,
    RolloutGroup,
    Source,
    StepExample,
    TrainingExample,
    UngradedRollout,
)


def parts(text: str, status: ParseStatus = ParseStatus.OK, finish_reason: FinishReason = "stop") -> dict[str, Any]:
    return {
        "completion": Completion(text=f"<think>hm</think>{text}", token_ids=(1, 2), finish_reason=finish_reason),
        "parsed": ParsedCompletion(status=status, monologue="hm", action=text if status is ParseStatus.OK else ""),
    }


def a_group(*, with_step: bool = True) -> RolloutGroup:
    step = StepExample(
        trajectory_id="t", step_index=2, num_steps=4, problem="?", context=("one\n", "two \ud800"), title="",
        target_action="three", target_body="three", answer="4", source=Source(file="f", row=0), kind="agent",
    )  # fmt: skip
    example = TrainingExample(
        example_id="t#2",
        prompt=ChatPrompt(messages=({"role": "user", "content": "?"},), assistant_prefix="so"),
        target="three",
        step=step if with_step else None,
        next_action="four" if with_step else "",
    )
    return RolloutGroup(
        example=example,
        prompt_token_ids=(1,),
        rollouts=(
            Rollout(reward=1.0, outcome=0.0, **parts("three")),
            Rollout(reward=0.999, outcome=1.0, **parts("three!")),
            Rollout(reward=-1.0, **parts("", ParseStatus.TRUNCATED, "length")),
        ),
        ungraded=(UngradedRollout(reason="deadline", **parts("9^9^9")),),
    )


@pytest.mark.parametrize(("advantages", "threshold", "by_format"), [
    ((1.0, 0.5, -1.5), 0.01, True),  # the two well-formed rewards are flat
    ((1.0, 0.5, -1.5), 0.0, False),
    (None, 0.01, False),  # rejected
])  # fmt: skip
def test_a_group_comes_back(
    tmp_path: Path, advantages: tuple[float, ...] | None, threshold: float, by_format: bool
) -> None:
    RunDir(tmp_path).save_rollouts("my-stage", 7, [(a_group(), advantages)], min_reward_std=threshold)
    notes: list[str] = []
    (group,) = read_groups(tmp_path / "rollouts" / "my-stage-00007.jsonl", "my-stage", notes)
    assert notes == []
    assert (group.stage, group.update, group.example_id, group.target) == ("my-stage", 7, "t#2", "three")
    assert (group.messages, group.assistant_prefix) == ((("user", "?"),), "so")
    assert (group.kind, group.context, group.next_action) == ("agent", ("one\n", "two \ud800"), "four")
    assert (group.is_kept, group.is_kept_by_format_only) == (advantages is not None, by_format)
    assert [rollout.action for rollout in group.rollouts] == ["three", "three!", ""]
    assert [rollout.reward for rollout in group.rollouts] == [1.0, 0.999, -1.0]
    assert [rollout.outcome for rollout in group.rollouts] == [0.0, 1.0, None]
    assert [rollout.advantage for rollout in group.rollouts] == list(advantages or [None] * 3)
    assert [rollout.status for rollout in group.rollouts] == ["ok", "ok", "truncated"]
    assert (group.rollouts[2].finish_reason, group.rollouts[0].monologue) == ("length", "hm")
    (lost,) = group.ungraded
    assert (lost.action, lost.reason, lost.reward, lost.status) == ("9^9^9", "deadline", None, "ok")


def test_what_does_not_apply_is_not_written(tmp_path: Path) -> None:
    group = a_group(with_step=False)
    RunDir(tmp_path).save_rollouts("s", 1, [(group, None)])
    record = json.loads((tmp_path / "rollouts" / "s-00001.jsonl").read_text())
    assert "step" not in record
    assert "outcome" not in record["rollouts"][2]
    assert "reward" not in record["ungraded"][0]


def test_a_group_that_nobody_could_grade_is_read_and_an_empty_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s-00001.jsonl"
    path.write_text('{"rollouts": [], "ungraded": [{"action": "x", "reason": "memory"}]}\n{"rollouts": []}\n')
    assert [len(group.ungraded) for group in read_groups(path, "s", [])] == [1]


def test_warnings_are_read_by_stage(new_run: Callable[..., Path]) -> None:
    path = new_run(num_updates={"srl": 1})
    more = [{"stage": "rlvr", "update": 2, "code": "truncated", "message": "cut"}, {"stage": "srl"}, {"message": 3}, 5]
    with (path / "warnings.jsonl").open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in more)
    run = load_run(path)
    shown = {stage: [(item.update, item.code) for item in items] for stage, items in run.warnings.items()}
    assert shown == {"srl": [(3, "context_copies")], "rlvr": [(2, "truncated")], "": [(0, "")]}
    assert [note for note in run.notes if "warnings.jsonl" in note] == [
        "warnings.jsonl: 1 line(s) could not be read and were skipped, first line 5."
    ]


def settings(reward: object, **more: Any) -> Any:
    return stage_settings({"stages": {"s": {"kind": "srl", "reward": reward} | more}}, "s")


def test_settings_are_those_of_the_recipe() -> None:
    found = settings(
        {
            "similarity": {"sequence": 3, "math": 1.0}, "autojunk": True, "first_argument": "target",
            "thresholds": [0.2, 0.8], "outcome": "gate", "outcome_weight": 0.25, "format_penalty": -0.5,
        }
    )  # fmt: skip
    assert found.similarity == {"sequence": 3.0, "math": 1.0}
    assert (found.autojunk, found.is_action_first, found.thresholds) == (True, False, (0.2, 0.8))
    assert (found.outcome, found.outcome_weight, found.format_penalty) == ("gate", 0.25, -0.5)
    assert (found.has_sequence, found.signals.junk_text, found.target) == (True, "action", "step")
    assert settings({"similarity": "words"}).has_sequence is False
    assert settings({}, data={"one_step": True}).target == "solution"


@pytest.mark.parametrize(
    "reward", [None, [], "x", {}, {"similarity": []}, {"similarity": {"x": "y"}, "thresholds": [1]}]
)
def test_settings_that_are_missing_or_broken_are_the_defaults(reward: object) -> None:
    found = settings(reward)
    assert (found.similarity, found.thresholds, found.outcome) == ({"sequence": 1.0}, (0.0, 1.0), "off")
    assert (found.format_penalty, found.autojunk, found.is_action_first) == (-1.0, False, True)
    assert stage_settings({}, "rlvr").kind == stage_settings({"stages": 3}, "rlvr").kind == "rlvr"
    assert stage_settings({}, "other").kind == ""
