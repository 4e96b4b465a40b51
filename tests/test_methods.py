"""The methods of the comparison through the one loop: alive, in their order, and exact when killed and resumed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import KilledError, MortalEngine, parse_anything, stage, tiny_policy, trainer

from srl.advantage import compute_advantages
from srl.completion_rewards import Scoring, score
from srl.config import StageConfig
from srl.data_config import DataConfig, InterleaveConfig, PromptConfig, SelectionConfig
from srl.engines.scripted import ScriptedEngine
from srl.engines.transformers import TransformersEngine
from srl.errors import SRLError
from srl.policy import load_policy
from srl.prompts import PromptTexts
from srl.reward_config import RewardConfig
from srl.rewards.similarity import similarity_reward
from srl.scoring import build_scoring
from srl.stage import Stage, own_steps_of
from srl.stage_data import build_stage
from srl.trainer import Trainer
from srl.training_config import LossConfig, OptimizerConfig, SamplingConfig, ScheduleConfig
from srl.training_examples import mixed_in_problem, start_example, step_example
from srl.types import ChatPrompt, Completion, Problem, Source, StepExample, TrainingExample
from srl.validation import ProblemValidation

TEXTS = PromptTexts(step_system="next", solve_system="solve")
MAKE = partial(step_example, context_in="assistant", title_in_prompt=False, texts=TEXTS)
WORDS = ("seven times", "six is", "forty two", "plus nine")
LEARNING = OptimizerConfig(learning_rate=1e-2)
SAMPLING = SamplingConfig(group_size=4, groups_per_update=4, max_completion_tokens=6, min_reward_std=0.06)
SCHEDULE = ScheduleConfig(num_updates=6, validate_every=2, save_every=2, num_epochs=50)


def steps(num_trajectories: int = 4) -> list[StepExample]:
    """Trajectories of two to four steps."""
    return [
        StepExample(
            trajectory_id=f"t{number}", step_index=index, num_steps=2 + number % 3, problem=f"Number {number}?",
            context=tuple(f"{word}\n\n" for word in WORDS[:index]), title="", target_action=WORDS[index],
            target_body=WORDS[index], answer=str(number), source=Source(file="f", row=number),
        )
        for number in range(num_trajectories)
        for index in range(2 + number % 3)
    ]  # fmt: skip


def made(make: Callable[[StepExample], TrainingExample], shown: list[StepExample]) -> list[TrainingExample]:
    return [replace(make(step), step=step) for step in shown]


def by_answer(action: str, target: str) -> float:
    """What random weights can be right about."""
    return (len(action) + int(target)) % 3 / 2


SOLVING = {"num_validation_problems": 2, "best_by": "whole"}
OWN = PromptConfig(
    texts=TEXTS, context_in="assistant", own_steps="thoughts", own_steps_min_reward=-1.0, own_steps_after=0.2
)
MIX = InterleaveConfig(first_share=0.3, last_share=0.8)
CHOSEN = SelectionConfig(num_rollouts=3, min_reward_std=0.04, easy_share=0.4)
METHODS: dict[str, dict[str, Any]] = {
    "selection": {"selection": CHOSEN},
    "staged": {"kind": "rlvr", "data": DataConfig(train="none", starts="staged", num_start_stages=3)},
    "interleave": {"interleave": MIX},
    "own steps": {"prompt": OWN},
    "solving": {"schedule": replace(SCHEDULE, **SOLVING)},
    "together": {
        "selection": CHOSEN,
        "interleave": MIX,
        "prompt": OWN,
        "schedule": replace(SCHEDULE, **SOLVING, max_rollouts=250),
        "sampling": replace(SAMPLING, max_staleness=1, overlong_tokens=2),
        "loss": LossConfig(scale_by_std=False, divide_by="constant"),
    },
}


def stage_of(method: str) -> Stage:
    """A stage for a policy of random weights, whose rewards differ from the first rollout on."""
    sections: dict[str, Any] = {"kind": "srl", "data": DataConfig(train="none"), "sampling": SAMPLING}
    sections |= {"schedule": SCHEDULE, "optimizer": LEARNING, "prompt": PromptConfig(texts=TEXTS)} | METHODS[method]
    if sections["kind"] == "rlvr":
        sections["prompt"] = PromptConfig(texts=TEXTS)
    config, shown = StageConfig(**sections), steps()
    make = partial(start_example, texts=TEXTS) if config.kind == "rlvr" else MAKE
    last = [step for step in shown if step.step_index == step.num_steps - 1]
    similarity = similarity_reward(autojunk=False, first_argument="action")
    outcome = Scoring(parse=parse_anything, reward=by_answer, format_penalty=0.0)
    of_steps = replace(outcome, reward=similarity, length_penalty=build_scoring(config).length_penalty)
    return Stage(
        name="srl",
        config=config,
        training=made(make, shown),
        validation=made(make, steps(1)),
        scoring=outcome if config.kind == "rlvr" else replace(of_steps, problems=outcome),
        problems=made(partial(mixed_in_problem, texts=TEXTS), last) if config.interleave.is_on else (),
        make=make,
        validation_problems=ProblemValidation(
            problems=[Problem(problem_id=f"p{n}", problem=f"Number {n}?", answer=str(n)) for n in range(2)],
            context_in="user", texts=TEXTS, max_step_tokens=6, max_solution_tokens=6,
            max_prompt_tokens=400, max_steps=3,
        ) if config.schedule.num_validation_problems else None,
    )  # fmt: skip


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.startswith("time/")} for line in lines]


def read_groups(folder: Path) -> list[dict[str, Any]]:
    paths = sorted((folder / "rollouts").glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def assert_same_tensors(one: Path, other: Path, name: str) -> None:
    ours, theirs = (load_file(folder / f"{name}.safetensors") for folder in (one, other))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Method -> folder of its run, made once."""
    runs: dict[str, Path] = {}

    def run(method: str) -> Path:
        if method not in runs:
            runs[method] = tmp_path_factory.mktemp("run")
            trainer(stage_of(method), runs[method]).train()
        return runs[method]

    return run


@pytest.mark.parametrize("method", METHODS)
def test_the_method_is_alive(never_killed: Callable[[str], Path], method: str) -> None:
    """Without this the tests of resuming would be of plain runs."""
    lines = read_metrics(never_killed(method))
    updates = lines[1:]
    assert len([line for line in updates if "loss/policy" in line]) == 6
    assert sum(line["sampling/num_rejected"] + line["sampling/num_surplus"] for line in updates) > 0
    if method in ("selection", "together"):
        assert 3 <= lines[0]["selection/num_chosen"] < len(steps())
    if method in ("interleave", "together"):
        assert 0 < sum(line.get("sampling/problem_rate", 0.0) for line in updates) < len(updates)
        assert any("reward/problems" in line for line in updates)
    if method in ("own steps", "together"):
        rates = [line["sampling/own_steps_rate"] for line in updates if "loss/policy" in line]
        assert rates[0] == 0.0
        assert max(rates) > 0.2
        assert any(
            "<think></think>" in group["prompt"]["assistant_prefix"] for group in read_groups(never_killed(method))
        )
    if method in ("solving", "together"):
        assert all("validation/whole_accuracy" in line for line in lines if "validation/reward" in line)
        assert (never_killed(method) / "checkpoints/srl/final.json").read_text().count("best-") == 1
    if method == "staged":
        given = {group["update"]: [] for group in read_groups(never_killed(method))}
        for group in read_groups(never_killed(method)):
            given[group["update"]].append(group["step"]["step_index"])
        assert min(given[1]) > 0
        assert set(given[5]) == set(given[6]) == {0}


@pytest.mark.parametrize(("method", "killed_at_part"), [
    *itertools.product(METHODS, (15,)), ("together", 2), ("own steps", 11),
])  # fmt: skip
def test_killed_and_resumed_equals_never_killed(
    never_killed: Callable[[str], Path], tmp_path: Path, method: str, killed_at_part: int
) -> None:
    """Bit for bit, by a new process's objects from what is on disk."""
    whole, model, parts = never_killed(method), tiny_policy()[0], itertools.count(1)
    engine = TransformersEngine(model, tiny_policy()[1], batch_size=16)
    mortal = MortalEngine(engine, lambda: next(parts) == killed_at_part)
    with pytest.raises(KilledError):
        trainer(stage_of(method), tmp_path, model=model, engine=mortal).train()
    checkpoints = sorted((tmp_path / "checkpoints/srl").glob("update-?????"))
    model = load_policy(checkpoints[-1])[0] if checkpoints else tiny_policy()[0]
    resumed = trainer(stage_of(method), tmp_path, model=model)
    assert bool(checkpoints) == (killed_at_part > 10)
    if checkpoints:
        torch.manual_seed(4711)  # what a checkpoint holds must not depend on whatever the global state is
    resumed.resume()
    final = resumed.train()
    last = Path("checkpoints/srl") / sorted(path.name for path in (whole / "checkpoints/srl").glob("update-*"))[-1]
    assert_same_tensors(tmp_path / last, whole / last, "model")
    assert_same_tensors(tmp_path / last, whole / last, "optimizer")
    assert_same_tensors(final, whole / "checkpoints/srl" / final.name, "model")
    assert json.loads((tmp_path / last / "state.json").read_text()) == json.loads(
        (whole / last / "state.json").read_text()
    )
    assert read_metrics(tmp_path) == read_metrics(whole)
    assert read_groups(tmp_path) == read_groups(whole)


SOLUTION = "1. **Add** 2+{n}={s}\n\n2. **Double** {s}*2={d}\n\n3. **Conclude** The answer is \\boxed{{{d}}}."


@pytest.fixture
def solutions(tmp_path: Path) -> str:
    rows = [
        {"id": f"t{n}", "problem": f"What is (2+{n})*2?", "solution": SOLUTION.format(n=n, s=2 + n, d=4 + 2 * n)}
        for n in range(6)
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(tmp_path / "train.jsonl")


def stage_from(source: str, **sections: Any) -> Stage:
    settings: dict[str, Any] = {
        "data": DataConfig(train=source, num_validation_trajectories=0, include_last_step=True),
        "prompt": PromptConfig(texts=TEXTS, context_in="assistant"),
        "sampling": replace(
            SAMPLING, max_completion_tokens=120, groups_per_update=4, dynamic=False, min_reward_std=0.01
        ),
        "schedule": replace(SCHEDULE, rollouts_saved=99),
    }
    return build_stage("srl", StageConfig(kind="srl", **(settings | sections)), seed=0).stage


def reply_to_both(prompt: ChatPrompt, index: int) -> str:
    """Of each group one is right, one a little wrong, one breaks the format of steps, and one that of both."""
    if prompt.messages[0]["content"] == "solve":
        n = int(prompt.messages[1]["content"].split("+")[1].split(")")[0])
        right = f"\\boxed{{{4 + 2 * n}}}"
        return (f"<think>a</think>so {right}", "so \\boxed{99}", f"so {right}", f"{right} <think>")[index]
    return ("<think>a</think>1. **Add** it", "<think>b</think>1. **Odd** it", "1. **Add** it", "1. <think>")[index]


@pytest.mark.parametrize("outcome", ["off", "gate"])
def test_steps_are_paid_for_likeness_and_problems_for_their_answers(
    solutions: str, tmp_path: Path, outcome: Any
) -> None:
    """In one update, each with the format and the penalty of its kind; a gate finishes steps only."""
    mix = InterleaveConfig(first_share=0.5, last_share=0.5)
    the_stage = stage_from(solutions, interleave=mix, reward=RewardConfig(outcome=outcome))
    trainer(the_stage, tmp_path, engine=ScriptedEngine(reply_to_both)).train()
    groups = read_groups(tmp_path)
    similarity = similarity_reward(autojunk=False, first_argument="action")
    assert len(groups) == 6 * 4
    for number, group in enumerate(groups):
        rewards = [rollout["reward"] for rollout in group["rollouts"]]
        is_problem = group["prompt"]["messages"][0]["content"] == "solve"
        assert is_problem == group["example_id"].endswith("#problem") == (number % 2 == 1)
        if is_problem:
            assert rewards == [1.0, 0.0, 1.0, 0.0]
            assert group["target"] in group["rollouts"][0]["text"]
            assert "step" not in group  # its prompt has no earlier steps to copy
            assert all("outcome" not in rollout for rollout in group["rollouts"])
        else:
            full = [similarity(text, group["target"]) for text in ("1. **Add** it", "1. **Odd** it")]
            # The script finishes every solution with index 0, which is right.
            assert rewards == [*full, -1.0, -1.0]
            assert [rollout.get("outcome") for rollout in group["rollouts"]] == (
                [None] * 4 if outcome == "off" else [1.0, 1.0, None, None]
            )
    for line in read_metrics(tmp_path)[1:]:
        assert (line["sampling/problem_rate"], line["reward/problems"]) == (0.5, 0.5)
        assert ("reward/outcome" in line) == (outcome == "gate")
        # Of the eight rollouts of steps four break the format, of those of problems two.
        assert line["rollout/format_error_rate"] == 6 / 16


def test_a_policy_that_only_meets_problems_in_an_update_goes_on(solutions: str, tmp_path: Path) -> None:
    mix = InterleaveConfig(first_share=1.0, last_share=1.0)
    trainer(stage_from(solutions, interleave=mix), tmp_path, engine=ScriptedEngine(reply_to_both)).train()
    lines = read_metrics(tmp_path)[1:]
    assert [line["sampling/problem_rate"] for line in lines] == [1.0] * 6
    assert not any(key.startswith("signals/") for line in lines for key in line)


def test_a_mix_ends_when_one_kind_has_been_drawn_often_enough(solutions: str, tmp_path: Path) -> None:
    """Six problems and eighteen steps, half and half: both were drawn six times when the problems are through."""
    mix = InterleaveConfig(first_share=0.5, last_share=0.5)
    schedule = replace(SCHEDULE, num_updates=0, num_epochs=1, rollouts_saved=99)
    trainer(stage_from(solutions, interleave=mix, schedule=schedule), tmp_path,
            engine=ScriptedEngine(reply_to_both)).train()  # fmt: skip
    drawn = [group["example_id"] for group in read_groups(tmp_path)]
    assert sum(name.endswith("#problem") for name in drawn) == 6
    assert len(drawn) == len(set(drawn)) == 12


def expert_step(n: int, index: int) -> str:
    return SOLUTION.format(n=n, s=2 + n, d=4 + 2 * n).split("\n\n")[index]


@pytest.mark.parametrize("own_steps", ["steps", "thoughts"])
def test_what_the_policy_has_written_well_stands_in_the_contexts_that_follow(
    solutions: str, tmp_path: Path, own_steps: Any
) -> None:
    """The chain through the trainer: first steps are written a little otherwise, second ones badly."""
    asked: list[tuple[int, int, int, str]] = []
    the_trainer: list[Trainer] = []

    def reply(prompt: ChatPrompt, index: int) -> str:
        n = int(prompt.messages[1]["content"].split("+")[1].split(")")[0])
        k = prompt.assistant_prefix.count("**") // 2
        asked.append((the_trainer[0]._state["update"] + 1, n, k, prompt.assistant_prefix))
        if k == 0:
            return f"<think>try {index}</think>{expert_step(n, 0)}{'.' * (index + 1)}"
        return f"<think>no</think>{expert_step(n, k)}{'?' * 60}{index * 'x'}"

    schedule = replace(SCHEDULE, num_updates=9, validate_every=99)
    prompt = replace(OWN, own_steps=own_steps, own_steps_min_reward=0.9, own_steps_after=0.5)
    the_stage = stage_from(solutions, prompt=prompt, schedule=schedule)
    the_trainer.append(trainer(the_stage, tmp_path, engine=ScriptedEngine(reply)))
    the_trainer[0].train()
    thought = "<think>try 0</think>" if own_steps == "thoughts" else ""
    first_asked = {n: min(update for update, m, k, _ in asked if (m, k) == (n, 0)) for n in range(6)}
    num_own = 0
    for update, n, k, prefix in asked:
        is_own = update > max(5, first_asked[n])  # half of nine updates are behind from the sixth on
        first = f"{thought}{expert_step(n, 0)}." if is_own else expert_step(n, 0)
        assert prefix == "".join(f"{text}\n\n" for text in (first, expert_step(n, 1))[:k])
        num_own += is_own and k > 0
    assert num_own > 8
    rates = [line["sampling/own_steps_rate"] for line in read_metrics(tmp_path)[1:]]
    assert rates[:5] == [0.0] * 5
    assert max(rates) > 0


def test_steps_of_groups_that_are_not_trained_on_are_kept_too(solutions: str, tmp_path: Path) -> None:
    """What the policy always writes well is flat, and rejected, and the best there is for a context."""

    def reply(prompt: ChatPrompt, index: int) -> str:
        n = int(prompt.messages[1]["content"].split("+")[1].split(")")[0])
        k = prompt.assistant_prefix.count("**") // 2
        return f"<think></think>{expert_step(n, k)}{'?' * 60 * index if k else ''}"

    sampling = replace(SAMPLING, max_completion_tokens=400, min_reward_std=0.02)
    prompt = replace(OWN, own_steps="steps", own_steps_min_reward=1.0)
    the_trainer = trainer(
        stage_from(solutions, prompt=prompt, sampling=sampling), tmp_path, engine=ScriptedEngine(reply)
    )
    the_trainer.train()
    kept = the_trainer._collector.state()["own_steps"]
    assert {(f"t{n}", 0, expert_step(n, 0)) for n in range(6)} <= {tuple(item) for item in kept}


def test_own_steps_need_what_makes_the_prompts(tmp_path: Path) -> None:
    the_stage = replace(stage_of("own steps"), make=None)
    with pytest.raises(SRLError, match=r"needs the function that makes its examples"):
        trainer(the_stage, tmp_path)
    assert own_steps_of(replace(stage_of("interleave"), make=None), ScriptedEngine(lambda prompt, index: "")) is None


def test_a_prompt_with_own_steps_stays_within_the_window_of_the_stage(tmp_path: Path) -> None:
    """The tiny policy writes at most six tokens; contexts of them are longer than the expert's words now and then."""
    the_stage = stage_of("own steps")
    engine = TransformersEngine(*tiny_policy(), batch_size=16)
    longest = max(engine.count_prompt_tokens(example.prompt) for example in the_stage.training)
    the_trainer = trainer(replace(the_stage, max_prompt_tokens=longest), tmp_path)
    seen: list[int] = []
    draw = the_trainer._collector._draw

    def spy(number: int) -> list[TrainingExample]:
        examples = draw(number)
        seen.extend(engine.count_prompt_tokens(example.prompt) for example in examples)
        return examples

    the_trainer._collector._draw = spy  # type: ignore[method-assign]
    the_trainer.train()
    assert max(seen) <= longest


def spy_on_progress(the_trainer: Trainer) -> list[float]:
    seen: list[float] = []
    collector: Any = the_trainer._collector
    original = collector.collect

    def spied(update: int, progress: float) -> Any:
        seen.append(progress)
        return original(update, progress)

    collector.collect = spied
    return seen


@pytest.mark.parametrize(("method", "limits"), [
    ("selection", {"num_updates": 4}), ("selection", {"num_updates": 0, "max_rollouts": 120}),
    ("selection", {"num_updates": 0, "max_sampled_tokens": 700}), ("interleave", {"num_updates": 0, "num_epochs": 2}),
    ("interleave", {"num_updates": 0, "max_rollouts": 80}),
    ("interleave", {"num_updates": 50, "max_rollouts": 100, "num_epochs": 4}),
])  # fmt: skip
def test_progress_rises_from_0_and_stays_below_1(tmp_path: Path, method: str, limits: dict[str, int]) -> None:
    the_stage = replace(stage_of(method), validation=[])
    config = replace(the_stage.config, schedule=replace(SCHEDULE, **limits))
    the_trainer = trainer(replace(the_stage, config=config), tmp_path)
    seen = spy_on_progress(the_trainer)
    the_trainer.train()
    assert seen[0] == 0.0
    assert all(before < after for before, after in itertools.pairwise(seen))
    assert seen[-1] < 1
    sums = [sum(line.get(f"rollout/{key}", 0) for line in read_metrics(tmp_path)) for key in
            ("num_rollouts", "sampled_tokens")]  # fmt: skip
    for name, total in zip(("max_rollouts", "max_sampled_tokens"), sums, strict=True):
        if name in limits and "num_epochs" not in limits:
            last = read_metrics(tmp_path)[-1]
            assert total >= limits[name] > total - last[f"rollout/{name[4:].replace('rollouts', 'num_rollouts')}"]


class Clock:
    """Every look at it is one step after the one before."""

    def __init__(self, step_seconds: float = 1.0) -> None:
        self.now, self._step_seconds = 0.0, step_seconds

    def perf_counter(self) -> float:
        self.now += self._step_seconds
        return self.now


def test_seconds_are_a_limit_that_goes_on_after_a_kill_and_leave_no_trace_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("srl.trainer.time", Clock())
    the_stage = stage(schedule=replace(SCHEDULE, num_updates=0, max_seconds=9.0, save_every=1))
    the_trainer = trainer(the_stage, tmp_path / "whole")
    seen = spy_on_progress(the_trainer)
    the_trainer.train()
    updates = [line["update"] for line in read_metrics(tmp_path / "whole")]
    assert 3 < len(updates) < 10
    assert seen == [pytest.approx(number * seen[1]) for number in range(len(seen))]
    assert seen[1] > 0

    def stop(metrics: Any) -> None:
        if metrics["update"] == 2:
            raise KilledError

    with pytest.raises(KilledError):
        trainer(the_stage, tmp_path / "killed", on_metrics=stop).train()
    model = load_policy(tmp_path / "killed/checkpoints/srl/update-00001")[0]
    resumed = trainer(the_stage, tmp_path / "killed", model=model)
    resumed.resume()
    resumed.train()
    assert [line["update"] for line in read_metrics(tmp_path / "killed")] == updates
    plain = trainer(stage(schedule=SCHEDULE), tmp_path / "plain")
    plain.train()
    assert plain._state["seconds"] == 0.0  # equal runs have equal states


@pytest.mark.parametrize("scale_by_std", [True, False])
def test_advantages_are_scaled_as_the_objective_says(tmp_path: Path, scale_by_std: bool) -> None:
    """What reaches the update, and what becomes of the weights."""
    once = replace(SCHEDULE, num_updates=1)
    the_trainer = trainer(stage(schedule=once, loss=LossConfig(scale_by_std=scale_by_std)), tmp_path / "a")
    seen: list[tuple[Any, Any]] = []
    update = the_trainer._updater.update

    def spy(groups: Any, advantages: Any, number: int) -> Any:
        seen.extend(zip(groups, advantages, strict=True))
        return update(groups, advantages, number)

    the_trainer._updater.update = spy  # type: ignore[method-assign]
    the_trainer.train()
    assert len(seen) == 3
    for group, advantages in seen:
        mean = sum(group.rewards) / len(group.rewards)
        wanted = [reward - mean for reward in group.rewards]
        assert (advantages == pytest.approx(wanted)) == (not scale_by_std)
        assert advantages == compute_advantages(group.rewards, scale_by_std=scale_by_std)
    trainer(stage(schedule=once, loss=LossConfig(scale_by_std=not scale_by_std)), tmp_path / "b").train()
    one, other = (load_file(tmp_path / kind / "checkpoints/srl/update-00001/model.safetensors") for kind in "ab")
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_a_completion_that_comes_near_the_limit_is_paid_less_whatever_its_kind() -> None:
    config = StageConfig(
        kind="srl", data=DataConfig(train="none"), interleave=MIX,
        sampling=replace(SAMPLING, max_completion_tokens=100, overlong_tokens=20),
    )  # fmt: skip
    scoring = build_scoring(config)
    (step,) = made(MAKE, steps(1)[:1])
    (problem,) = made(partial(mixed_in_problem, texts=TEXTS), steps(1)[:1])
    texts = {"step": "<think></think>seven times", "problem": "\\boxed{0}", "broken": "<think>"}

    def pay(kind: str, example: TrainingExample, num_tokens: int) -> Any:
        completion = Completion(text=texts[kind], token_ids=(1,) * num_tokens, finish_reason="stop")
        (graded,) = score([(completion, example)], scoring)
        return graded.reward

    for num_tokens, penalty in ((80, 0.0), (85, -0.25), (100, -1.0)):
        assert pay("step", step, num_tokens) == 1.0 + penalty
        assert pay("problem", problem, num_tokens) == 1.0 + penalty
        assert pay("broken", step, num_tokens) == -1.0 + penalty
        assert pay("broken", problem, num_tokens) == penalty
