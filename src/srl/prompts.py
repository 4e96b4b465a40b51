"""The only file with prompt text; StepExample or Problem -> ChatPrompt (B.2.1 of the paper, our own wording).

Where the context stands is a setting. ``"user"`` is the paper's: problem and earlier steps in the user's turn.
``"assistant"`` makes the earlier steps the beginning of the policy's own turn: the prompts of one trajectory are then
a chain of prefixes, and the policy practises the very position from which it writes whole solutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from srl.types import ChatPrompt, StepExample

ContextPlace = Literal["user", "assistant"]

# Paper: B.2.1 prints its prompts; these say the same in words of our own.
_STEP_SYSTEM = """\
You solve hard problems one step at a time. The user gives you a problem and, if there is one, the beginning of its \
solution. Write the one step that comes next.

First think: between <think> and </think>, talk to yourself as freely and as long as you like. Try things, check \
them, change your mind. Then, after </think>, write only that next step, clearly and in full. Do not go on to the \
step after it, and do not write the rest of the solution."""

_SOLVE_SYSTEM = """\
Solve the problem step by step and put the final answer in \\boxed{}. Wherever you want to draft or check something, \
do it between <think> and </think>; what stands outside of these tags is your solution."""


@dataclass(frozen=True, kw_only=True)
class PromptTexts:
    """All wording that the policy sees beside the data. A recipe may replace any of it; an empty text is left out."""

    step_system: str = _STEP_SYSTEM
    """System message when one step is asked for."""
    solve_system: str = _SOLVE_SYSTEM
    """System message when a whole solution is asked for."""
    context_heading: str = "Solution so far:"
    """Stands above the earlier steps in the user's turn."""
    first_step_note: str = "Nothing has been written yet. Write the first step."
    """Stands in place of the earlier steps in the user's turn when there are none."""
    title_note: str = "The next step is titled: {title}\nWrite what belongs under this title, without the title itself."
    """Gives the title of the step asked for in the user's turn; must contain {title}."""


DEFAULT_TEXTS = PromptTexts()


def step_prompt(
    example: StepExample, *, context_in: ContextPlace, title_in_prompt: bool, texts: PromptTexts = DEFAULT_TEXTS
) -> ChatPrompt:
    """The prompt that asks for step ``example.step_index``."""
    title = example.title if title_in_prompt else ""
    return next_step_prompt(example.problem, example.context, context_in=context_in, title=title, texts=texts)


def next_step_prompt(
    problem: str,
    context: Sequence[str],
    *,
    context_in: ContextPlace,
    title: str = "",
    texts: PromptTexts = DEFAULT_TEXTS,
) -> ChatPrompt:
    """The prompt for the step after ``context``; the steps may be the expert's or the policy's own.

    With the context in the assistant's turn a title is written there too, as the head of the step to come, so that
    the prompts of one trajectory stay prefixes of each other.
    """
    so_far = "\n\n".join(step.strip() for step in context)
    if context_in == "assistant":
        head = f"{len(context) + 1}. **{title}**" if title else ""
        return _chat(texts.step_system, problem, "".join(f"{part}\n\n" for part in (so_far, head) if part))
    user = [problem]
    user += [texts.context_heading, so_far] if so_far else [texts.first_step_note]
    if title:
        user.append(texts.title_note.replace("{title}", title))
    return _chat(texts.step_system, "\n\n".join(part for part in user if part))


def solve_prompt(problem: str, *, texts: PromptTexts = DEFAULT_TEXTS) -> ChatPrompt:
    """The prompt that asks for a whole solution in one completion."""
    return _chat(texts.solve_system, problem)


def _chat(system: str, user: str, assistant_prefix: str = "") -> ChatPrompt:
    return ChatPrompt(
        messages=({"role": "system", "content": system}, {"role": "user", "content": user}),
        assistant_prefix=assistant_prefix,
    )
