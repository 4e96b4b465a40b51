"""The loop, run for real on the tiny policy: alive, resumable, exact."""

import itertools
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import KilledError, MortalEngine, example, group, stage, tiny_policy, trainer

from srl.advantage import compute_advantages
from srl.engines.scripted import ScriptedEngine
from srl.engines.transformers import TransformersEngine
from srl.errors import DataError, SamplingError, SRLError
from srl.outcome_gate import OutcomeGate
from srl.policy import load_policy
from srl.rewards.similarity import similarity_reward
from srl.run_dir import RunDir
from srl.training_config import OptimizerConfig, SamplingConfig, ScheduleConfig
from srl.types import ChatPrompt, Source, StepExample, Ungraded


def read_metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def without_times(lines):
    return [{key: value for key, value in line.items() if not key.startswith("time/")} for line in lines]


def weights(folder):
    return load_file(folder / "model.safetensors")


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, trainer(stage(), folder).train()


def test_the_loop_is_alive(finished):
    """Groups were rejected, groups were kept, weights moved, and every promised file is there."""
    folder, final = finished
    lines = read_metrics(folder)
    assert [line["update"] for line in lines] == [0, 1, 2, 3, 4, 5, 6]
    assert sum(line.get("sampling/num_rejected", 0) for line in lines) > 0
    assert all(line["sampling/num_kept"] == 3 for line in lines[1:])
    start = tiny_policy()[0].state_dict()
    assert any(not torch.equal(start[name], tensor) for name, tensor in weights(final).items())
    assert [line["update"] for line in lines if "validation/reward" in line] == [0, 2, 4, 6]
    assert sorted(path.name for path in (folder / "rollouts").iterdir())[0] == "srl-00001.jsonl"
    kept = [json.loads(line)["kept"] for path in (folder / "rollouts").iterdir() for line in path.open()]
    assert True in kept
    assert False in kept


def test_the_best_checkpoint_by_validation_is_handed_on(finished):
    folder, final = finished
    validated = [line for line in read_metrics(folder) if "validation/reward" in line and line["update"] > 0]
    best = max(validated, key=lambda line: line["validation/reward"])
    assert final.name == f"best-{best['update']:05d}"
    checkpoints = sorted(path.name for path in (folder / "checkpoints" / "srl").iterdir())
    assert checkpoints == sorted({final.name, "update-00006", "final.json"})


def test_the_same_seed_gives_the_same_run(finished, tmp_path):
    folder, final = finished
    again = trainer(stage(), tmp_path).train()
    assert without_times(read_metrics(tmp_path)) == without_times(read_metrics(folder))
    assert_same_weights(weights(again), weights(final))
    other = trainer(stage(), tmp_path / "other", seed=1).train()
    assert without_times(read_metrics(tmp_path / "other")) != without_times(read_metrics(folder))
    del other


@pytest.mark.parametrize("killed_at_part", [1, 6, 10, 14])
def test_killed_and_resumed_equals_never_killed_bit_for_bit(finished, tmp_path, killed_at_part):
    """Killed while sampling, at several moments; resumed from what is on disk by a new process's objects."""
    folder, _ = finished
    model, tokenizer = tiny_policy()
    parts = itertools.count(1)
    engine = MortalEngine(TransformersEngine(model, tokenizer, batch_size=16), lambda: next(parts) == killed_at_part)
    with pytest.raises(KilledError):
        trainer(stage(), tmp_path, model=model, engine=engine).train()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "srl", "upd')  # a line torn by the kill
    checkpoints = sorted((tmp_path / "checkpoints" / "srl").glob("update-?????"))
    model = load_policy(checkpoints[-1])[0] if checkpoints else tiny_policy()[0]
    resumed = trainer(stage(), tmp_path, model=model)
    torch.manual_seed(12345)  # resume must not depend on whatever the global state is
    resumed.resume()
    final = resumed.train()
    assert_same_weights(weights(final), weights(folder / "checkpoints" / "srl" / final.name))
    assert_same_weights(
        weights(tmp_path / "checkpoints" / "srl" / "update-00006"),
        weights(folder / "checkpoints" / "srl" / "update-00006"),
    )
    assert without_times(read_metrics(tmp_path)) == without_times(read_metrics(folder))


def test_three_updates_saved_and_three_more_equal_six(finished, tmp_path):
    """Stopped by hand after update 3; what is saved has the optimizer's moments and the position in the data."""
    folder, _ = finished

    def stop(metrics):
        if metrics["update"] == 4:
            raise KilledError

    with pytest.raises(KilledError):
        trainer(stage(), tmp_path, on_metrics=stop).train()
    (saved,) = (tmp_path / "checkpoints/srl").glob("update-*")
    state = json.loads((saved / "state.json").read_text())
    assert (state["update"], saved.name) == (3, "update-00003")
    assert state["collector"]["stream"]["num_drawn"] > 0
    moments = load_file(saved / "optimizer.safetensors")
    assert float(moments["optimizer/0.step"]) == 3.0
    assert moments["optimizer/0.exp_avg"].norm() > 0
    resumed = trainer(stage(), tmp_path, model=load_policy(saved)[0])
    resumed.resume()
    resumed.train()
    six = Path("checkpoints/srl/update-00006")
    assert_same_weights(weights(tmp_path / six), weights(folder / six))


def test_surplus_examples_are_carried_over_through_a_checkpoint(tmp_path):
    """Killed right after a save with a carry-over; the resumed run draws it first and equals the one never killed."""
    sampling = SamplingConfig(group_size=4, groups_per_update=2, max_completion_tokens=6, min_reward_std=0.03)
    schedule = ScheduleConfig(num_updates=8, save_every=1, validate_every=8, num_epochs=50)
    the_stage = stage(sampling=sampling, schedule=schedule)
    trainer(the_stage, tmp_path / "whole").train()
    surplus = [line.get("sampling/num_surplus", 0) for line in read_metrics(tmp_path / "whole")]
    update = next(number for number, count in enumerate(surplus) if count and number < 8)

    def stop(metrics):
        if metrics["update"] == update + 1:
            raise KilledError

    with pytest.raises(KilledError):
        trainer(the_stage, tmp_path / "killed", on_metrics=stop).train()
    saved = tmp_path / f"killed/checkpoints/srl/update-{update:05d}"
    assert len(json.loads((saved / "state.json").read_text())["collector"]["stream"]["given_back"]) == surplus[update]
    resumed = trainer(the_stage, tmp_path / "killed", model=load_policy(saved)[0])
    resumed.resume()
    resumed.train()
    last = Path("checkpoints/srl/update-00008")
    assert_same_weights(weights(tmp_path / "killed" / last), weights(tmp_path / "whole" / last))


def test_changed_data_is_refused_on_resume(tmp_path):
    trainer(stage(), tmp_path).train()
    other = stage()
    changed = [type(item)(example_id=item.example_id, prompt=item.prompt, target="else") for item in other.training]
    with pytest.raises(DataError, match="differs"):
        trainer(replace(other, training=changed), tmp_path).resume()


def test_data_that_ends_with_nothing_kept_is_an_error_and_not_a_result(tmp_path):
    """Fewer examples than the cap allows: the end of the data comes first."""
    one_epoch = ScheduleConfig(num_epochs=1, validate_every=2, save_every=3)
    engine = ScriptedEngine(lambda prompt, index: "same")
    sampling = SamplingConfig(group_size=4, groups_per_update=8, max_completion_tokens=6)
    with pytest.raises(SamplingError, match="10 groups were rolled out"):
        trainer(stage(schedule=one_epoch, sampling=sampling), tmp_path, engine=engine).train()
    assert not (tmp_path / "checkpoints").exists()


def test_a_gradient_that_is_not_finite_stops_the_run_and_changes_nothing(tmp_path):
    model, _ = tiny_policy()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    broken = trainer(stage(), tmp_path, model=model, advantages=lambda rewards: [float("nan")] * len(rewards))
    with pytest.raises(SRLError, match="not finite"):
        broken.train()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_rejected_group_never_reaches_the_loss(tmp_path, monkeypatch):
    seen = []
    the_trainer = trainer(stage(), tmp_path)
    update = the_trainer._updater.update

    def spy(groups, advantages, number):
        seen.extend(group.rewards for group in groups)
        return update(groups, advantages, number)

    monkeypatch.setattr(the_trainer._updater, "update", spy)
    the_trainer.train()
    assert len(seen) == 18
    assert all(torch.tensor(rewards).double().std(unbiased=False) > 0.05 for rewards in seen)


def test_nothing_to_learn_ends_with_a_clear_error_and_a_whole_folder(tmp_path):
    engine = ScriptedEngine(lambda prompt, index: "same")
    with pytest.raises(SamplingError, match="min_reward_std"):
        trainer(stage(), tmp_path, engine=engine).train()
    assert [line["update"] for line in read_metrics(tmp_path)] == [0]


def test_without_dynamic_sampling_every_group_is_trained_on(tmp_path):
    sampling = SamplingConfig(group_size=4, groups_per_update=3, max_completion_tokens=6, dynamic=False)
    trainer(stage(sampling=sampling), tmp_path).train()
    lines = read_metrics(tmp_path)[1:]
    assert all(line["sampling/num_rejected"] == 0 and line["sampling/num_kept"] == 3 for line in lines)


def test_the_stage_ends_with_its_data_or_its_budget(tmp_path):
    one_epoch = ScheduleConfig(num_epochs=1, validate_every=2, save_every=3)
    trainer(stage(schedule=one_epoch), tmp_path / "data").train()
    lines = read_metrics(tmp_path / "data")
    assert lines[-1]["data/epoch"] == 1.0
    budget = ScheduleConfig(max_rollouts=30, num_epochs=50, validate_every=2, save_every=3)
    trainer(stage(schedule=budget), tmp_path / "budget").train()
    sampled = [line.get("rollout/num_rollouts", 0) for line in read_metrics(tmp_path / "budget")]
    assert sum(sampled) >= 30 > sum(sampled[:-1])


def test_validation_changes_nothing(tmp_path):
    """Same weights with and without validation in between."""
    often = ScheduleConfig(num_updates=3, validate_every=1, save_every=3, num_epochs=50)
    seldom = ScheduleConfig(num_updates=3, validate_every=3, save_every=3, num_epochs=50)
    trainer(stage(schedule=often), tmp_path / "often").train()
    trainer(stage(schedule=seldom), tmp_path / "seldom").train()
    path = Path("checkpoints/srl/update-00003")
    assert_same_weights(weights(tmp_path / "often" / path), weights(tmp_path / "seldom" / path))


def shuffled(seed):
    rng = random.Random(seed)

    def advantages(rewards):
        values = compute_advantages(rewards)
        rng.shuffle(values)
        return values

    return advantages


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_learns_with_the_real_advantages_and_not_with_shuffled_ones(tmp_path, seed):
    """From random weights: the rollouts' reward rises, and with shuffled advantages by less than half of that.

    Held-out step accuracy, real against shuffled, is in benchmarks/liveness.py: it takes the quickstart's base.
    """
    settings = {
        "sampling": SamplingConfig(group_size=8, groups_per_update=4, max_completion_tokens=8, min_reward_std=0.02),
        "optimizer": OptimizerConfig(learning_rate=5e-3),
        "schedule": ScheduleConfig(num_updates=30, validate_every=15, save_every=100, num_epochs=50),
    }
    rises = {}
    for name, advantages in (("real", compute_advantages), ("shuffled", shuffled(seed))):
        folder = tmp_path / name
        trainer(stage(num_examples=20, **settings), folder, seed=seed, advantages=advantages).train()
        lines = read_metrics(folder)
        first = sum(line["reward/mean"] for line in lines[1:4]) / 3
        rises[name] = sum(line["reward/mean"] for line in lines[-3:]) / 3 - first
    assert rises["real"] > 0.15
    assert rises["shuffled"] < 0.5 * rises["real"]


def test_run_dir_keeps_other_stages_when_cutting(tmp_path):
    run_dir = RunDir(tmp_path)
    for name, update in (("srl", 1), ("srl", 2), ("rlvr", 1), ("rlvr", 2)):
        run_dir.log({"stage": name, "update": update})
    run_dir.forget_after("rlvr", 1)
    assert [(line["stage"], line["update"]) for line in read_metrics(tmp_path)] == [("srl", 1), ("srl", 2), ("rlvr", 1)]
    shutil.rmtree(tmp_path)


def test_the_last_update_of_the_data_is_validated_and_leftovers_are_counted(tmp_path):
    """One epoch of ten examples at three groups per update: whatever the kept rate, nothing ends unaccounted."""
    one_epoch = ScheduleConfig(num_epochs=1, validate_every=100, save_every=100)
    final = trainer(stage(schedule=one_epoch), tmp_path).train()
    lines = read_metrics(tmp_path)
    updates = [line["update"] for line in lines if "loss/policy" in line]
    validated = [line["update"] for line in lines if "validation/reward" in line]
    assert validated == [0, updates[-1]]
    assert final.name == f"best-{updates[-1]:05d}"
    state = json.loads((tmp_path / f"checkpoints/srl/update-{updates[-1]:05d}/state.json").read_text())
    sampled = sum(line.get("rollout/num_rollouts", 0) for line in lines)
    assert state["num_rollouts"] == sampled >= 10 * 4


def test_the_format_only_count_does_not_need_dynamic_sampling():
    from srl.collect import KEEP_ALL
    from srl.dynamic_sampling import collect_groups
    from srl.rollouts import RolledOut
    from srl.types import ParseStatus

    statuses = [ParseStatus.MISSING_THINK, ParseStatus.OK, ParseStatus.OK]

    def roll_out(feed):
        groups = {place: group([-1.0, 0.5, 0.5], statuses) for place, _ in enumerate(feed)}
        yield RolledOut(groups=groups, reward_seconds=0.0)

    collected = collect_groups(
        lambda number: [example(0)] * number, roll_out, groups_per_update=2, min_reward_std=KEEP_ALL, max_draws=1
    )
    assert collected.num_kept_by_format_only == 2


def test_the_display_takes_every_line_of_a_run_that_ends_with_its_data(tmp_path):
    from rich.console import Console

    from srl.display import TrainingDisplay

    one_epoch = ScheduleConfig(num_epochs=1, validate_every=100, save_every=100)
    console = Console(width=80, record=True, file=(tmp_path / "out.txt").open("w"))
    with TrainingDisplay(console) as display:
        display.start_stage("s", kind="srl", num_training=10, num_validation=2, num_updates=0, dropped={"odd": 3})
        trainer(stage(schedule=one_epoch), tmp_path / "run", on_metrics=display.show).train()
        display.show({"stage": "s", "update": 3, "validation/reward": 0.5, "validation/exact_match": 0.25})
    text = console.export_text()
    assert "left out: 3 (odd)" in text
    assert "exact  25%" in text
    assert max(map(len, text.splitlines())) <= 80


def test_what_was_learned_is_saved_when_sampling_finds_nothing_more(tmp_path):
    """The cap is reached in update 3, between two checkpoints."""
    the_trainer = trainer(stage(schedule=ScheduleConfig(num_updates=9, save_every=5, validate_every=9)), tmp_path)
    roll_out = the_trainer._collector._roll_out_feed

    def flat_from_update_3(feed, update):
        for part in roll_out(feed, update):
            if update == 3:
                flat = {place: replace(one, rollouts=one.rollouts[:1] * 4) for place, one in part.groups.items()}
                part = replace(part, groups=flat)
            yield part

    the_trainer._collector._roll_out_feed = flat_from_update_3
    with pytest.raises(SamplingError, match="24 groups were rolled out"):
        the_trainer.train()
    assert (tmp_path / "checkpoints/srl/update-00002/model.safetensors").exists()


class PartlyUngraded:
    """The similarity, but every action of an even length cannot be graded."""

    def __init__(self):
        self._plain = similarity_reward(autojunk=False, first_argument="action")

    def __call__(self, action, target):
        raise AssertionError("the loop asks for many at once")

    def many(self, pairs):
        return [Ungraded(reason="deadline") if len(pair[0]) % 2 == 0 else self._plain(*pair) for pair in pairs]


def test_ungraded_rollouts_are_counted_shown_and_never_trained_on(tmp_path, monkeypatch):
    the_stage = stage(schedule=ScheduleConfig(num_updates=3, validate_every=9, save_every=9, num_epochs=50))
    the_stage = replace(the_stage, scoring=replace(the_stage.scoring, reward=PartlyUngraded()), validation=[])
    the_trainer = trainer(the_stage, tmp_path)
    trained = []
    original = the_trainer._updater.update

    def spy(groups, advantages, number):
        trained.extend(groups)
        assert [len(group.rollouts) for group in groups] == [len(row) for row in advantages]
        return original(groups, advantages, number)

    monkeypatch.setattr(the_trainer._updater, "update", spy)
    the_trainer.train()
    lines = read_metrics(tmp_path)[1:]
    assert all(0 < line["reward/ungraded_rate"] < 1 for line in lines)
    assert sum(line["sampling/num_ungraded"] for line in lines) > 0
    assert any(group.ungraded for group in trained)
    assert all(len(group.rollouts) >= 2 for group in trained)
    assert all(len(rollout.parsed.action) % 2 for group in trained for rollout in group.rollouts)
    assert all(line["rollout/num_rollouts"] == 4 * (line["sampling/num_kept"] + line["sampling/num_rejected"] +
        line["sampling/num_surplus"]) for line in lines)  # fmt: skip


def test_validation_leaves_ungraded_completions_out(tmp_path):
    the_stage = stage(schedule=ScheduleConfig(num_updates=1, validate_every=1, save_every=1))

    class Second:
        def __init__(self):
            self.num_calls = 0

        def __call__(self, action, target):
            raise AssertionError

        def many(self, pairs):
            self.num_calls += 1
            return [Ungraded(reason="crash") if place == 1 else 0.1 * (place % 3) for place in range(len(pairs))]

    the_stage = replace(the_stage, scoring=replace(the_stage.scoring, reward=Second()))
    trainer(the_stage, tmp_path).train()
    assert read_metrics(tmp_path)[0]["validation/ungraded_rate"] == 0.5
    assert read_metrics(tmp_path)[0]["validation/reward"] == 0.0


def test_a_gated_run_learns_from_outcomes_and_counts_its_tokens(tmp_path):
    """A policy of random weights: the outcome is made up from the action, the rest of the solution really sampled."""
    step = StepExample(
        trajectory_id="t", step_index=0, num_steps=2, problem="p", context=(), title="", target_action="seven",
        target_body="seven", answer="42", source=Source(file="f", row=0),
    )  # fmt: skip
    gate = OutcomeGate(
        mode="gate",
        weight=0.5,
        prompt=lambda step, action: ChatPrompt(messages=({"role": "user", "content": f"{step.problem} {action}"},)),
        reward=lambda solution, answer: float(len(solution) % 2),
        max_completion_tokens=5,
    )
    the_stage = stage(schedule=ScheduleConfig(num_updates=2, validate_every=9, save_every=9, num_epochs=50))
    the_stage = replace(
        the_stage,
        scoring=replace(the_stage.scoring, gate=gate),
        training=[replace(item, step=step) for item in the_stage.training],
        validation=[],
    )
    trainer(the_stage, tmp_path).train()
    lines = read_metrics(tmp_path)[1:]
    assert all(0 <= line["reward/outcome"] <= 1 for line in lines)
    for line in lines:
        rollouts_alone = line["rollout/completion_tokens"] * line["rollout/num_rollouts"]
        assert line["rollout/sampled_tokens"] > rollouts_alone


# With room for few prompts at a time some are always unfinished when the batch is full.
STALE = SamplingConfig(group_size=4, groups_per_update=4, max_completion_tokens=6, min_reward_std=0.08, max_staleness=2)
MANY_UPDATES = ScheduleConfig(num_updates=9, save_every=4, validate_every=9, num_epochs=50)


def spy_on_updates(the_trainer):
    """Appends (update, ids of the groups, off_policy) to the list that is returned."""
    seen, update = [], the_trainer._updater.update

    def spy(groups, advantages, number, *, off_policy=None):
        seen.append((number, groups, off_policy or [False] * len(groups)))
        return update(groups, advantages, number, **({"off_policy": off_policy} if off_policy else {}))

    the_trainer._updater.update = spy
    return seen


def test_what_is_left_over_is_trained_on_later_if_the_recipe_says_so(tmp_path):
    the_trainer = trainer(stage(sampling=STALE, schedule=MANY_UPDATES), tmp_path)
    seen = spy_on_updates(the_trainer)
    the_trainer.train()
    lines = read_metrics(tmp_path)[1:]
    carried = [line["sampling/num_carried"] for line in lines]
    assert sum(carried) > 0
    assert carried == [sum(off_policy) for _, _, off_policy in seen]
    assert carried[4] == carried[8] == 0  # updates 5 and 9: nothing is kept past a checkpoint
    for before, line, count in zip(lines, lines[1:], carried[1:], strict=False):
        assert count <= before["sampling/num_surplus"] + before["sampling/num_carried"]
        assert line["sampling/num_kept"] == 4
    trained = [id(rollout) for _, groups, _ in seen for group in groups for rollout in group.rollouts]
    assert len(trained) == len(set(trained))  # no group is trained on twice
    sampled = sum(line["rollout/num_rollouts"] for line in lines)
    state = json.loads((tmp_path / "checkpoints/srl/update-00009/state.json").read_text())
    assert state["num_rollouts"] == sampled
    kept, rejected = (sum(line[f"sampling/num_{name}"] for line in lines) for name in ("kept", "rejected"))
    assert sampled == 4 * (kept - sum(carried) + rejected + sum(line["sampling/num_surplus"] for line in lines))


@pytest.mark.parametrize("killed_at_part", [9, 15, 27])
def test_a_run_with_stale_groups_is_resumed_exactly(tmp_path, killed_at_part):
    the_stage = stage(sampling=STALE, schedule=MANY_UPDATES)
    model, tokenizer = tiny_policy()
    trainer(
        the_stage, tmp_path / "whole", engine=TransformersEngine(model, tokenizer, batch_size=8), model=model
    ).train()
    model, tokenizer = tiny_policy()
    parts = itertools.count(1)
    engine = MortalEngine(TransformersEngine(model, tokenizer, batch_size=8), lambda: next(parts) == killed_at_part)
    with pytest.raises(KilledError):
        trainer(the_stage, tmp_path / "killed", engine=engine, model=model).train()
    checkpoints = sorted((tmp_path / "killed/checkpoints/srl").glob("update-?????"))
    model = load_policy(checkpoints[-1])[0] if checkpoints else tiny_policy()[0]
    resumed = trainer(
        the_stage, tmp_path / "killed", engine=TransformersEngine(model, tokenizer, batch_size=8), model=model
    )
    resumed.resume()
    resumed.train()
    lines = read_metrics(tmp_path / "whole")
    assert sum(line.get("sampling/num_unfinished", 0) for line in lines) > 0
    assert without_times(read_metrics(tmp_path / "killed")) == without_times(lines)
    last = Path("checkpoints/srl/update-00009")
    assert_same_weights(weights(tmp_path / "killed" / last), weights(tmp_path / "whole" / last))


def test_the_order_of_arrival_and_the_room_of_the_engine_change_no_batch(tmp_path):
    """The first update of engines with room for two, four and many prompts."""
    seen = {}
    for batch_size in (8, 16, 256):
        model, tokenizer = tiny_policy()
        engine = TransformersEngine(model, tokenizer, batch_size=batch_size)
        sampling = replace(STALE, max_staleness=0)
        once = ScheduleConfig(num_updates=1, save_every=4, validate_every=9, num_epochs=50)
        the_trainer = trainer(
            stage(sampling=sampling, schedule=once), tmp_path / str(batch_size), engine=engine, model=model
        )
        updates = spy_on_updates(the_trainer)
        the_trainer.train()
        ((_, groups, _),) = updates
        seen[batch_size] = [(group.example.example_id, group.rewards) for group in groups]
    assert seen[8] == seen[16] == seen[256]


def test_groups_that_are_too_old_are_drawn_again(tmp_path):
    """Every group is kept; each update is left with one more than it can use."""
    sampling = replace(STALE, max_staleness=1, min_reward_std=0.0)
    the_trainer = trainer(stage(sampling=sampling, schedule=MANY_UPDATES), tmp_path)
    collector = the_trainer._collector
    first = collector.collect(1)
    old = replace(first, left_over=[replace(group, rollouts=group.rollouts) for group in first.kept])
    collector._carry_over(old, [], 1)
    assert collector.collect(2).num_carried == 4
    collector._carry_over(old, [], 1)
    third = collector.collect(3)
    assert third.num_carried == 0
    assert [group.example.example_id for group in third.kept] == [group.example.example_id for group in first.kept]


def test_carried_groups_are_in_a_checkpoint_as_examples_to_draw(tmp_path):
    collector = trainer(stage(sampling=STALE, schedule=MANY_UPDATES), tmp_path)._collector
    first = collector.collect(1)
    collector._carry_over(replace(first, left_over=[*first.kept, stage().training[0]]), [], 1)
    names = [group.example.example_id for group in first.kept]
    state = collector.state()
    assert [*state["carried"], *state["stream"]["given_back"]][:5] == [*names, "e2"]  # the last one was not finished
    collector._carry_over(replace(first, left_over=[]), collector._carried, 4)  # a checkpoint follows
    assert collector.state()["stream"]["given_back"][:4] == names
    assert not collector._carried


def test_stale_groups_need_an_engine_that_says_its_logprobs(tmp_path):
    def reply(prompt, index):
        return "seven times six"[: 3 + index * 3]

    engine = ScriptedEngine(reply)
    the_trainer = trainer(stage(sampling=STALE, schedule=MANY_UPDATES), tmp_path, engine=engine)
    seen = spy_on_updates(the_trainer)
    with pytest.raises(SRLError, match=r"no log-probabilities with its rollouts of example e\d+"):
        the_trainer.train()
    assert not seen
    assert engine.num_calls == 2  # the validation and the first round of the first update
