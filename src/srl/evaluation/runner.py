"""Engine and problems -> samples.jsonl, scores.json and a list of Scores; resumable (files: see folder.py).

The work is cut into batches in one fixed way, and a batch's seed depends on its place only. A call that finds finished
samples does the rest and ends with the files an uninterrupted one writes, byte for byte: a batch that was cut in the
middle of its lines is drawn again, and what is missing is added. Only an answer that takes about as long to grade as
the deadline can come out as graded once and as ungraded another time; what stands in the file is not graded again.

The decision a reader would question: ungraded samples are left out of the rates, and counted beside them. Their
answers may be right, so "wrong" would be a guess. A pass@K stays known where one of the others is right.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from srl.engines import Engine
from srl.errors import RewardError, RunDirError
from srl.evaluation.folder import SampleKey, append_samples, open_folder, read_samples, sample_key
from srl.evaluation.solve import (
    ChainLimits,
    Mode,
    SolveOutcome,
    SolveRecord,
    fingerprint,
    first_prompt,
    solve_stepwise,
    solve_whole,
)
from srl.evaluation.statistics import accuracy_score, pass_at_k_score
from srl.prompts import DEFAULT_TEXTS, ContextPlace, PromptTexts
from srl.rewards.final_answer import Unmarked
from srl.run_dir import write_json
from srl.seeds import derive_seed
from srl.types import Problem, SamplingParams, Score

FORMAT_VERSION = 1
"""Raised when samples of an older version could not have been drawn by this one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSettings:
    """What decides the samples, beside the engine and the problems."""

    num_samples: int
    """Samples per problem (k) for avg@k and pass@k, beside the greedy one; 0: greedy only."""
    sampling: SamplingParams
    """Limits of every completion, and the temperature of the k samples (above 0)."""
    limits: ChainLimits
    """Where chains of the stepwise mode are stopped."""
    context_in: ContextPlace
    """Where the earlier steps stand in the stepwise mode."""
    texts: PromptTexts = DEFAULT_TEXTS
    """Wording of the prompts."""
    seed: int = 0
    """Seed of everything sampled."""
    batch_size: int = 256
    """Completions or chains that go to the engine together. Part of the settings, because seeds go by batch."""
    unmarked: Unmarked = "wrong"
    """What counts where a whole solution marks no final answer: nothing, or its last number, as in the Qwen2.5-Math \
package. A chain of steps ends with a marked answer."""
    needs_think: bool = True
    """Whether a step without thoughts breaks the format, as in training; else its text counts as it stands."""
    model: str = ""
    """Name of the policy with a fingerprint of its weights, so that no other one's samples are taken for its own."""

    def __post_init__(self) -> None:
        if self.num_samples < 0 or self.batch_size < 1:
            raise ValueError("num_samples must be at least 0 and batch_size at least 1")
        if self.num_samples > 0 and self.sampling.temperature <= 0:
            raise ValueError(f"{self.num_samples} samples at temperature 0 are all the same; use a temperature above 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Batch:
    """One piece of work."""

    mode: Mode
    is_greedy: bool
    index: int
    problems: tuple[Problem, ...]
    num_samples: int

    def sample_keys(self) -> Iterator[SampleKey]:
        for problem in self.problems:
            for sample_index in range(self.num_samples):
                yield self.mode, self.is_greedy, problem.problem_id, sample_index


def evaluate(
    engine: Engine,
    problems: Sequence[Problem],
    *,
    modes: Sequence[Mode],
    settings: EvaluationSettings,
    output: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Score]:
    """Solve every problem in every mode, greedily and ``settings.num_samples`` times, and score it.

    For each mode the scores "<mode>/greedy" and, with samples, "<mode>/avg@K" and "<mode>/pass@K". ``on_progress``
    gets the number of samples that are done and their total. Raises RunDirError when ``output`` holds something else
    than an evaluation with the same settings; ``modes`` may differ.
    """
    if not problems or not modes:
        raise ValueError("an evaluation needs at least one problem and one mode")
    if len({problem.problem_id for problem in problems}) < len(problems) or len(set(modes)) < len(modes):
        raise ValueError("problem ids and modes must not occur twice: samples are told apart by them")
    described = _describe(settings, problems)
    path = output / "samples.jsonl"
    open_folder(output, described)
    plan = _plan(problems, modes, settings)
    done = {sample_key(record): record for record in read_samples(path)}
    _check_prompts(done, problems, settings, path)
    total = sum(len(batch.problems) * batch.num_samples for batch in plan)
    num_done = sum(key in done for batch in plan for key in batch.sample_keys())
    for batch in plan:
        if on_progress is not None:
            on_progress(num_done, total)
        missing = [key for key in batch.sample_keys() if key not in done]
        if not missing:
            continue
        drawn = {sample_key(record): record for record in _solve(engine, batch, settings)}
        append_samples(path, [drawn[key] for key in missing])
        done |= {key: drawn[key] for key in missing}  # what stands in the file is what is scored
        num_done += len(missing)
    if on_progress is not None:
        on_progress(num_done, total)
    scores = _score(done, problems, modes, settings.num_samples)
    outcomes = _count_outcomes([done[key] for batch in plan for key in batch.sample_keys()], settings.num_samples)
    write_json(
        output / "scores.json",
        {"scores": [asdict(score) for score in scores], "outcomes": outcomes, "settings": described},
    )
    return scores


def _plan(problems: Sequence[Problem], modes: Sequence[Mode], settings: EvaluationSettings) -> list[_Batch]:
    batches: list[_Batch] = []
    for mode in modes:
        for is_greedy, num_samples in ((True, 1), (False, settings.num_samples)):
            if num_samples == 0:
                continue
            size = max(1, settings.batch_size // num_samples)
            batches += [
                _Batch(
                    mode=mode,
                    is_greedy=is_greedy,
                    index=start // size,
                    problems=tuple(problems[start : start + size]),
                    num_samples=num_samples,
                )
                for start in range(0, len(problems), size)
            ]
    return batches


def _solve(engine: Engine, batch: _Batch, settings: EvaluationSettings) -> list[SolveRecord]:
    sampling = replace(settings.sampling, temperature=0.0, top_p=1.0) if batch.is_greedy else settings.sampling
    seed = derive_seed(settings.seed, batch.mode, "greedy" if batch.is_greedy else "sampled", batch.index)
    if batch.mode == "whole":
        return solve_whole(
            engine,
            batch.problems,
            num_samples=batch.num_samples,
            sampling=sampling,
            seed=seed,
            texts=settings.texts,
            unmarked=settings.unmarked,
        )
    return solve_stepwise(
        engine,
        batch.problems,
        num_samples=batch.num_samples,
        sampling=sampling,
        seed=seed,
        limits=settings.limits,
        context_in=settings.context_in,
        texts=settings.texts,
        needs_think=settings.needs_think,
    )


def _score(
    done: dict[SampleKey, SolveRecord], problems: Sequence[Problem], modes: Sequence[Mode], num_samples: int
) -> list[Score]:
    scores: list[Score] = []
    for mode in modes:
        greedy = [[done[mode, True, problem.problem_id, 0]] for problem in problems]
        scores.append(accuracy_score(f"{mode}/greedy", _graded(greedy, f"{mode}/greedy")))
        if num_samples:
            sampled = [
                [done[mode, False, problem.problem_id, index] for index in range(num_samples)] for problem in problems
            ]
            name = f"{mode}/avg@{num_samples}"
            scores.append(accuracy_score(name, _graded(sampled, name)))
            if known := _all_graded(sampled):
                scores.append(pass_at_k_score(f"{mode}/pass@{num_samples}", known, num_samples))
    return scores


def _graded(samples: Sequence[Sequence[SolveRecord]], name: str) -> list[list[bool]]:
    """Right or wrong of the graded samples, problem by problem; problems without any are left out."""
    graded = [
        [record.is_correct for record in records if record.outcome is not SolveOutcome.UNGRADED] for records in samples
    ]
    if not any(graded):
        raise RewardError(
            f"{name}: not one sample could be graded (docs/grading.md). If the machine was too busy, remove the lines "
            'with "ungraded" from samples.jsonl and run the command again, which draws and grades them anew'
        )
    return [outcomes for outcomes in graded if outcomes]


def _all_graded(samples: Sequence[Sequence[SolveRecord]]) -> list[list[bool]]:
    """Right or not of the problems all of whose samples are graded.

    A pass would be certain with one of them ungraded, too, and a failure would not: keeping the passes alone would
    raise the rate.
    """
    return [
        [record.is_correct for record in records]
        for records in samples
        if all(record.outcome is not SolveOutcome.UNGRADED for record in records)
    ]


def _count_outcomes(records: Sequence[SolveRecord], num_samples: int) -> dict[str, dict[str, int]]:
    """How the samples ended, by score name: tells a wrong answer from a broken format."""
    counts: dict[str, Counter[str]] = {}
    for record in records:
        name = f"{record.mode}/" + ("greedy" if record.temperature == 0 else f"avg@{num_samples}")
        counts.setdefault(name, Counter())[str(record.outcome)] += 1
    return {name: dict(sorted(counter.items())) for name, counter in counts.items()}


def _describe(settings: EvaluationSettings, problems: Sequence[Problem]) -> dict[str, Any]:
    """The settings as JSON values, one level deep, with a fingerprint of the problems and their order."""
    described: dict[str, Any] = {"format_version": FORMAT_VERSION}
    for name in (item.name for item in fields(settings)):
        value = getattr(settings, name)
        if is_dataclass(value) and not isinstance(value, type):
            described |= {f"{name}.{key}": item for key, item in asdict(value).items()}
        else:
            described[name] = value
    text = json.dumps([asdict(problem) for problem in problems])
    described |= {"num_problems": len(problems), "problems_sha256": hashlib.sha256(text.encode()).hexdigest()}
    return json.loads(json.dumps(described))  # tuples become what is read back


def _check_prompts(
    done: dict[SampleKey, SolveRecord], problems: Sequence[Problem], settings: EvaluationSettings, path: Path
) -> None:
    """Raise RunDirError for a sample of another prompt: the code that writes prompts may have changed since."""
    modes: set[Mode] = {record.mode for record in done.values()}
    expected = {
        (mode, problem.problem_id): fingerprint(
            first_prompt(problem, mode, context_in=settings.context_in, texts=settings.texts)
        )
        for mode in modes
        for problem in problems
    }
    for record in done.values():
        if expected.get((record.mode, record.problem_id)) != record.prompt_sha256:
            raise RunDirError(
                f"{path} holds a sample of problem {record.problem_id} ({record.mode}) that another prompt was asked "
                "for; choose another output folder"
            )
