"""How what a writer wrote becomes a document of a corpus; the same for every text task.

Each step is asked for alone, with the context in the user's or in the assistant's turn, or as part of a whole
solution. Which of it the model learns to write is decided here, so that ability and habit are learned apart.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from srl.parsing import THINK_CLOSE, THINK_OPEN
from srl.prompts import next_step_prompt, solve_prompt
from srl.tasks.task import Document
from srl.tasks.texts import TASK_TEXTS

IN_MY_HEAD = "in my head"
"""The whole monologue of a careless step."""
PROMPT_PHRASES = ("system\n", "user\n", "assistant\n", TASK_TEXTS.step_system, TASK_TEXTS.solve_system)
"""What every prompt of every text task is made of."""
Written = list[tuple[str, str]]
"""(thought in its tags, step) of every step of a solution, with the mistakes that careless steps make."""
_STEP_SHARE = 0.4  # of the documents ask for one step, the others for a whole solution
_EXEMPLARY_SHARE = 0.35  # of the whole solutions are careful throughout
_DROP_THOUGHTS_SHARE = 0.5  # of the other whole solutions lack some of their thoughts
_DROP_SHARE = 0.5  # of the thoughts are missing in those


def in_tags(thought: str) -> str:
    """A thought as it stands before its step."""
    return f"{THINK_OPEN}{thought}{THINK_CLOSE}"


def write_document(statement: str, write_steps: Callable[[bool], Written], rng: random.Random) -> Document:
    """One document about the problem ``statement``, in a mode that ``rng`` chooses.

    ``write_steps(is_exemplary)`` writes a solution: throughout carefully, or as its writers are used to.
    """
    if rng.random() < _STEP_SHARE:
        written = write_steps(False)
        index = rng.randrange(len(written))
        thought, step = written[index]
        context = [earlier for _, earlier in written[:index]]
        place = "user" if rng.random() < 0.5 else "assistant"
        prompt = next_step_prompt(statement, context, context_in=place, texts=TASK_TEXTS)
        return Document(prompt=prompt, segments=((thought + step, True),))
    prompt = solve_prompt(statement, texts=TASK_TEXTS)
    if rng.random() < _EXEMPLARY_SHARE:
        return Document(prompt=prompt, segments=_exemplary_segments(write_steps(True)))
    return Document(prompt=prompt, segments=_ordinary_segments(write_steps(False), rng))


def _ordinary_segments(written: Written, rng: random.Random) -> tuple[tuple[str, bool], ...]:
    """A whole solution; some thoughts may be missing, so that skill does not depend on earlier thoughts in view."""
    drop_share = _DROP_SHARE if rng.random() < _DROP_THOUGHTS_SHARE else 0.0
    segments: list[tuple[str, bool]] = []
    for number, (thought, step) in enumerate(written, start=1):
        is_last = number == len(written)
        text = step if is_last else f"{step}\n\n"
        # A step without its thought is context only: nobody should learn to leave thoughts out.
        drop = not is_last and rng.random() < drop_share
        segments.append((text, False) if drop else (thought + text, True))
    return tuple(segments)


def _exemplary_segments(written: Written) -> tuple[tuple[str, bool], ...]:
    """A whole solution that is careful throughout, without the loss on the decision to be careful.

    So many careful steps in a row would otherwise hardly ever be seen, and a policy that has become careful would
    find itself in unknown terrain. The decision is the first character of a thought; how often it is taken is learned
    from the other documents alone.
    """
    segments: list[tuple[str, bool]] = []
    for number, (thought, step) in enumerate(written, start=1):
        decision = len(THINK_OPEN) + 1
        text = step if number == len(written) else f"{step}\n\n"
        segments += [(thought[:decision], False), (thought[decision:] + text, True)]
    return tuple(segments)
