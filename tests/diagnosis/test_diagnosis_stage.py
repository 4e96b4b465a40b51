"""Saved rollouts with known properties -> their numbers."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srl.diagnosis.diagnose import diagnose_run
from srl.diagnosis.records import StageDiagnosis
from srl.diagnosis.sample import estimate, ranking, spread_evenly
from srl.evaluation.statistics import accuracy_score
from srl.rewards.similarity import sequence_similarity
from srl.saved_run.load import load_run

PREVIOUS = "1. **Start** The train leaves at 7:45 and is 20 minutes late."
NEXT = "3. **Wait** The bus goes at 8:30, that is 25 minutes later."
TARGET = "2. **Add** 45 + 20 = 65"


def rollout(action: str, reward: float, **more: Any) -> dict[str, Any]:
    return {"text": action, "finish_reason": "stop", "status": "ok", "monologue": "", "action": action} | {
        "reward": reward, **more,
    }  # fmt: skip


BROKEN = rollout("", -1.0, status="missing_think")
STEP = {"kind": "solution", "step_index": 1, "num_steps": 3, "context": [PREVIOUS], "next_action": NEXT}


def saved(*rollouts: dict[str, Any], target: str = TARGET, **more: Any) -> dict[str, Any]:
    return {
        "example_id": "t#1", "target": target, "kept": True, "kept_by_format_only": False, "step": STEP,
        "advantages": [0.0] * len(rollouts), "rollouts": list(rollouts),
    } | more  # fmt: skip


def diagnose(
    folder: Path, *groups: dict[str, Any], reward: dict[str, Any] | None = None, kind: str = "srl", examples: int = 2
) -> StageDiagnosis:
    (folder / "rollouts").mkdir(parents=True, exist_ok=True)
    config = {"stages": {"one": {"kind": kind, "reward": reward or {}}}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "rollouts" / "one-00007.jsonl").write_text("".join(json.dumps(group) + "\n" for group in groups))
    (stage,) = diagnose_run(load_run(folder), num_examples=examples)
    return stage


def share(stage: StageDiagnosis, metric: str) -> tuple[float, int] | None:
    found = next((signal.saved for signal in stage.signals if signal.metric == metric), None)
    return (found.value, found.num) if found else None


def test_shares_of_the_saved_rollouts_by_hand(tmp_path: Path) -> None:
    stage = diagnose(
        tmp_path,
        saved(
            rollout(PREVIOUS, 0.2),
            rollout(f"{TARGET}\n{NEXT}", 0.5),
            rollout(TARGET, 1.0),
            rollout(TARGET, 1.0),
            BROKEN,
            ungraded=[rollout("x = 1", 0.0, reason="deadline"), rollout("x = 2", 0.0, reason="error")],
        ),
        saved(rollout(TARGET, 1.0), BROKEN, rollout("", -1.0, status="truncated"), kept_by_format_only=True),
        saved(
            rollout(TARGET, 1.0), kept=False, kept_by_format_only=False, step=STEP | {"context": [], "next_action": ""}
        ),
    )
    assert (stage.num_groups, stage.num_rollouts, stage.num_files) == (3, 11, 1)
    assert share(stage, "sampling/kept_by_format_only_rate") == (0.5, 2)  # of the kept ones
    assert share(stage, "rollout/format_error_rate") == (2 / 11, 11)
    assert share(stage, "rollout/truncated_rate") == (1 / 11, 11)
    assert share(stage, "reward/ungraded_rate") == (1 / 11, 11)  # the error has a row of its own, when it is logged
    assert share(stage, "signals/context_copy_rate") == (1 / 7, 7)
    assert share(stage, "signals/several_steps_rate") == (1 / 7, 7)
    assert share(stage, "signals/duplicate_rate") == (2 / 8, 8)
    assert stage.ungraded == {"deadline": 1, "error": 1}
    assert [(example.kind, example.other) for example in stage.examples] == [
        ("false_negative", ""),
        ("copy", PREVIOUS),
        ("several_steps", NEXT),
    ]


def test_reward_by_length_in_lengths_of_the_target(tmp_path: Path) -> None:
    rollouts = [
        rollout("x" * length, reward) for length, reward in ((4, 0.1), (9, 0.8), (11, 0.9), (30, 0.4), (90, 0.2))
    ]
    stage = diagnose(tmp_path, saved(*rollouts, BROKEN, target="x" * 10))
    found = [(row.label, row.reward.num, round(row.reward.value, 3)) for row in stage.lengths]
    assert found == [
        ("under 0.5 targets", 1, 0.1), ("0.8 to 1.25 targets", 2, 0.85), ("2 to 4 targets", 1, 0.4),
        ("4 targets and more", 1, 0.2),
    ]  # fmt: skip


def test_solutions_of_an_rlvr_stage_are_put_into_quarters(tmp_path: Path) -> None:
    group = saved(*[rollout("x" * length, float(length > 5)) for length in range(1, 9)], target="7")
    stage = diagnose(tmp_path, group, kind="rlvr")
    assert [(row.label, row.reward.num, row.reward.value) for row in stage.lengths] == [
        ("1 to 2 characters", 2, 0.0), ("3 to 4 characters", 2, 0.0), ("5 to 6 characters", 2, 0.5),
        ("7 characters and more", 2, 1.0),
    ]  # fmt: skip
    assert (stage.equality, stage.outcomes, stage.examples) == (None, None, ())
    assert share(stage, "signals/context_copy_rate") is None


def test_the_cliff_of_autojunk(tmp_path: Path) -> None:
    """A text that autojunk eats: at 199 characters it is paid in full, at 200 it loses every frequent letter."""
    rng = random.Random(0)
    groups: list[dict[str, Any]] = []
    for length in (199, 200):
        target = "".join(rng.choice("abcdefg ") for _ in range(length)).replace(" ", "-")
        action = "?" + target[1:90] + target[100:]
        paid = sequence_similarity(action, target, autojunk=True)
        groups.append(saved(rollout(action, paid), target=target))
    stage = diagnose(tmp_path, *groups, reward={"autojunk": True})
    rows = {row.label: row for row in stage.cliff}
    under, over = rows["150 to 199, just under"], rows["200 to 249, just over"]
    assert (under.num, over.num) == (1, 1)
    assert under.reward == under.with_autojunk == under.without_autojunk > 0.9
    assert over.reward == over.with_autojunk == 0.0
    assert over.without_autojunk > 0.9
    assert rows["200 and more"].num == rows["under 200"].num == 1
    assert diagnose(tmp_path, *groups).cliff == ()
    swapped = diagnose(tmp_path, *groups, reward={"autojunk": True, "first_argument": "target"})
    shorter = {"under 200": 2, "150 to 199, just under": 2}  # the second text is the action now
    assert {row.label: row.num for row in swapped.cliff} == shorter


def test_rewards_against_results(tmp_path: Path) -> None:
    stage = diagnose(
        tmp_path,
        saved(
            rollout(TARGET, 1.0),
            rollout(TARGET.replace("65", "75"), 0.95),
            rollout("So $x = 65$.", 0.3),
            rollout("The clock is late.", 0.1),
        ),
        saved(rollout(TARGET.replace("65", "56"), 0.6), rollout("65", 0.7)),
        saved(rollout("ls", 0.9), rollout("cat x = 3", 0.1), target="ls", step=STEP | {"kind": "agent"}),
    )
    found = stage.equality
    assert found is not None
    assert (found.num_judged, found.num_without, found.num_open, found.num_exact) == (5, 1, 0, 1)
    assert (found.equal.value, found.equal.num) == (0.6, 5)
    assert found.false_positives is not None
    assert (found.false_positives.value, found.false_positives.num) == (0.5, 2)
    assert found.false_negatives is not None
    assert (found.false_negatives.value, found.false_negatives.num) == (1.0, 1)
    assert found.ranking is not None
    assert (found.ranking.value, found.ranking.num) == (2 / 3, 3)  # 1.0 > 0.95 > 0.3, and 0.7 > 0.6
    assert [(row.num_equal, row.num_different) for row in found.bins] == [(0, 0), (1, 0), (0, 0), (1, 1), (1, 1)]
    assert [(example.kind, example.result, example.expected) for example in stage.examples] == [
        ("false_positive", "75", "65"),
        ("false_negative", "65", "65"),
    ]
    assert diagnose(tmp_path, saved(rollout(TARGET.replace("65", "75"), 0.95)), examples=0).examples == ()


def test_the_similarity_is_worked_out_of_a_gated_and_a_blended_reward(tmp_path: Path) -> None:
    similarities = [0.9, 0.4, 0.8, 0.6]
    outcomes = [1.0, 1.0, 0.0, 0.0]
    rewards = {
        "gate": [s * (1 - 0.25 * (1 - o)) for s, o in zip(similarities, outcomes, strict=True)],
        "blend": [0.75 * s + 0.25 * o for s, o in zip(similarities, outcomes, strict=True)],
    }
    for mode, paid in rewards.items():
        rollouts = [rollout("x", reward, outcome=o) for reward, o in zip(paid, outcomes, strict=True)]
        stage = diagnose(tmp_path, saved(*rollouts), reward={"outcome": mode, "outcome_weight": 0.25})
        found = stage.outcomes
        assert found is not None
        assert (found.num_right, found.num_wrong) == (2, 2)
        assert found.similarity_right == pytest.approx(0.65)
        assert found.similarity_wrong == pytest.approx(0.7)
        assert found.ranking is not None
        assert found.ranking.value == 0.5  # 0.9 is above both, 0.4 above none
    hidden = diagnose(
        tmp_path, saved(rollout("x", 0.0, outcome=0.0)), reward={"outcome": "gate", "outcome_weight": 1.0}
    )
    assert hidden.outcomes is not None
    assert hidden.outcomes.similarity_wrong is None  # the gate has taken all of it


def test_estimates_are_those_of_evaluation() -> None:
    values = [[1.0, 0.0], [1.0, 1.0], [0.0, 0.0, 1.0]]
    found = estimate([*values, []])
    score = accuracy_score("x", [[value == 1.0 for value in group] for group in values])
    assert found is not None
    assert (found.value, found.low, found.high, found.num) == (score.value, score.low, score.high, 7)
    assert estimate([[], []]) is None


@given(st.lists(st.tuples(*[st.lists(st.floats(0, 1), max_size=4)] * 2), max_size=5))
def test_ranking_turns_with_the_kinds(groups: list[tuple[list[float], list[float]]]) -> None:
    found, turned = ranking(groups), ranking([(second, first) for first, second in groups])
    assert (found is None) == (turned is None)
    if found and turned:
        assert found.value == pytest.approx(1 - turned.value)
        assert found.num == sum(len(first) * len(second) for first, second in groups)
        assert 0 <= found.low <= found.value <= found.high <= 1


@given(st.integers(0, 50), st.integers(1, 20))
def test_a_spread_is_in_order_and_holds_both_ends(num_items: int, limit: int) -> None:
    chosen = spread_evenly(range(num_items), limit)
    assert len(chosen) == min(num_items, limit)
    assert chosen == sorted(set(chosen))
    if limit > 1 and num_items:
        assert (chosen[0], chosen[-1]) == (0, num_items - 1)


def test_order_of_groups_and_rollouts_does_not_matter(run_dir: Path, tmp_path: Path) -> None:
    def numbers() -> list[dict[str, Any]]:
        return [
            asdict(stage) | {"ungraded": dict(sorted(stage.ungraded.items()))}
            for stage in diagnose_run(load_run(run_dir), num_examples=0)
        ]

    before, rng = numbers(), random.Random(0)
    for path in (run_dir / "rollouts").iterdir():
        groups = [json.loads(line) for line in path.read_text().splitlines()]
        for group in groups:
            rng.shuffle(group["rollouts"])
        rng.shuffle(groups)
        path.write_text("".join(json.dumps(group) + "\n" for group in groups))
    after = numbers()
    assert json.dumps(rounded(before)) == json.dumps(rounded(after))


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return round(value, 9) if isinstance(value, float) else value


def test_a_run_of_an_older_version_still_reads(new_run: Callable[..., Path]) -> None:
    """Neither steps, ungraded rollouts and signals nor warnings were saved."""
    srl, rlvr = diagnose_run(load_run(new_run(is_old=True)), num_examples=2)
    assert (srl.warnings, srl.ungraded, rlvr.equality) == ((), {}, None)
    assert srl.equality is not None
    assert srl.equality.num_judged > 500
    assert share(srl, "signals/context_copy_rate") is None
    assert share(srl, "signals/duplicate_rate") is not None
    assert {example.kind for example in srl.examples} <= {"false_positive", "false_negative"}
    logged = next(signal for signal in srl.signals if signal.metric == "sampling/kept_by_format_only_rate")
    assert logged.saved is None
    assert logged.mean is not None


def test_a_run_of_this_version_has_it_all(new_run: Callable[..., Path]) -> None:
    srl, _ = diagnose_run(load_run(new_run(reward={"outcome": "gate"})), num_examples=2)
    assert [warning.code for warning in srl.warnings] == ["context_copies"]
    assert set(srl.ungraded) == {"deadline", "memory"}
    assert srl.outcomes is not None
    # The gate has taken so much from the wrong results that none of them is paid like the expert's step.
    assert {example.kind for example in srl.examples} == {"false_negative", "copy", "several_steps"}
    copies = next(signal for signal in srl.signals if signal.metric == "signals/context_copy_rate")
    assert (copies.first, copies.last) == (
        pytest.approx(sum(0.4 / update for update in range(1, 5)) / 4),
        pytest.approx(sum(0.4 / update for update in range(37, 41)) / 4),
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([*saved(BROKEN), "ungraded", "context", "next_action", "kind", "reward", "action", "status"]), JSON
)
def test_any_value_in_any_field_gives_numbers(tmp_path: Path, field: str, value: Any) -> None:
    group = saved(rollout(TARGET, 1.0), rollout(PREVIOUS, 0.3, outcome=1.0), BROKEN)
    for place in (group, group["step"], *group["rollouts"]):
        if field in place or (place is group and field == "ungraded"):
            place[field] = value
    group["step"] = STEP if field != "step" else group["step"]
    stage = diagnose(tmp_path, group)
    assert json.dumps(asdict(stage), allow_nan=False)


def test_long_runs_are_sampled_evenly_and_say_so(tmp_path: Path) -> None:
    first = diagnose(tmp_path, saved(rollout(TARGET, 1.0)))
    for update in range(1, 251):
        line = json.dumps(saved(*[rollout(TARGET, update / 250)] * 2)) + "\n"
        (tmp_path / "rollouts" / f"one-{update:05d}.jsonl").write_text(line * 6)
    (stage,) = diagnose_run(load_run(tmp_path), num_examples=0)
    assert (first.num_files, first.num_files_saved) == (1, 1)
    assert (stage.num_files, stage.num_files_saved, stage.num_updates) == (100, 250, 250)
    assert (stage.num_groups, stage.num_rollouts) == (400, 800)
    assert stage.lengths[0].reward.value == pytest.approx(0.5, abs=0.01)
