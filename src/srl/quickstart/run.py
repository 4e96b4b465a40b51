"""``srl quickstart``: base and expert trajectories in, SRL then RLVR, scores on held-out problems and a report out.

Everything goes the way that a user's own data goes: the expert's solutions are written to files, the recipe is an
ordinary recipe, and the stages, the evaluation and the report are those of the other commands. What is printed is
what was measured in this run.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from srl.checkpoint import final_model
from srl.config import RunConfig
from srl.engines.transformers import TransformersEngine
from srl.errors import ConfigError, SamplingError
from srl.evaluation.command import fingerprint_model
from srl.evaluation.problems import load_problems
from srl.evaluation.runner import EvaluationSettings, evaluate
from srl.evaluation.solve import ChainLimits
from srl.evaluation.step_accuracy import step_accuracy
from srl.example_store import load_examples
from srl.examples import ExampleSettings
from srl.quickstart.sft import train_on_solutions
from srl.recipe import load_recipe
from srl.report.html import write_report
from srl.run_dir import refuse_existing, write_json
from srl.stages import run_with_display
from srl.tasks import CHAINS, copy_base, write_expert_files
from srl.tasks.pretraining import rebuild_base
from srl.trajectories.reader import read_trajectories
from srl.types import SamplingParams, Score, Trajectory

NUM_TRAIN, NUM_VALIDATION, NUM_TEST = 100, 20, 64
DATA_SEED = 2026  # the problems stay the same; --seed changes the training
NUM_SAMPLES = 4
EVALUATION_BATCH = 200
SFT_BATCH, SFT_LEARNING_RATE = 32, 5e-4
SHOWN_SCORES = (
    "steps/greedy",
    "stepwise/greedy",
    f"stepwise/avg@{NUM_SAMPLES}",
    "whole/greedy",
    f"whole/avg@{NUM_SAMPLES}",
)


@dataclass(frozen=True, kw_only=True)
class QuickstartResult:
    """What a quickstart measured."""

    models: dict[str, list[Score]]
    """Scores by model: base, srl, rlvr and, with a comparison, rlvr-alone and sft."""
    sampled_tokens: dict[str, int]
    """Tokens that were sampled to train each model, all its stages together; 0 for base and sft."""
    seconds: dict[str, float]
    """Wall time by part."""


def quickstart(
    run_dir: Path,
    console: Console,
    *,
    seed: int,
    compare: bool = False,
    resume: bool = False,
    from_nothing: bool = False,
) -> QuickstartResult:
    """Run it all; returns what was measured and leaves scores.json and report.html in ``run_dir``."""
    clock = _Clock()
    data = run_dir.with_name(run_dir.name + "-data")
    if not resume:
        refuse_existing(run_dir)
    prepare(data, console, from_nothing=from_nothing, keep_base=resume)
    config = quickstart_config(run_dir, data, seed=seed)
    clock.stop("prepare")
    run_with_display(config, console, resume=resume)
    clock.stop("train")
    folders = {"base": data / "base"}
    folders |= {stage: _final(run_dir, stage) for stage in config.stages}
    result = _measure(folders, data, config, console, clock)
    if compare:
        folders |= train_comparisons(config, data, console, resume=resume)
        clock.stop("compare")
        result = _measure(folders, data, config, console, clock)
    return result


def _measure(
    folders: dict[str, Path], data: Path, config: RunConfig, console: Console, clock: _Clock
) -> QuickstartResult:
    """Score the models that have no scores yet, and write scores.json and the report."""
    run_dir = Path(config.run_dir)
    models = {
        name: score_model(folder, data, run_dir / "evaluation" / name, config, console, name)
        for name, folder in folders.items()
    }
    clock.stop("evaluate")
    sampled_tokens = dict.fromkeys(folders, 0) | count_sampled_tokens(run_dir)
    if "rlvr-alone" in folders:
        sampled_tokens["rlvr-alone"] = count_sampled_tokens(run_dir / "rlvr-alone")["rlvr"]
    result = QuickstartResult(models=models, sampled_tokens=sampled_tokens, seconds=clock.seconds)
    problems = f"{NUM_TEST} held-out problems of the embedded task"
    write_json(run_dir / "scores.json", {"problems": problems, **asdict(result)})
    write_report(run_dir)
    return result


def prepare(data: Path, console: Console, *, from_nothing: bool, keep_base: bool = False) -> None:
    """Write the base and the expert's trajectories to ``data``; ``keep_base`` keeps a base that is there already."""
    data.mkdir(parents=True, exist_ok=True)
    base = data / "base"
    if from_nothing and not (keep_base and base.exists()):
        console.print("training the base from nothing")
        with tempfile.TemporaryDirectory(dir=data) as rebuilt:
            rebuild_base(CHAINS, rebuilt, log_every=100)
            copy_base(Path(rebuilt), base)
    elif not (keep_base and base.exists()):
        copy_base(CHAINS.base_folder, base)
    write_expert_files(
        CHAINS, data, num_train=NUM_TRAIN, num_validation=NUM_VALIDATION, num_test=NUM_TEST, seed=DATA_SEED
    )
    example = next(item for item in read_trajectories(str(data / "train.jsonl")) if isinstance(item, Trajectory))
    console.print(f"[bold]a problem[/bold]  {example.problem}", highlight=False)
    console.print(f"[bold]its expert[/bold] {example.steps[0].text.strip()} ...", highlight=False)


def quickstart_config(run_dir: Path, data: Path, *, seed: int) -> RunConfig:
    """The shipped recipe with the folders and the seed of this run."""
    recipe = load_recipe(recipe_path("quickstart"))
    stages = {
        name: replace(
            stage,
            data=replace(stage.data, train=str(data / "train.jsonl"), validation=str(data / "validation.jsonl")),
        )
        for name, stage in recipe.stages.items()
    }
    return replace(
        recipe, run_dir=str(run_dir), seed=seed, model=replace(recipe.model, path=str(data / "base")), stages=stages
    )


def recipe_path(name: str) -> Path:
    """A shipped recipe: inside the installed package, or beside the source tree."""
    package = Path(__file__).parents[1]
    for folder in (package / "recipes", package.parents[1] / "recipes"):
        if (folder / f"{name}.toml").is_file():
            return folder / f"{name}.toml"
    raise ConfigError(f"the recipe {name}.toml is missing from this installation; install the package again")


def train_comparisons(config: RunConfig, data: Path, console: Console, *, resume: bool) -> dict[str, Path]:
    """RLVR alone with as many rollouts, and SFT with as many examples, from the same base."""
    budget = sum(int(line.get("rollout/num_rollouts", 0)) for line in _read_metrics(Path(config.run_dir)))
    console.print(f"comparison at {budget:,} rollouts or examples each")
    rlvr = config.stages["rlvr"]
    schedule = replace(rlvr.schedule, num_updates=0, max_rollouts=budget, num_epochs=10**6)
    alone = replace(config, run_dir=f"{config.run_dir}/rlvr-alone", stages={"rlvr": replace(rlvr, schedule=schedule)})
    resume_alone = resume and (Path(alone.run_dir) / "config.json").exists()
    folders: dict[str, Path] = {}
    try:
        folders["rlvr-alone"] = run_with_display(alone, console, resume=resume_alone)
    except SamplingError as error:  # a result, too: from this base RLVR alone finds nothing to learn from
        console.print(f"rlvr-alone has no result: {error}", highlight=False)
    sft = Path(config.run_dir) / "sft"
    if not sft.exists():
        read = read_trajectories(str(data / "train.jsonl"))
        train_on_solutions(
            data / "base",
            [item for item in read if isinstance(item, Trajectory)],
            sft,
            texts=CHAINS.texts,
            num_examples=budget,
            batch_size=SFT_BATCH,
            learning_rate=SFT_LEARNING_RATE,
            seed=config.seed,
        )
    return folders | {"sft": sft}


def count_sampled_tokens(run_dir: Path) -> dict[str, int]:
    """Tokens sampled up to the end of each stage of a run."""
    totals: dict[str, int] = {}
    total = 0
    for line in _read_metrics(run_dir):
        total += line.get("rollout/sampled_tokens", 0)
        totals[line["stage"]] = total
    return totals


def _read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text("utf-8").splitlines()]


def score_model(folder: Path, data: Path, output: Path, config: RunConfig, console: Console, name: str) -> list[Score]:
    """Step accuracy and both solving modes on the test problems."""
    engine = TransformersEngine.from_pretrained(str(folder), batch_size=EVALUATION_BATCH)
    prompt = config.stages["srl"].prompt
    columns = (TextColumn("evaluating {task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(name)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        examples = load_examples(str(data / "test.jsonl"), ExampleSettings(include_last_step=True)).store
        _, steps = step_accuracy(
            engine,
            examples,
            context_in=prompt.context_in,
            title_in_prompt=False,
            max_completion_tokens=CHAINS.max_step_tokens,
            texts=prompt.texts,
            on_progress=show,
        )
        settings = EvaluationSettings(
            num_samples=NUM_SAMPLES,
            sampling=SamplingParams(temperature=1.0, max_completion_tokens=CHAINS.max_solution_tokens),
            limits=ChainLimits(max_steps=CHAINS.max_steps, max_prompt_tokens=None),
            context_in=prompt.context_in,
            texts=prompt.texts,
            batch_size=EVALUATION_BATCH,
            model=fingerprint_model(str(folder)),
        )
        problems = load_problems(str(data / "test.jsonl"))
        solved = evaluate(
            engine, problems, modes=("stepwise", "whole"), settings=settings, output=output, on_progress=show
        )
    return [steps, *solved]


def print_result(result: QuickstartResult, console: Console) -> None:
    """The table of what was measured, in percent with 95 % intervals."""
    table = Table(title="held-out problems, % right [95 % interval]")
    table.add_column("model")
    for name in SHOWN_SCORES:
        table.add_column(name.replace("/", "\n"), justify="right")
    table.add_column("tokens\nsampled", justify="right")
    for model, scores in result.models.items():
        by_name = {score.name: score for score in scores}
        tokens = f"{result.sampled_tokens[model] / 1e6:.2f} M"
        table.add_row(model, *(_cell(by_name[name]) for name in SHOWN_SCORES), tokens)
    console.print(table)
    console.print(
        "steps: the next step given the expert's earlier ones; stepwise: the policy's own steps fed back; "
        f"whole: the solution in one completion. {sum(result.seconds.values()):.0f} seconds in all.",
        highlight=False,
    )


def _cell(score: Score) -> str:
    return f"{100 * score.value:.0f}\n[{100 * score.low:.0f}-{100 * score.high:.0f}]"


def _final(run_dir: Path, stage: str) -> Path:
    folder = final_model(run_dir / "checkpoints" / stage)
    if folder is None:
        raise ConfigError(f"{run_dir} holds no finished stage {stage}")
    return folder


class _Clock:
    """Wall time between calls of ``stop``."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._last = now()
        self.seconds: dict[str, float] = {}

    def stop(self, part: str) -> None:
        now = self._now()
        self.seconds[part] = round(self.seconds.get(part, 0.0) + now - self._last, 1)
        self._last = now
