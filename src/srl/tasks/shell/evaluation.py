"""How well a policy does the shell task, as outcomes by metric and problem: what a study compares.

``environment/greedy`` and ``environment/avg@N`` run the policy for real; ``actions/greedy`` asks for each of the
expert's actions after the expert's rounds and compares word for word, as ``srl evaluate`` does with steps.
"""

from __future__ import annotations

from collections.abc import Sequence

from srl.engines import Engine
from srl.prompts import PromptTexts
from srl.seeds import derive_seed
from srl.tasks.shell.corpus import CONTEXT_TURNS, SHELL_TEXTS, shell_prompt, simulate
from srl.tasks.shell.environment import MAX_TURNS, parse_action, run_episodes
from srl.tasks.shell.expert import REQUIRED
from srl.tasks.shell.problems import ShellProblem
from srl.tasks.shell.scripts import Work
from srl.types import ChatPrompt, SamplingParams

MAX_ACTION_TOKENS = 64
"""Enough for any careful action with its thought, in the base's tokens."""

Outcomes = dict[str, dict[str, list[bool]]]
"""By metric and problem id."""


def evaluate_shell(
    engine: Engine,
    problems: Sequence[ShellProblem],
    *,
    num_samples: int,
    needs_think: bool,
    seed: int,
    temperature: float = 1.0,
    max_turns: int = MAX_TURNS,
    max_completion_tokens: int = MAX_ACTION_TOKENS,
    context_turns: int = CONTEXT_TURNS,
    texts: PromptTexts = SHELL_TEXTS,
    required: tuple[str, ...] = REQUIRED,
) -> Outcomes:
    """One greedy episode and ``num_samples`` sampled ones of each problem (0 samples none), and all single actions.

    See ``run_episodes`` for ``needs_think`` and ``required``.
    """
    greedy = SamplingParams(temperature=0.0, max_completion_tokens=max_completion_tokens)
    sampled = SamplingParams(temperature=temperature, max_completion_tokens=max_completion_tokens)
    outcomes: Outcomes = {}
    for name, count, sampling in (("greedy", 1, greedy), (f"avg@{num_samples}", num_samples, sampled)):
        if not count:
            continue
        records = run_episodes(
            engine,
            problems,
            num_samples=count,
            sampling=sampling,
            seed=derive_seed(seed, name),
            needs_think=needs_think,
            max_turns=max_turns,
            context_turns=context_turns,
            texts=texts,
            required=required,
        )
        solved = outcomes[f"environment/{name}"] = {problem.problem_id: [] for problem in problems}
        for record in records:
            solved[record.problem_id].append(record.is_solved)
    prompts: list[ChatPrompt] = []
    wanted: list[tuple[str, str]] = []
    for problem in problems:
        rounds: list[tuple[str, str]] = []
        for _, action, observation in simulate(problem, Work()):
            prompts.append(shell_prompt(problem.problem, rounds, texts=texts, context_turns=context_turns))
            wanted.append((problem.problem_id, action))
            rounds.append((action, observation))
    generations = engine.generate(prompts, num_samples=1, sampling=greedy, seed=derive_seed(seed, "actions"))
    right = outcomes["actions/greedy"] = {problem.problem_id: [] for problem in problems}
    for (problem_id, action), generation in zip(wanted, generations, strict=True):
        parsed = parse_action(generation.completions[0], needs_think=needs_think)
        right[problem_id].append(parsed.action == action)
    return outcomes
