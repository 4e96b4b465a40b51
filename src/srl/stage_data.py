"""Recipe's stage -> its examples and its scoring; this is the whole difference between SRL, RLVR, R3 and one-step.

``build_stage`` reads the expert data and needs no model, so that a recipe with a wrong file fails at once.
``fit_prompts`` then makes the prompts fit into the policy's window, by its tokenizer.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from transformers import PreTrainedTokenizerBase

from srl.config import StageConfig
from srl.context import ContextLimits, FastTokenizer
from srl.engines.transformers import render
from srl.errors import ConfigError, DataError
from srl.example_store import ExampleStore, hold_out, load_examples, shared_problems
from srl.examples import ExampleSettings
from srl.scoring import build_scoring
from srl.stage import Stage
from srl.taught_examples import solution_example, taught_step_example, trace_example, with_traces
from srl.token_lengths import UNUSABLE, prompt_lengths
from srl.training_examples import (
    ContextFitter,
    MakeExample,
    TrainingExamples,
    mixed_in_problem,
    one_step_example,
    problem_example,
    problem_id,
    start_example,
    step_example,
    step_id,
)
from srl.types import ChatPrompt
from srl.validation import ProblemValidation

logger = logging.getLogger("srl")


@dataclass(frozen=True, kw_only=True)
class StageData:
    """A stage and what was left out on the way to it."""

    stage: Stage
    """Examples and scoring."""
    dropped: dict[str, int]
    """Counts by reason: rows that could not be read, steps without a target, prompts that are too long."""


def build_stage(name: str, config: StageConfig, *, seed: int, model_path: str = "", run_dir: str = "") -> StageData:
    """Read the stage's data and make its prompts. Raises DataError when nothing is left to train on.

    ``model_path`` is the policy's, for rewards that use its tokenizer; in ``run_dir`` a judge keeps its grades.
    """
    settings = example_settings(config)
    loaded = load_examples(config.data.train, settings)
    dropped = loaded.dropped + Counter({f"{reason} (setting)": n for reason, n in loaded.left_out.items()})
    del dropped["last_step (setting)"]  # the paper's own rule, and no news
    store, held_out = loaded.store, set[str]()
    if config.data.validation:
        checked = load_examples(config.data.validation, settings)
        dropped.update({f"validation: {reason}": count for reason, count in checked.dropped.items()})
        _refuse_shared_problems(name, config, store, checked.store)
        validation = _examples(checked.store, config, dropped, lambda trajectory_id: True)
    else:
        if config.data.num_validation_trajectories:
            held_out = hold_out(store.trajectories, config.data.num_validation_trajectories, seed)
        validation = _examples(store, config, dropped, held_out.__contains__)
    training = _examples(store, config, dropped, lambda trajectory_id: trajectory_id not in held_out)
    problems: TrainingExamples | None = None
    if config.interleave.is_on:
        problems = _problems(store, config, dropped, lambda trajectory_id: trajectory_id not in held_out)
    stage = Stage(
        name=name,
        config=config,
        training=training,
        problems=problems or (),
        validation=validation.subset(range(min(len(validation), config.schedule.num_validation_examples))),
        scoring=build_scoring(config, model_path=model_path, run_dir=run_dir),
        make=make_of(config),
        validation_problems=_validation_problems(name, validation, config),
    )
    if not stage.training:
        raise DataError(f"stage {name}: {config.data.train} leaves nothing to train on; left out: {dict(dropped)}")
    for examples in (training, validation, problems):
        if examples:
            examples[0]  # a kind of data that this stage cannot ask about is an error now, not after loading a model
    return StageData(stage=stage, dropped=dict(dropped))


def example_settings(config: StageConfig) -> ExampleSettings:
    """Which steps of a trajectory the stage reads."""
    data = config.data
    # What asks for whole solutions needs one row per trajectory, and the last step's row has all of it.
    return ExampleSettings(
        include_last_step=data.include_last_step or config.kind == "rlvr" or _asks_for_all(config),
        min_target_chars=data.min_target_chars,
        max_target_chars=data.max_target_chars,
        max_per_trajectory=data.max_examples_per_trajectory,
        context_turns=config.prompt.context_turns,
    )


def fit_prompts(
    data: StageData, model_config: Any, tokenizer: PreTrainedTokenizerBase, *, save_lengths: bool = True
) -> tuple[StageData, Sequence[int]]:
    """Cut agents' contexts and leave out examples whose prompts are too long; also returns the lengths of the rest.

    The measured lengths are kept beside the data if ``save_lengths``.
    """
    stage, config = data.stage, data.stage.config
    window = getattr(model_config, "max_position_embeddings", None) or 2**31
    room = _room(config, window)
    limit = min(room, config.prompt.max_prompt_tokens or room)

    scoring = stage.scoring
    if scoring.gate is not None:  # what the gate asks has the action behind it, and other texts around it
        most = window - scoring.gate.max_completion_tokens
        scoring = replace(scoring, gate=replace(scoring.gate, max_prompt_tokens=most))
    limits = ContextLimits(max_observation_tokens=config.prompt.max_observation_tokens, max_prompt_tokens=limit)
    make = make_of(config)

    fitter = ContextFitter(
        render=lambda shown: render(make(shown).prompt, tokenizer),
        tokenizer=cast("FastTokenizer", tokenizer),
        limits=limits,
        marker=config.prompt.texts.agent_cut_marker,
    )
    settings = f"observation {config.prompt.max_observation_tokens} prompt {limit}"

    def shorten(examples: TrainingExamples, source: str) -> tuple[TrainingExamples, list[int]]:
        fitted = examples.fitted(fitter, settings)
        lengths = prompt_lengths(fitted, tokenizer, source, limit=limit, save=save_lengths)
        places = [place for place, length in enumerate(lengths) if length != UNUSABLE and length <= limit]
        return fitted.subset(places), [int(lengths[place]) for place in places]

    if not isinstance(stage.training, TrainingExamples) or not isinstance(stage.validation, TrainingExamples):
        raise TypeError("fit_prompts takes what build_stage returns")
    training, lengths = shorten(stage.training, config.data.train)
    if not training:
        raise ConfigError(
            f"stage {stage.name}: no prompt fits into {limit} tokens (the model's window of {window}, "
            f"max_completion_tokens = {config.sampling.max_completion_tokens}, max_prompt_tokens = "
            f"{config.prompt.max_prompt_tokens or 'all the rest'}, and with an outcome max_finishing_tokens); lower "
            "max_completion_tokens or choose another model"
        )
    validation, _ = shorten(stage.validation, config.data.validation or config.data.train)
    num_dropped = len(stage.training) + len(stage.validation) - len(training) - len(validation)
    if isinstance(stage.problems, TrainingExamples):
        num_problems = len(stage.problems)
        stage = replace(stage, problems=shorten(stage.problems, config.data.train)[0])
        num_dropped += num_problems - len(stage.problems)
        if not stage.problems:
            raise ConfigError(f"stage {stage.name}: no whole problem of [interleave] fits into {limit} tokens")
    dropped = data.dropped | ({"prompt_too_long": num_dropped} if num_dropped else {})
    if stage.validation_problems is not None:
        longest = max(stage.validation_problems.max_step_tokens, stage.validation_problems.max_solution_tokens)
        solved = _fit_problems(stage.validation_problems, window - longest, tokenizer)
        if num_dropped := len(stage.validation_problems.problems) - len(solved.problems):
            dropped["validation_problem_too_long"] = num_dropped
        stage = replace(stage, validation_problems=solved)
    fitted = replace(stage, training=training, validation=validation, scoring=scoring, max_prompt_tokens=limit)
    return StageData(stage=fitted, dropped=dropped), lengths


def _room(config: StageConfig, window: int) -> int:
    """Tokens that the model's window leaves for a prompt."""
    if config.kind == "sft" and config.sft.teach != "steps":
        return window  # nothing is sampled, and what does not fit together with its completion is left out later
    room = window - config.sampling.max_completion_tokens
    if config.reward.outcome != "off" and config.reward.finished_by == "policy":
        room -= config.reward.max_finishing_tokens  # the rest of the solution follows the action
    return room


def _examples(
    store: ExampleStore, config: StageConfig, dropped: Counter[str], is_wanted: Callable[[str], bool]
) -> TrainingExamples:
    """The rows of ``store`` that the stage asks about, of the trajectories that are wanted."""
    by_step = config.asks_by_step
    rows = [row for row in range(len(store)) if is_wanted(store.owner(row).trajectory_id)]
    if not by_step:
        rows = _last_rows(store, rows)
    if _asks_for_all(config):
        whole = [row for row in rows if store.step_index(row) == store[row].num_steps - 1]
        if len(whole) < len(rows):
            dropped["last_step_missing"] += len(rows) - len(whole)
        rows = whole
    if config.kind == "sft" and config.sft.teach == "trace":
        rows = with_traces(store, rows, dropped)
    if config.kind == "rlvr" or config.reward.outcome != "off":
        answered = [row for row in rows if store.owner(row).has_answer]
        if len(answered) < len(rows):
            dropped["no_answer"] += len(rows) - len(answered)
        rows = answered
    owners = [store.owner(row).trajectory_id for row in rows]
    ids = [step_id(owner, store.step_index(row)) if by_step else owner for owner, row in zip(owners, rows, strict=True)]
    settings = repr((config.kind, config.data.one_step, config.data.starts, config.sft.teach, config.prompt))
    return TrainingExamples(store, rows, make_of(config), ids=ids, settings=settings)


def _problems(
    store: ExampleStore, config: StageConfig, dropped: Counter[str], is_wanted: Callable[[str], bool]
) -> TrainingExamples:
    """The whole problems that stand among an SRL stage's steps."""
    rows = [row for row in range(len(store)) if is_wanted(store.owner(row).trajectory_id)]
    rows = _last_rows(store, rows)
    answered = [row for row in rows if store.owner(row).has_answer]
    if len(answered) < len(rows):
        dropped["problem_without_answer"] += len(rows) - len(answered)
    if not answered:
        raise DataError(f"{config.data.train} has no final answer, and [interleave] asks for whole problems")
    ids = [problem_id(store.owner(row).trajectory_id) for row in answered]
    make = partial(mixed_in_problem, texts=config.prompt.texts)
    return TrainingExamples(store, answered, make, ids=ids, settings=repr(("interleave", config.prompt.texts)))


def _validation_problems(name: str, validation: TrainingExamples, config: StageConfig) -> ProblemValidation | None:
    """The first held-out problems that have an answer, as many as are to be solved."""
    wanted = config.schedule.num_validation_problems
    if not wanted:
        return None
    problems, longest = validation.problems(wanted)
    if not problems:
        raise DataError(
            f"stage {name}: schedule.num_validation_problems = {wanted}, and no held-out problem has a final answer"
        )
    return ProblemValidation(
        problems=problems,
        context_in=config.prompt.context_in,
        texts=config.prompt.texts,
        max_step_tokens=config.sampling.max_completion_tokens,
        max_solution_tokens=config.schedule.max_solution_tokens or config.sampling.max_completion_tokens,
        max_prompt_tokens=2**31,
        max_steps=2 * longest,
    )


def _fit_problems(solved: ProblemValidation, room: int, tokenizer: PreTrainedTokenizerBase) -> ProblemValidation:
    """Without the problems that the engine would refuse. Raises ConfigError if none is left."""

    def count_tokens(prompt: ChatPrompt) -> int:
        ids: Any = tokenizer(render(prompt, tokenizer), add_special_tokens=False)["input_ids"]
        return len(ids)

    fitted = solved.fitted(count_tokens, room)
    if not fitted.problems:
        raise ConfigError(
            f"schedule.num_validation_problems: no held-out problem fits into the {room} tokens that the model's "
            "window leaves beside a completion; lower sampling.max_completion_tokens"
        )
    return fitted


def _asks_for_all(config: StageConfig) -> bool:
    """Whether the target is the expert's whole text, which only the row of the last step has."""
    return config.data.one_step or (config.kind == "sft" and config.sft.teach != "steps")


def _last_rows(store: ExampleStore, rows: Sequence[int]) -> list[int]:
    """Of each trajectory the row of its latest step, whatever the order of the rows."""
    latest: dict[str, int] = {}
    for row in rows:
        owner = store.owner(row).trajectory_id
        if store.step_index(row) >= store.step_index(latest.setdefault(owner, row)):
            latest[owner] = row
    return list(latest.values())


def make_of(config: StageConfig) -> MakeExample:
    """What the stage asks for of a step example."""
    prompt = config.prompt
    if config.kind == "rlvr":
        make = problem_example if config.data.starts == "problem" else start_example
        return partial(make, texts=prompt.texts)
    if config.data.one_step:
        return partial(one_step_example, texts=prompt.texts)
    if config.kind == "sft" and config.sft.teach != "steps":
        return partial(solution_example if config.sft.teach == "solution" else trace_example, texts=prompt.texts)
    make = step_example if config.kind == "srl" else taught_step_example
    return partial(make, context_in=prompt.context_in, title_in_prompt=prompt.title_in_prompt, texts=prompt.texts)


def _refuse_shared_problems(name: str, config: StageConfig, training: ExampleStore, checked: ExampleStore) -> None:
    """Raises DataError for a problem in both; of agents' tasks, where folders may differ under equal words, warns."""
    shared = shared_problems(training, checked)
    if not shared:
        return
    places = f"{config.data.train} and {config.data.validation}"
    found = f"stage {name}: {len(shared)} problems stand in both {places}, for instance that of {shared[0]!r}"
    found += "; validation must be held out"
    if checked[0].kind == "solution":
        raise DataError(found)
    logger.warning("%s, unless equal words are said of different files", found)
