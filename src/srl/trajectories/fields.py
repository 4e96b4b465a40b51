"""Reading one field of a row: which names are accepted, what counts as text, and the drop reason if it is neither."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from srl.trajectories.reasons import DropReason, RowError

PROBLEM_FIELDS = ("problem", "question", "prompt")
SOLUTION_FIELDS = ("solution", "response", "output", "completion", "reference_solution")
ANSWER_FIELDS = ("answer", "final_answer", "expected_answer", "reference_answer", "ground_truth")
ID_FIELDS = ("trajectory_id", "id", "uuid")


def read_text(row: Mapping[str, object], names: Sequence[str]) -> str:
    """The text in the first of ``names`` that is there and not null. Raises RowError if it is not usable text."""
    name = present_field(row, names)
    if name is None:
        raise RowError(DropReason.MISSING_FIELD, f"none of {', '.join(names)} among {_listed(row)}")
    value = row[name]
    if not isinstance(value, str):
        raise RowError(DropReason.WRONG_TYPE, f"{name} is {type(value).__name__}, not text")
    if not value.strip():
        raise RowError(DropReason.EMPTY_FIELD, f"{name} is empty")
    return check_characters(value, name)


def read_label(row: Mapping[str, object], names: Sequence[str]) -> str | None:
    """An id or an answer: text or a number, as stripped text; None where there is none. Raises RowError otherwise.

    A float without fraction reads as an integer, because tables that once met pandas hold the answer 27 as 27.0.

    >>> read_label({"answer": 27.0}, ("answer",))
    '27'
    """
    name = present_field(row, names)
    if name is None:
        return None
    value = row[name]
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise RowError(DropReason.WRONG_TYPE, f"{name} is {type(value).__name__}, neither text nor a number")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        text = str(value).strip()
    except ValueError as error:  # Python refuses to print integers of more than 4,300 digits
        raise RowError(DropReason.WRONG_TYPE, f"{name} is a number too long to read") from error
    return check_characters(text, name) or None


def present_field(row: Mapping[str, object], names: Sequence[str]) -> str | None:
    """The first of ``names`` that ``row`` holds with a value other than null."""
    return next((name for name in names if row.get(name) is not None), None)


def check_characters(text: str, name: str) -> str:
    """``text`` itself. Raises RowError if it cannot be stored or tokenized everywhere."""
    if "\x00" in text:
        raise RowError(DropReason.NUL_CHARACTER, f"{name} has U+0000 at character {text.index(chr(0))}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowError(
            DropReason.LONE_SURROGATE, f"{name} has half a surrogate pair at character {error.start}"
        ) from error
    return text


def _listed(row: Mapping[str, object]) -> str:
    names = [ascii(name)[:40] for name in row]
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "") if names else "no fields"
