r"""A model's text -> its thinking and its solution, taken apart at the marks that reasoning models write.

Three families: ``<think>...</think>`` and its variants, after which the solution follows as plain text or inside
``<answer>...</answer>``; ``<|begin_of_thought|>...<|end_of_thought|>``, after which the solution has a block of its
own, ``<|begin_of_solution|>...<|end_of_solution|>``; and no marks at all, when everything is the solution.

Two decisions a reader would question. The opening mark may be missing, because many chat templates put it into the
prompt. And a solution block that is not closed counts if it marks a final answer: the model then only forgot the
closing mark; without an answer the text was cut off in the middle.
"""

from __future__ import annotations

from srl.trajectories.answers import find_answer
from srl.trajectories.reasons import DropReason, RowError

_THINKING = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
)
_THOUGHT = ("<|begin_of_thought|>", "<|end_of_thought|>")
_SOLUTION = ("<|begin_of_solution|>", "<|end_of_solution|>")
_ANSWER = ("<answer>", "</answer>")
# What a chat template writes after the text; it is no part of it.
_END_TOKENS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<｜end▁of▁sentence｜>",
    "</s>",
)


def has_marks(text: str) -> bool:
    """Whether a text holds any mark of thinking."""
    return any(mark in text for pair in (*_THINKING, _THOUGHT, _SOLUTION) for mark in pair)


def split_thoughts(text: str) -> list[tuple[str, str]] | None:
    """The text as pairs of a thought and the piece of solution after it; None where it is not made of such pairs.

    It is when it begins with ``<think>``, opens and closes it in turn at least twice, and says something after each.
    Putting the pairs together again, with the tags, gives the stripped text back.

    >>> split_thoughts("<think>2+3</think>1. Add: 5. <think>5*2</think>2. Double: 10.")
    [('2+3', '1. Add: 5. '), ('5*2', '2. Double: 10.')]
    """
    opening, closing = _THINKING[0]
    before, *parts = _without_end_tokens(text).strip().split(opening)
    if before or len(parts) < 2:
        return None
    pairs = [part.split(closing) for part in parts]
    if any(len(pair) != 2 or not pair[1].strip() for pair in pairs):
        return None
    return [(thought, piece) for thought, piece in pairs]


def split_trace(text: str) -> tuple[str, str]:
    """(thinking, solution). A text without marks is all solution, exactly as written; otherwise both are stripped.

    Raises RowError where there is no solution: cut off while thinking, or before the solution's end.

    >>> split_trace("<think>Add them.</think> 2 + 3 = 5")
    ('Add them.', '2 + 3 = 5')
    """
    text = _without_end_tokens(text)
    if _SOLUTION[0] in text:
        return _split_solution_block(text)
    if any(mark in text for mark in _THOUGHT):
        raise _no_solution(f"the trace has no {_SOLUTION[0]}")
    closings = [(text.rfind(closing), closing) for _, closing in _THINKING]
    at, closing = max(closings)
    rest = text[at + len(closing) :] if at >= 0 else text
    opening = next((opening for opening, _ in _THINKING if opening in rest), None)
    if opening:
        raise _no_solution(f"the trace is cut off inside {opening}")
    if at < 0:
        return "", text
    # Of several closing marks the last counts: thinking may talk about marks, and may come in several blocks.
    return _without_marks(text[:at]), _unwrapped(rest, after=closing)


def _split_solution_block(text: str) -> tuple[str, str]:
    before, _, block = text.partition(_SOLUTION[0])
    solution, closed, _ = block.partition(_SOLUTION[1])
    return _without_marks(before), _checked(solution, mark=_SOLUTION[0], is_closed=bool(closed))


def _unwrapped(rest: str, *, after: str) -> str:
    """The solution after the thinking, out of its ``<answer>`` block where it is nothing but that block."""
    rest = rest.strip()
    if not rest:
        raise _no_solution(f"nothing follows {after}")
    if not rest.startswith(_ANSWER[0]):
        return rest
    solution, closed, tail = rest.removeprefix(_ANSWER[0]).partition(_ANSWER[1])
    return rest if tail.strip() else _checked(solution, mark=_ANSWER[0], is_closed=bool(closed))


def _checked(solution: str, *, mark: str, is_closed: bool) -> str:
    solution = solution.strip()
    if not solution:
        raise _no_solution(f"nothing follows {mark}")
    if has_marks(solution):
        raise _no_solution(f"marks of thinking stand after {mark}")
    if not is_closed and find_answer(solution) is None:
        raise _no_solution(f"the solution after {mark} is cut off before a final answer")
    return solution


def _without_marks(thinking: str) -> str:
    for mark in (mark for pair in (*_THINKING, _THOUGHT) for mark in pair):
        thinking = thinking.replace(mark, "")
    return thinking.strip()


def _without_end_tokens(text: str) -> str:
    end, kept = len(text), len(text)
    while end:
        if text[end - 1].isspace():
            end -= 1
        elif token := next((token for token in _END_TOKENS if text.endswith(token, 0, end)), None):
            end = kept = end - len(token)
        else:
            break
    return text[:kept]


def _no_solution(detail: str) -> RowError:
    return RowError(DropReason.UNFINISHED, f"no solution: {detail}")
