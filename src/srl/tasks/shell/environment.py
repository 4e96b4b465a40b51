"""A policy at work in the real shell: engine and problems in, one record per episode out.

All episodes go forward together, one engine call per turn. Each has a temporary folder of its own, and every action
is run there by bash, in the sandbox. What it prints goes back into the context, of which the last rounds are shown.

An episode ends with the action ``exit``, which is not run, after ``max_turns`` actions, or with a completion that
breaks the format. The decisions a reader would question: the folder alone says whether a problem is solved, also
where the policy never wrote ``exit``, as it is the work that counts; and an episode that ends with a broken format is
not solved whatever the folder holds, which is the rule of training and of ``srl evaluate``.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from srl.engines import Engine
from srl.parsing import THINK_CLOSE, THINK_OPEN, parse_step
from srl.prompts import PromptTexts
from srl.sandbox import Sandbox
from srl.seeds import derive_seed
from srl.tasks.shell.corpus import CONTEXT_TURNS, SHELL_TEXTS, shell_prompt
from srl.tasks.shell.expert import LIMITS, REQUIRED, observe
from srl.tasks.shell.folder import is_as_expected, write_folder
from srl.tasks.shell.logs import Episode, Turn, write_logs
from srl.tasks.shell.problems import ShellProblem
from srl.tasks.shell.scripts import SUBMIT
from srl.types import Completion, ParsedCompletion, ParseStatus, SamplingParams

MAX_TURNS = 8
"""Actions of an episode; the expert needs four to six, ``exit`` included."""


class EpisodeOutcome(StrEnum):
    """How an episode ended."""

    SUBMITTED = "submitted"
    MAX_TURNS = "max_turns"
    FORMAT_ERROR = "format_error"


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeRecord:
    """One episode of a policy."""

    problem_id: str
    """The problem it tried."""
    sample_index: int
    """0-based among the episodes of this problem in one call."""
    temperature: float
    """0 is greedy."""
    texts: tuple[str, ...]
    """The completions as sampled; the last one of a FORMAT_ERROR has no turn."""
    turns: tuple[Turn, ...]
    """Thoughts, actions and what came back."""
    outcome: EpisodeOutcome
    """How it ended."""
    is_solved: bool
    """Whether the folder was as expected in the end, and the format was kept."""
    num_completion_tokens: int
    """Tokens of all completions; 0 from engines without tokens."""


@dataclass(slots=True)
class _Running:
    """An episode that goes on."""

    problem: ShellProblem
    sample_index: int
    sandbox: Sandbox
    texts: list[str] = field(default_factory=list[str])
    turns: list[Turn] = field(default_factory=list[Turn])
    num_completion_tokens: int = 0
    outcome: EpisodeOutcome | None = None


def run_episodes(
    engine: Engine,
    problems: Sequence[ShellProblem],
    *,
    num_samples: int,
    sampling: SamplingParams,
    seed: int,
    needs_think: bool,
    max_turns: int = MAX_TURNS,
    context_turns: int = CONTEXT_TURNS,
    texts: PromptTexts = SHELL_TEXTS,
    required: tuple[str, ...] = REQUIRED,
) -> list[EpisodeRecord]:
    """``num_samples`` episodes of each problem, problem by problem; at most ``max_turns`` engine calls.

    ``needs_think``: whether a completion without ``<think>`` breaks the format. A policy that was fine-tuned on logs
    of actions writes none; one that was trained by SRL must. ``required`` is the protection without which nothing is
    run (a ConfigError). Every turn has its own seed, derived from ``seed``; episodes of one problem are equal prompts
    of the first call, which the engine must draw for anew.
    """
    with tempfile.TemporaryDirectory(prefix="srl-shell-", ignore_cleanup_errors=True) as name:
        episodes = [
            _start(Path(name) / f"{place}-{sample}", problem, sample, required)
            for place, problem in enumerate(problems)
            for sample in range(num_samples)
        ]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for turn in range(max_turns):
                running = [episode for episode in episodes if episode.outcome is None]
                if not running:
                    break
                prompts = [
                    shell_prompt(
                        episode.problem.problem,
                        [(before.action, before.observation) for before in episode.turns],
                        texts=texts,
                        context_turns=context_turns,
                    )
                    for episode in running
                ]
                generations = engine.generate(
                    prompts, num_samples=1, sampling=sampling, seed=derive_seed(seed, "turn", turn)
                )
                completions = [generation.completions[0] for generation in generations]
                list(pool.map(_act, running, completions, [needs_think] * len(running)))
        return [_record(episode, sampling.temperature) for episode in episodes]


def parse_action(completion: Completion, *, needs_think: bool) -> ParsedCompletion:
    """The thought and the action of a completion; without ``needs_think`` all of it may be the action."""
    tags = any(tag in completion.text for tag in (THINK_OPEN, THINK_CLOSE))
    if needs_think or tags or completion.finish_reason == "length" or not completion.text.strip():
        return parse_step(completion.text, completion.finish_reason)
    return ParsedCompletion(status=ParseStatus.OK, monologue="", action=completion.text.strip())


def record_logs(path: Path, records: Iterable[EpisodeRecord], problems: Sequence[ShellProblem]) -> None:
    """Write episodes, thoughts included, as logs that ``srl decompose`` reads; those without a turn are left out."""
    instructions = {problem.problem_id: problem.problem for problem in problems}
    episodes = (
        Episode(
            episode_id=f"{record.problem_id}-{record.sample_index}",
            problem=instructions[record.problem_id],
            turns=record.turns,
            is_solved=record.is_solved,
        )
        for record in records
        if record.turns
    )
    write_logs(path, episodes, with_thoughts=True)


def _start(folder: Path, problem: ShellProblem, sample_index: int, required: tuple[str, ...]) -> _Running:
    folder.mkdir()
    write_folder(folder, problem.files)
    return _Running(problem, sample_index, Sandbox(folder, limits=LIMITS, required=required))


def _act(episode: _Running, completion: Completion, needs_think: bool) -> None:
    """Add one completion to an episode and run its action."""
    episode.texts.append(completion.text)
    episode.num_completion_tokens += len(completion.token_ids)
    parsed = parse_action(completion, needs_think=needs_think)
    if parsed.status is not ParseStatus.OK:
        episode.outcome = EpisodeOutcome.FORMAT_ERROR
        return
    is_end = parsed.action == SUBMIT
    observation = "" if is_end else observe(episode.sandbox, parsed.action)
    episode.turns.append(Turn(thought=parsed.monologue, action=parsed.action, observation=observation))
    if is_end:
        episode.outcome = EpisodeOutcome.SUBMITTED


def _record(episode: _Running, temperature: float) -> EpisodeRecord:
    outcome = episode.outcome or EpisodeOutcome.MAX_TURNS
    is_right = is_as_expected(episode.sandbox.folder, episode.problem.expected)
    return EpisodeRecord(
        problem_id=episode.problem.problem_id,
        sample_index=episode.sample_index,
        temperature=temperature,
        texts=tuple(episode.texts),
        turns=tuple(episode.turns),
        outcome=outcome,
        is_solved=is_right and outcome is not EpisodeOutcome.FORMAT_ERROR,
        num_completion_tokens=episode.num_completion_tokens,
    )
