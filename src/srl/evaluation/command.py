"""The command ``srl evaluate``: builds the engine, shows progress, prints the table."""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from srl.engines import Engine
from srl.errors import ConfigError
from srl.evaluation.folder import count_ungraded
from srl.evaluation.problems import load_problems
from srl.evaluation.runner import EvaluationSettings, evaluate
from srl.evaluation.solve import ChainLimits, Mode
from srl.prompts import DEFAULT_TEXTS, ContextPlace, PromptTexts
from srl.recipe import load_recipe
from srl.rewards.final_answer import Unmarked
from srl.types import Problem, SamplingParams, Score

FINGERPRINT_FILES = (".safetensors", ".json", ".jinja", ".txt", ".model")
"""Files of a model folder that decide what it writes: weights, configuration, tokenizer, chat template."""
_CHUNK_BYTES = 1 << 16
_MAX_CHUNKS = 64


def evaluate_command(
    problems: tyro.conf.Positional[str],
    *,
    model: str,
    output: Path,
    modes: tuple[Mode, ...] = ("whole", "stepwise"),
    num_samples: int = 0,
    temperature: float = 1.0,
    max_completion_tokens: int = 2048,
    max_steps: int = 32,
    max_prompt_tokens: int | None = None,
    context_in: ContextPlace = "user",
    prompts_from: Path | None = None,
    unmarked: Unmarked = "wrong",
    precision: Literal["float32", "bfloat16"] = "float32",
    batch_size: int = 64,
    seed: int = 0,
) -> None:
    """Measure a model on problems with answers: greedy accuracy, avg@k and pass@k with 95 % intervals.

    Writes settings.json, samples.jsonl and scores.json. The same command again continues where it was stopped.

    Args:
        problems: JSONL, JSON or Parquet file, or Hub dataset, with a problem and its answer in each row.
        model: Local folder or Hub id of the model.
        output: Folder to write; new, or one that this very command has begun.
        modes: whole: the solution in one completion. stepwise: step by step, each step with its own thinking.
        num_samples: Samples per problem for avg@k and pass@k, beside the greedy one. 0: greedy only.
        temperature: Temperature of these samples.
        max_completion_tokens: Longer completions are cut and count as wrong.
        max_steps: Steps after which a stepwise solution without an answer is given up.
        max_prompt_tokens: Give a stepwise solution up at longer prompts. None: what the model's window leaves.
        context_in: Where the steps written so far stand: in the user's turn or at the start of the assistant's.
        prompts_from: Recipe, or config.json of a run: ask with its texts and its context_in.
        unmarked: What counts where a whole solution marks no final answer: nothing, or its last number.
        precision: Number format of the forward pass.
        batch_size: Completions sampled together.
        seed: Seed of everything sampled.
    """
    console = Console()
    _check_modes(modes, unmarked)
    context_in, texts = read_prompts(prompts_from, context_in)
    try:
        settings = EvaluationSettings(
            num_samples=num_samples,
            sampling=SamplingParams(temperature=temperature, max_completion_tokens=max_completion_tokens),
            limits=ChainLimits(max_steps=max_steps, max_prompt_tokens=max_prompt_tokens),
            context_in=context_in,
            texts=texts,
            seed=seed,
            batch_size=batch_size,
            unmarked=unmarked,
            model=f"{fingerprint_model(model)} in {precision}",
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    rows = load_problems(problems)
    engine = _load_engine(model, precision, batch_size)
    scores = _evaluate_with_progress(engine, rows, modes, fit_window(settings, model), output, console)
    _print_result(scores, output, console)


def _check_modes(modes: tuple[Mode, ...], unmarked: Unmarked) -> None:
    if not modes or len(set(modes)) < len(modes):
        raise ConfigError(f"modes are {', '.join(modes) or 'empty'}; use whole, stepwise, or both, each once")
    if unmarked != "wrong" and "whole" not in modes:
        raise ConfigError(f"unmarked = {unmarked} has no effect without the mode whole; leave it out")


def read_prompts(path: Path | None, context_in: ContextPlace) -> tuple[ContextPlace, PromptTexts]:
    """Context place and texts of the first SRL stage of a recipe, else of its first stage."""
    if path is None:
        return context_in, DEFAULT_TEXTS
    stages = list(load_recipe(path).stages.values())
    stage = next((stage for stage in stages if stage.kind == "srl"), stages[0])
    return stage.prompt.context_in, stage.prompt.texts


def _load_engine(model: str, precision: Literal["float32", "bfloat16"], batch_size: int) -> Engine:
    from srl.engines.transformers import TransformersEngine  # torch is loaded only when there is work for it

    return TransformersEngine.from_pretrained(model, precision=precision, batch_size=batch_size)


def _evaluate_with_progress(
    engine: Engine,
    problems: list[Problem],
    modes: tuple[Mode, ...],
    settings: EvaluationSettings,
    output: Path,
    console: Console,
) -> list[Score]:
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("samples")
        return evaluate(
            engine,
            problems,
            modes=modes,
            settings=settings,
            output=output,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )


def _print_result(scores: list[Score], output: Path, console: Console) -> None:
    print_scores(scores, console, num_ungraded=count_ungraded(output))
    console.print(f"samples: {escape(str(output / 'samples.jsonl'))}", highlight=False, soft_wrap=True)


def print_scores(scores: list[Score], console: Console, *, num_ungraded: int = 0) -> None:
    """The scores as a table that fits into 80 columns, and how many samples they leave out."""
    table = Table()
    table.add_column("score")
    for heading in ("%", "95 % interval", "problems", "samples"):
        table.add_column(heading, justify="right")
    for score in scores:
        interval = f"{100 * score.low:.1f} to {100 * score.high:.1f}"
        table.add_row(
            escape(score.name), f"{100 * score.value:.1f}", interval, str(score.num_problems), str(score.num_samples)
        )
    console.print(table)
    if num_ungraded:
        console.print(f"left out, because they could not be graded: {num_ungraded:,} samples (docs/grading.md)")


def fit_window(settings: EvaluationSettings, model: str) -> EvaluationSettings:
    """The settings with the longest prompt that leaves room for a completion, unless one is set."""
    window = _window(model)
    if settings.limits.max_prompt_tokens is not None or window is None:
        return settings
    longest = window - settings.sampling.max_completion_tokens
    return replace(settings, limits=replace(settings.limits, max_prompt_tokens=longest))


def _window(model: str) -> int | None:
    """Positions the model can attend to, None when its configuration does not say."""
    transformers: Any = importlib.import_module("transformers")
    window = getattr(transformers.AutoConfig.from_pretrained(model), "max_position_embeddings", None)
    return window if isinstance(window, int) else None


def fingerprint_model(path: str) -> str:
    """The name of a model with, for a local folder, a fingerprint of its files; a Hub id stands for itself.

    Reads at most 4 MiB of each file, in pieces spread evenly over it: weights that were trained further differ in all
    parts, and a 7B model must not be read twice.
    """
    folder = Path(path)
    if not folder.is_dir():
        return path
    digest = hashlib.sha256()
    for file in sorted(entry for entry in folder.iterdir() if entry.suffix in FINGERPRINT_FILES):
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}:".encode())
        stride = max(_CHUNK_BYTES, -(-size // _MAX_CHUNKS))
        with file.open("rb") as stream:
            for start in range(0, size, stride):
                stream.seek(start)
                digest.update(stream.read(_CHUNK_BYTES))
    return f"{folder.resolve().name}@{digest.hexdigest()[:12]}"
