"""A trained model -> the outcomes of every problem, in the ways that the task is measured.

Text tasks: whole solutions and chains of steps, greedily and sampled, and single steps given the expert's context. A
step without thoughts counts as its text for every method: training on the expert's steps alone unlearns to think, and
such a policy is judged by its answers. Agents' tasks: the policy acts in the environment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srl.compute_config import ModelConfig
from srl.config import StageConfig
from srl.engines import Engine
from srl.evaluation.command import fingerprint_model, fit_window
from srl.evaluation.folder import read_samples
from srl.evaluation.problems import load_problems
from srl.evaluation.runner import EvaluationSettings, evaluate
from srl.evaluation.solve import ChainLimits, SolveOutcome, SolveRecord
from srl.evaluation.step_accuracy import step_accuracy
from srl.example_store import load_examples
from srl.examples import ExampleSettings
from srl.study.config import StudyConfig
from srl.study.rows import Outcomes
from srl.study.task_data import TaskFiles
from srl.tasks import TASKS
from srl.types import SamplingParams

MODES = ("whole", "stepwise")
STEPS = "steps/greedy"
"""Single steps given the expert's context."""


@dataclass(frozen=True, kw_only=True)
class _Limits:
    """Lengths of completions and chains."""

    solution_tokens: int
    step_tokens: int
    steps: int


def measure(
    study: StudyConfig,
    files: TaskFiles,
    *,
    model: str,
    precision: ModelConfig,
    stage: StageConfig,
    seed: int,
    output: Path,
) -> Outcomes:
    """Measure the model in a folder; ``output`` keeps the samples, and a call that was killed is continued there.

    ``stage``: whose prompts the model is asked with. ``precision``: number format of the forward pass.
    """
    from srl.engines.transformers import TransformersEngine  # torch is loaded only when there is work for it

    engine = TransformersEngine.from_pretrained(
        model, precision=precision.precision, batch_size=study.task.evaluation_batch_size
    )
    if study.task.name == "shell":
        return _measure_shell(engine, study, files, stage, seed)
    limits = _limits(study)
    solved = _solve(engine, study, files, limits, model=model, stage=stage, seed=seed, output=output)
    if not files.test_steps:
        return solved
    return {STEPS: _measure_steps(engine, files.test_steps, limits, stage)} | solved


def _limits(study: StudyConfig) -> _Limits:
    if study.task.name == "own":
        task = study.task
        return _Limits(solution_tokens=task.max_solution_tokens, step_tokens=task.max_step_tokens, steps=task.max_steps)
    known = TASKS[study.task.name]
    return _Limits(solution_tokens=known.max_solution_tokens, step_tokens=known.max_step_tokens, steps=known.max_steps)


def _solve(
    engine: Engine,
    study: StudyConfig,
    files: TaskFiles,
    limits: _Limits,
    *,
    model: str,
    stage: StageConfig,
    seed: int,
    output: Path,
) -> Outcomes:
    num_samples = study.task.num_samples
    settings = EvaluationSettings(
        num_samples=num_samples,
        sampling=SamplingParams(temperature=1.0, max_completion_tokens=limits.solution_tokens),
        limits=ChainLimits(max_steps=limits.steps),
        context_in=stage.prompt.context_in,
        texts=stage.prompt.texts,
        needs_think=False,
        seed=seed,
        batch_size=study.task.evaluation_batch_size,
        model=fingerprint_model(model),
    )
    evaluate(engine, load_problems(files.problems), modes=MODES, settings=fit_window(settings, model), output=output)
    return collect_outcomes(read_samples(output / "samples.jsonl"), num_samples)


def collect_outcomes(records: Sequence[SolveRecord], num_samples: int) -> Outcomes:
    """The samples by metric and problem, in the order of MODES; what could not be graded is left out."""
    names = {
        (mode, greedy): f"{mode}/{'greedy' if greedy else f'avg@{num_samples}'}"
        for mode in MODES
        for greedy in (True, False)
    }
    found: Outcomes = {name: {} for name in names.values()}
    for record in sorted(records, key=lambda record: record.sample_index):
        if record.outcome is not SolveOutcome.UNGRADED:
            name = names[record.mode, record.temperature == 0]
            found[name].setdefault(record.problem_id, []).append(record.is_correct)
    return {name: dict(sorted(problems.items())) for name, problems in found.items() if problems}


def _measure_steps(engine: Engine, source: str, limits: _Limits, stage: StageConfig) -> dict[str, list[bool]]:
    examples = load_examples(source, ExampleSettings(include_last_step=True)).store
    records, _ = step_accuracy(
        engine,
        examples,
        context_in=stage.prompt.context_in,
        title_in_prompt=stage.prompt.title_in_prompt,
        max_completion_tokens=limits.step_tokens,
        texts=stage.prompt.texts,
        needs_think=False,
    )
    by_problem: dict[str, list[bool]] = {}
    for record in records:
        by_problem.setdefault(record.trajectory_id, []).append(record.is_match)
    return by_problem


def _measure_shell(engine: Engine, study: StudyConfig, files: TaskFiles, stage: StageConfig, seed: int) -> Outcomes:
    """The policy at work in the environment, and single actions after the expert's rounds."""
    from srl.tasks.shell.evaluation import evaluate_shell  # starts sandboxes
    from srl.tasks.shell.expert import read_problems

    return evaluate_shell(
        engine,
        read_problems(Path(files.problems)),
        num_samples=study.task.num_samples,
        needs_think=False,
        seed=seed,
        context_turns=stage.prompt.context_turns,
        texts=stage.prompt.texts,
    )
