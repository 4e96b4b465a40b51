r"""Problems -> engine -> one graded record per sample, in two modes (section 7 of docs/method.md).

* ``whole``: the whole solution in one completion; the text outside ``<think>`` is graded.
* ``stepwise``: one step per completion, the policy's own steps fed back as context. Such a chain ends with the step
  that gives a final answer, with a step that breaks the format, or at a limit. Chains of all problems and samples go
  forward together, one engine call per round.

All samples of an engine call are graded together, after the last of them is there.

The decision a reader would question: a completion that breaks its format or is cut by the token limit is wrong even
where an answer stands in it. The same rule rewards it in training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Literal

from srl.engines import Engine
from srl.evaluation.step_text import read_step
from srl.parsing import parse_solution
from srl.prompts import DEFAULT_TEXTS, ContextPlace, PromptTexts, next_step_prompt, solve_prompt
from srl.rewards.final_answer import Unmarked
from srl.rewards.outcome import final_answer, grade_many
from srl.seeds import derive_seed
from srl.types import (
    ChatPrompt,
    Completion,
    FinishReason,
    Generation,
    ParsedCompletion,
    ParseStatus,
    Problem,
    SamplingParams,
    Ungraded,
)

# Paper: 5.1 asks for whole solutions only; "stepwise" is ours.
Mode = Literal["whole", "stepwise"]
"""How a problem is solved."""


class SolveOutcome(StrEnum):
    """How a sample ended. Only ``ANSWERED`` can be correct."""

    ANSWERED = "answered"
    UNGRADED = "ungraded"
    NO_ANSWER = "no_answer"
    FORMAT_ERROR = "format_error"
    MAX_STEPS = "max_steps"
    CONTEXT_FULL = "context_full"


@dataclass(frozen=True, kw_only=True, slots=True)
class SolveRecord:
    """One graded sample: a whole solution, or a chain of steps."""

    problem_id: str
    """The problem it tries."""
    mode: Mode
    """How."""
    sample_index: int
    """0-based among the samples of this problem, mode and temperature."""
    temperature: float
    """0 is greedy."""
    prompt_sha256: str
    """Fingerprint of the first prompt (``fingerprint``)."""
    texts: tuple[str, ...]
    """The completions as sampled: one of a whole solution, one per step of a chain."""
    steps: tuple[str, ...]
    """The actions of the completions that follow the format."""
    outcome: SolveOutcome
    """How it ended."""
    status: ParseStatus
    """How the last completion reads."""
    answer: str | None
    """The final answer found, None without one."""
    is_correct: bool
    """Whether it equals the reference answer; False, and not counted, where the outcome is ``UNGRADED``."""
    num_completion_tokens: int
    """Tokens of all completions; 0 from engines without tokens."""
    finish_reason: FinishReason
    """Why the last completion ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChainLimits:
    """Where a chain of steps is stopped if it does not end by itself."""

    max_steps: int = 32
    """Steps a chain may have."""
    max_prompt_tokens: int | None = None
    """A chain whose next prompt would be longer ends as ``CONTEXT_FULL``; None is off. Completions of
    ``max_completion_tokens`` must still fit into the model's window after such a prompt."""

    def __post_init__(self) -> None:
        if self.max_steps < 1:
            raise ValueError(f"max_steps is {self.max_steps}; a chain needs at least 1")


@dataclass(slots=True)
class _Chain:
    """A chain of steps that is being written."""

    problem: Problem
    sample_index: int
    prompt: ChatPrompt
    prompt_sha256: str
    texts: list[str] = field(default_factory=list[str])
    steps: list[str] = field(default_factory=list[str])
    num_completion_tokens: int = 0
    record: SolveRecord | None = None


def fingerprint(prompt: ChatPrompt) -> str:
    """16 hexadecimal digits that change with any word of the prompt."""
    return hashlib.sha256(json.dumps(asdict(prompt), sort_keys=True).encode()).hexdigest()[:16]


def first_prompt(problem: Problem, mode: Mode, *, context_in: ContextPlace, texts: PromptTexts) -> ChatPrompt:
    """What the policy is asked first."""
    if mode == "whole":
        return solve_prompt(problem.problem, texts=texts)
    return next_step_prompt(problem.problem, (), context_in=context_in, texts=texts)


def solve_whole(
    engine: Engine,
    problems: Sequence[Problem],
    *,
    num_samples: int,
    sampling: SamplingParams,
    seed: int,
    texts: PromptTexts = DEFAULT_TEXTS,
    unmarked: Unmarked = "wrong",
) -> list[SolveRecord]:
    """``num_samples`` whole solutions of each problem, problem by problem; one engine call.

    ``unmarked``: what counts as the answer of a solution that marks none.
    """
    prompts = [solve_prompt(problem.problem, texts=texts) for problem in problems]
    generations = engine.generate(prompts, num_samples=num_samples, sampling=sampling, seed=seed)
    records = [
        _whole_record(problem, fingerprint(prompt), index, completion, sampling.temperature, unmarked)
        for problem, prompt, generation in zip(problems, prompts, generations, strict=True)
        for index, completion in enumerate(generation.completions)
    ]
    return _grade(records, problems, unmarked)


def solve_stepwise(
    engine: Engine,
    problems: Sequence[Problem],
    *,
    num_samples: int,
    sampling: SamplingParams,
    seed: int,
    limits: ChainLimits,
    context_in: ContextPlace,
    texts: PromptTexts = DEFAULT_TEXTS,
    needs_think: bool = True,
) -> list[SolveRecord]:
    """``num_samples`` chains for each problem, problem by problem; at most ``limits.max_steps`` engine calls.

    ``needs_think``: whether a step without thoughts breaks the format, as in training. Every round has its own seed,
    derived from ``seed``. Distinct chains of one problem are distinct prompts of a call, equal in the first round: the
    engine must draw for each of them anew.
    """
    chains: list[_Chain] = []
    for problem in problems:
        prompt = first_prompt(problem, "stepwise", context_in=context_in, texts=texts)
        digest = fingerprint(prompt)
        chains += [_Chain(problem, index, prompt, digest) for index in range(num_samples)]
    for round_index in range(limits.max_steps):
        running = [chain for chain in chains if chain.record is None]
        if not running:
            break
        generations = engine.generate(
            [chain.prompt for chain in running],
            num_samples=1,
            sampling=sampling,
            seed=derive_seed(seed, "round", round_index),
        )
        for chain, generation in zip(running, generations, strict=True):
            parsed = _add_step(chain, generation, needs_think)
            chain.prompt = next_step_prompt(chain.problem.problem, chain.steps, context_in=context_in, texts=texts)
            outcome = _chain_outcome(chain, parsed, limits, engine)
            if outcome is not None:
                chain.record = _chain_record(chain, parsed, outcome, generation, sampling.temperature)
    return _grade([chain.record for chain in chains if chain.record is not None], problems)


def _grade(
    records: Sequence[SolveRecord], problems: Sequence[Problem], unmarked: Unmarked = "wrong"
) -> list[SolveRecord]:
    """The records with their answers graded, all at once."""
    references = {problem.problem_id: problem.answer for problem in problems}
    places = [place for place, record in enumerate(records) if record.outcome is SolveOutcome.ANSWERED]
    pairs = [(records[place].steps[-1], references[records[place].problem_id]) for place in places]
    graded = list(records)
    for place, grade in zip(places, grade_many(pairs, unmarked=unmarked), strict=True):
        if isinstance(grade, Ungraded):
            graded[place] = replace(records[place], outcome=SolveOutcome.UNGRADED)
        else:
            graded[place] = replace(records[place], is_correct=grade)
    return graded


def _whole_record(
    problem: Problem,
    prompt_sha256: str,
    sample_index: int,
    completion: Completion,
    temperature: float,
    unmarked: Unmarked,
) -> SolveRecord:
    parsed = parse_solution(completion.text, completion.finish_reason)
    answer = final_answer(parsed.action, unmarked=unmarked)
    if parsed.status is not ParseStatus.OK:  # Paper: says nothing of completions that are cut; ours count as wrong.
        outcome = SolveOutcome.FORMAT_ERROR
    else:
        outcome = SolveOutcome.NO_ANSWER if answer is None else SolveOutcome.ANSWERED
    return SolveRecord(
        problem_id=problem.problem_id,
        mode="whole",
        sample_index=sample_index,
        temperature=temperature,
        prompt_sha256=prompt_sha256,
        texts=(completion.text,),
        steps=(parsed.action,) if parsed.status is ParseStatus.OK else (),
        outcome=outcome,
        status=parsed.status,
        answer=answer,
        is_correct=False,
        num_completion_tokens=len(completion.token_ids),
        finish_reason=completion.finish_reason,
    )


def _add_step(chain: _Chain, generation: Generation, needs_think: bool) -> ParsedCompletion:
    """Add one completion to a chain."""
    (completion,) = generation.completions
    parsed = read_step(completion.text, completion.finish_reason, needs_think=needs_think)
    chain.texts.append(completion.text)
    chain.num_completion_tokens += len(completion.token_ids)
    if parsed.status is ParseStatus.OK:
        chain.steps.append(parsed.action)
    return parsed


def _chain_record(
    chain: _Chain, parsed: ParsedCompletion, outcome: SolveOutcome, generation: Generation, temperature: float
) -> SolveRecord:
    return SolveRecord(
        problem_id=chain.problem.problem_id,
        mode="stepwise",
        sample_index=chain.sample_index,
        temperature=temperature,
        prompt_sha256=chain.prompt_sha256,
        texts=tuple(chain.texts),
        steps=tuple(chain.steps),
        outcome=outcome,
        status=parsed.status,
        answer=final_answer(parsed.action),
        is_correct=False,
        num_completion_tokens=chain.num_completion_tokens,
        finish_reason=generation.completions[0].finish_reason,
    )


def _chain_outcome(chain: _Chain, parsed: ParsedCompletion, limits: ChainLimits, engine: Engine) -> SolveOutcome | None:
    """How the chain has ended, with ``chain.prompt`` the one that would come next; None while it goes on."""
    if parsed.status is not ParseStatus.OK:
        return SolveOutcome.FORMAT_ERROR
    if final_answer(parsed.action) is not None:
        return SolveOutcome.ANSWERED
    if len(chain.steps) >= limits.max_steps:
        return SolveOutcome.MAX_STEPS
    if limits.max_prompt_tokens is not None and engine.count_prompt_tokens(chain.prompt) > limits.max_prompt_tokens:
        return SolveOutcome.CONTEXT_FULL
    return None
