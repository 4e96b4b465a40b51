"""The pass before a stage: made once, counted once, and what it found decides what is drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import pytest
from tiny import KilledError, example, stage, tiny_policy, trainer

from srl import collect
from srl.config import StageConfig
from srl.data_config import DataConfig, SelectionConfig
from srl.engines.scripted import ScriptedEngine
from srl.errors import ConfigError, DataError, RewardError
from srl.policy import load_policy
from srl.rewards.similarity import similarity_reward
from srl.selection import refuse_spent_budget
from srl.stage import Stage
from srl.trainer import Trainer
from srl.training_config import SamplingConfig, ScheduleConfig
from srl.types import ChatPrompt, Source, StepExample, TrainingExample, Ungraded

SAMPLING = SamplingConfig(group_size=4, groups_per_update=3, max_completion_tokens=40, min_reward_std=0.01)
SCHEDULE = ScheduleConfig(num_updates=4, validate_every=9, save_every=2, num_epochs=50)
TARGET = "seven times six"
CHOSEN = SelectionConfig(num_rollouts=4, min_reward_std=0.02, max_mean_reward=0.9)


def number_of(prompt: ChatPrompt) -> int:
    return int(prompt.messages[0]["content"].split()[-1])


def reply(prompt: ChatPrompt, index: int) -> str:
    """e2, e5 and e8 never vary; of the others more and more is right, with less and less variance."""
    number = number_of(prompt)
    return TARGET[: number + (0 if number % 3 == 2 else index % 4)]


def rewards_of(number: int) -> list[float]:
    similarity = similarity_reward(autojunk=False, first_argument="action")
    prompt = example(number).prompt
    return [float(similarity(reply(prompt, index), TARGET)) for index in range(4)]  # type: ignore[arg-type]


def a_stage(selection: SelectionConfig = CHOSEN, **sections: Any) -> Stage:
    return replace(
        stage(**({"sampling": SAMPLING, "schedule": SCHEDULE} | sections), selection=selection), validation=[]
    )


def spy(the_trainer: Trainer) -> list[list[str]]:
    """The ids of what each update drew, in a list that grows."""
    drawn: list[list[str]] = []
    collector: Any = the_trainer._collector
    original = collector.collect

    def spied(update: int, progress: float) -> Any:
        collected = original(update, progress)
        drawn.append([group.example.example_id for group in collected.fresh])
        return collected

    collector.collect = spied
    return drawn


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_what_is_drawn_is_what_the_rewards_of_the_pass_allow(tmp_path: Path) -> None:
    wanted = [
        f"e{number}"
        for number in range(2, 12)
        if pstdev(rewards_of(number)) > 0.02 and fmean(rewards_of(number)) <= 0.9
    ]
    assert 3 <= len(wanted) < 7
    engine = ScriptedEngine(reply)
    the_trainer = trainer(a_stage(), tmp_path, engine=engine)
    drawn = spy(the_trainer)
    the_trainer.train()
    assert {name for update in drawn for name in update} == set(wanted)
    measured = json.loads((tmp_path / "selection/srl.json").read_text())
    assert [item["example_id"] for item in measured] == [f"e{number}" for number in range(2, 12)]
    for number, item in zip(range(2, 12), measured, strict=True):
        assert item["mean_reward"] == pytest.approx(fmean(rewards_of(number)))
        assert item["reward_std"] == pytest.approx(pstdev(rewards_of(number)), abs=1e-12)
        prompt = example(number).prompt
        assert item["num_tokens"] == sum(len(reply(prompt, index)) + 1 for index in range(4))
    first, *others = read_metrics(tmp_path)
    assert (first["update"], first["selection/num_chosen"]) == (0, len(wanted))
    assert first["selection/chosen_rate"] == len(wanted) / 10
    assert first["rollout/num_rollouts"] == 40
    assert first["rollout/sampled_tokens"] == sum(item["num_tokens"] for item in measured)
    state = json.loads((tmp_path / "checkpoints/srl/update-00004/state.json").read_text())
    for name, key in (("num_rollouts", "num_rollouts"), ("num_sampled_tokens", "sampled_tokens")):
        assert state[name] == sum(line[f"rollout/{key}"] for line in [first, *others])


def test_without_a_pass_there_is_no_trace_of_one(tmp_path: Path) -> None:
    trainer(a_stage(SelectionConfig()), tmp_path, engine=ScriptedEngine(reply)).train()
    assert not (tmp_path / "selection").exists()
    assert "selection/" not in (tmp_path / "metrics.jsonl").read_text()
    assert "rollout/num_rollouts" not in read_metrics(tmp_path)[0]


class CountsThePass:
    """The script, and how many prompts it was asked ``num_rollouts`` times for, as only the pass does."""

    def __init__(self, num_samples: int) -> None:
        self._script, self._num_samples, self.num_asked = ScriptedEngine(reply), num_samples, 0
        self.count_prompt_tokens = self._script.count_prompt_tokens

    def generate(self, prompts: Any, *, num_samples: int, **options: Any) -> Any:
        self.num_asked += len(prompts) * (num_samples == self._num_samples)
        return self._script.generate(prompts, num_samples=num_samples, **options)


def stopping_at(update: int) -> Callable[[Any], None]:
    def stop(metrics: Any) -> None:
        if metrics["update"] == update:
            raise KilledError

    return stop


@pytest.mark.parametrize("killed_at", [0, 1, 3])
def test_the_pass_is_made_once_and_counted_once_whenever_the_run_is_killed(tmp_path: Path, killed_at: int) -> None:
    the_stage = a_stage(replace(CHOSEN, num_rollouts=5))
    trainer(the_stage, tmp_path / "whole", engine=ScriptedEngine(reply)).train()
    engine = CountsThePass(5)
    with pytest.raises(KilledError):
        trainer(the_stage, tmp_path / "killed", engine=engine, on_metrics=stopping_at(killed_at)).train()
    assert engine.num_asked == 10
    checkpoints = sorted((tmp_path / "killed/checkpoints/srl").glob("update-?????"))
    assert len(checkpoints) == (killed_at == 3)
    model = load_policy(checkpoints[-1])[0] if checkpoints else tiny_policy()[0]
    resumed = trainer(the_stage, tmp_path / "killed", model=model, engine=engine)
    resumed.resume()
    resumed.train()
    assert engine.num_asked == 10
    one, other = (
        [{key: value for key, value in line.items() if not key.startswith("time/")} for line in read_metrics(folder)]
        for folder in (tmp_path / "whole", tmp_path / "killed")
    )
    assert one == other
    states = [
        json.loads((tmp_path / kind / "checkpoints/srl/update-00004/state.json").read_text())
        for kind in ("whole", "killed")
    ]
    assert states[0] == states[1]


def test_nothing_left_is_an_error_and_stays_one_without_another_pass(tmp_path: Path) -> None:
    engine = CountsThePass(5)
    the_stage = a_stage(SelectionConfig(num_rollouts=5, min_reward_std=0.5))
    for _ in range(2):
        with pytest.raises(DataError, match="selection leaves nothing to train on: of 10 examples 0 have"):
            trainer(the_stage, tmp_path, engine=engine).train()
    assert engine.num_asked == 10
    assert not (tmp_path / "checkpoints").exists()


def test_other_data_than_was_measured_is_refused(tmp_path: Path) -> None:
    """Killed before the first checkpoint, resumed on a file that has changed."""
    with pytest.raises(KilledError):
        trainer(a_stage(), tmp_path, engine=ScriptedEngine(reply), on_metrics=stopping_at(1)).train()
    fewer = replace(a_stage(), training=a_stage().training[1:])
    more = replace(a_stage(), training=[*a_stage().training, example(20)])
    for changed in (fewer, more):
        resumed = trainer(changed, tmp_path, engine=ScriptedEngine(reply))
        resumed.resume()
        with pytest.raises(DataError, match=r"differs from what the pass of \[selection\] measured"):
            resumed.train()


def test_a_grader_that_grades_nothing_is_an_error_of_its_own(tmp_path: Path) -> None:
    def dead(action: str, target: str) -> Ungraded:
        return Ungraded(reason="crash")

    the_stage = a_stage()
    the_stage = replace(the_stage, scoring=replace(the_stage.scoring, reward=dead))
    with pytest.raises(RewardError, match=r"none of 40 well-formed completions could be graded \(\{'crash': 40\}\)"):
        trainer(the_stage, tmp_path, engine=ScriptedEngine(reply)).train()
    assert not (tmp_path / "selection").exists()


def test_examples_are_measured_some_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trainer(a_stage(), tmp_path, engine=ScriptedEngine(reply))._collector.measure()
    monkeypatch.setattr(collect, "MEASURED_TOGETHER", 3)
    engine = ScriptedEngine(reply)
    assert trainer(a_stage(), tmp_path, engine=engine)._collector.measure() == whole
    assert engine.num_calls == 4


def test_the_pass_samples_with_random_numbers_of_its_own(tmp_path: Path) -> None:
    """The first update does not sample what the pass has sampled."""
    collector = trainer(a_stage(), tmp_path)._collector
    measured = collector.measure()
    assert collector.measure() == measured
    assert trainer(a_stage(), tmp_path, seed=1)._collector.measure() != measured
    groups = collector.collect(1).groups
    means = {item.example_id: item.mean_reward for item in measured}
    assert any(fmean(group.rewards) != means[group.example.example_id] for group in groups)


EASY = SelectionConfig(num_rollouts=4, easy_share=0.3, full_at=0.5)


@pytest.mark.parametrize("limit", ["updates", "rollouts", "tokens"])
def test_a_curriculum_begins_with_the_first_update_whatever_the_pass_has_spent(tmp_path: Path, limit: str) -> None:
    """The pass takes most of the budget; yet the first update has the easiest three of ten, and the last one all."""
    sampling = replace(SAMPLING, dynamic=False, min_reward_std=0.01)
    spent = sum(len(reply(example(number).prompt, index)) + 1 for number in range(2, 12) for index in range(4))
    schedule = {
        "updates": replace(SCHEDULE, num_updates=12),
        "rollouts": replace(SCHEDULE, num_updates=0, max_rollouts=40 + 12 * 12),
        "tokens": replace(SCHEDULE, num_updates=0, max_sampled_tokens=spent + 12 * 12 * 12),
    }[limit]
    the_trainer = trainer(a_stage(EASY, sampling=sampling, schedule=schedule), tmp_path, engine=ScriptedEngine(reply))
    drawn = spy(the_trainer)
    the_trainer.train()
    easiest = sorted(range(2, 12), key=lambda number: -fmean(rewards_of(number)))
    assert set(drawn[0]) == {f"e{number}" for number in easiest[:3]}
    later = {name for update in drawn[len(drawn) // 2 + 1 :] for name in update}
    assert len(later) > 6
    assert easiest[-1] in {int(name[1:]) for name in later}
    if limit == "rollouts":
        assert len(drawn) == 12


@pytest.mark.parametrize("changes", [{"max_rollouts": 40}, {"max_rollouts": 17}, {"max_sampled_tokens": 100}])
def test_a_pass_that_leaves_no_budget_is_an_error(tmp_path: Path, changes: dict[str, int]) -> None:
    schedule = replace(SCHEDULE, **changes)
    with pytest.raises(ConfigError, match=r"took 40 rollouts, \d+ tokens .* nothing is left to train with"):
        trainer(a_stage(schedule=schedule), tmp_path, engine=ScriptedEngine(reply)).train()
    assert not (tmp_path / "checkpoints").exists()


def test_a_budget_that_leaves_one_rollout_is_one_update(tmp_path: Path) -> None:
    schedule = replace(SCHEDULE, max_rollouts=41)
    trainer(a_stage(schedule=schedule), tmp_path, engine=ScriptedEngine(reply)).train()
    assert [line["update"] for line in read_metrics(tmp_path)] == [0, 1]
    refuse_spent_budget(schedule, [0, 40, 10**9, 1e9])


def starts_of(lengths: list[int]) -> list[TrainingExample]:
    starts = []
    for length in lengths:
        for k in range(length):
            shown = StepExample(
                trajectory_id=f"t{length}", step_index=k, num_steps=length, problem="p", context=("x",) * k, title="",
                target_action="a", target_body="a", answer="7", source=Source(file="f", row=0),
            )  # fmt: skip
            starts.append(replace(example(len(starts) + 2), example_id=f"t{length}#{k}", step=shown))
    return starts


def test_selected_starts_still_slide_from_the_latest_to_the_problem(tmp_path: Path) -> None:
    config = StageConfig(
        kind="rlvr",
        data=DataConfig(train="none", starts="staged", num_start_stages=3),
        selection=SelectionConfig(num_rollouts=4, min_reward_std=0.02),
        sampling=replace(SAMPLING, dynamic=False),
        schedule=replace(SCHEDULE, num_updates=6),
    )
    the_stage = replace(a_stage(), config=config, training=starts_of([4, 6]))
    the_trainer = trainer(the_stage, tmp_path, engine=ScriptedEngine(reply))
    drawn = spy(the_trainer)
    the_trainer.train()
    measured = json.loads((tmp_path / "selection/srl.json").read_text())
    chosen = {item["example_id"] for item in measured if item["reward_std"] > 0.02}
    assert 5 <= len(chosen) < 10
    assert {name for update in drawn for name in update} == chosen
    latest = [{int(name.rpartition("#")[2]) for name in update} for update in drawn]
    assert min(latest[0]) > 0
    assert latest[5] == latest[4] == {0}
    assert max(latest[2]) <= max(latest[0])
