"""Reading one field of a row: which names are accepted, what counts as text, and the drop reason if it is neither.

The names are those of public datasets, the most specific first. Each is also found with a capital first letter and in
capitals ("Problem", "ID"), and a name with dots leads into objects and lists ("model_prediction.proof").

The decision a reader would question: of several names that are there, one that holds text goes before one that holds
only white space, because tables fill columns that a row does not use with "".
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import cast

from srl.trajectories.answers import find_answer
from srl.trajectories.reasons import DropReason, RowError
from srl.types import Source

PROBLEM_FIELDS = ("problem", "question", "prompt", "instruction", "query", "input", "problem_statement", "puzzle")
SOLUTION_FIELDS = (
    "solution",
    "response",
    "output",
    "completion",
    "reference_solution",
    "generated_solution",
    "generation",
    "model_output",
    "llm_response",
    "reasoning_solution",
    "rationale",
    "proof",
)
ANSWER_FIELDS = (
    "answer",
    "final_answer",
    "expected_answer",
    "reference_answer",
    "ground_truth",
    "gt",
    "gold_answer",
    "correct_answer",
)
ID_FIELDS = ("trajectory_id", "id", "uuid")
RIGHT_FIELDS = ("is_right", "is_correct", "correct", "correctness")
"""Where one row says whether its solution is right."""

# What NuminaMath and others write into the answer's column of problems that have none.
_NO_ANSWER = ("proof", "notfound", "not found", "n/a")
# A final answer is a formula or a few words; LaTeX commands are not counted.
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_MAX_ANSWER_WORDS = 25
# "# 18": what is left of GSM8K's mark in some evaluations' tables.
_HASHES = re.compile(r"\A#{1,4}\s+")
_YES = ("yes", "true", "correct")
_NO = ("no", "false", "incorrect")
_FILE_SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".traj", ".gz", ".zst")


def read_text(row: Mapping[str, object], names: Sequence[str]) -> str:
    """The text in the first of ``names`` that is there and not null. Raises RowError if it is not usable text."""
    name = present_field(row, names)
    if name is None:
        raise RowError(DropReason.MISSING_FIELD, f"none of {', '.join(names)} among {_listed(row)}")
    value = field_value(row, name)
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
    value = field_value(row, name)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise RowError(DropReason.WRONG_TYPE, f"{name} is {type(value).__name__}, neither text nor a number")
    if isinstance(value, float) and not math.isfinite(value):  # 1e999 in JSON, a missing number in Parquet
        raise RowError(DropReason.WRONG_TYPE, f"{name} is {value}, not a finite number")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        text = str(value).strip()
    except ValueError as error:  # Python refuses to print integers of more than 4,300 digits
        raise RowError(DropReason.WRONG_TYPE, f"{name} is a number too long to read") from error
    return check_characters(text, name) or None


def read_answer(row: Mapping[str, object]) -> str | None:
    r"""The row's final answer; None where it has none, or says so ("proof", "notfound").

    An answer that is a whole solution in prose counts only by what it marks as final.

    >>> read_answer({"answer": "\\frac{1}{2}"}), read_answer({"answer": "proof"}), read_answer({"answer": "# 18"})
    ('\\frac{1}{2}', None, '18')
    """
    label = read_label(row, ANSWER_FIELDS)
    if label is None or label.casefold() in _NO_ANSWER:
        return None
    return find_answer(label) if is_prose(label) else _HASHES.sub("", label)


def is_prose(text: str) -> bool:
    r"""Whether a text is too wordy for a final answer.

    >>> is_prose(r"x = \frac{1}{2} \text{ or } x = 3")
    False
    """
    return sum(1 for _ in _WORD.finditer(text)) > _MAX_ANSWER_WORDS


def read_flag(value: object) -> bool | None:
    """What a mark says: true or false, 1 and 0 or -1, a share in [0, 1], a plain word. None for anything else.

    >>> [read_flag(value) for value in (True, 1, 0.3, "No", None, 7, "A")]
    [True, True, False, False, None, None, None]
    """
    if isinstance(value, str):
        word = value.strip().casefold()
        return True if word in _YES else False if word in _NO else None
    if not isinstance(value, (bool, int, float)):
        return None
    if value == -1:
        return False
    return value > 0.5 if 0 <= value <= 1 else None  # NaN is in no range


def read_id(row: Mapping[str, object], source: Source) -> str:
    """The row's own id, else the file's name and the row's number, for instance "experts-7"."""
    return read_label(row, ID_FIELDS) or f"{file_stem(source.file)}-{source.row}"


def file_stem(file: str) -> str:
    """The name of a data file without folders and suffixes.

    >>> file_stem("logs/bug-1.traj.json.gz"), file_stem("simplescaling/s1K-1.1")
    ('bug-1', 's1K-1.1')
    """
    path = PurePath(file)
    while path.suffix in _FILE_SUFFIXES:  # the ".1" of a Hub dataset s1K-1.1 is no suffix
        path = path.with_suffix("")
    return path.name


def present_field(row: Mapping[str, object], names: Sequence[str]) -> str | None:
    """The first of ``names``, spelled as in ``row``, that holds more than white space, else the first not null.

    >>> present_field({"Problem": "", "question": "What is 2?"}, ("problem", "question"))
    'question'
    """
    found = [spelled for name in names if (spelled := _spelled(row, name)) is not None]
    filled = (name for name in found if not is_blank(field_value(row, name)))
    return next(filled, found[0] if found else None)


def field_value(row: Mapping[str, object], name: str) -> object:
    """What stands under ``name``, also when its dots lead into objects and lists; None where nothing does.

    >>> field_value({"model_prediction": {"proof": "Let ..."}}, "model_prediction.proof")
    'Let ...'
    """
    if row.get(name) is not None or "." not in name:
        return row.get(name)
    value = cast("object", row)
    for part in name.split("."):
        if isinstance(value, Mapping):
            value = cast("Mapping[str, object]", value).get(part)
        elif isinstance(value, list) and part.isascii() and part.isdigit() and len(part) < 10:
            items = cast("list[object]", value)
            value = items[int(part)] if int(part) < len(items) else None
        else:
            return None
    return value


def is_blank(value: object) -> bool:
    """Whether a value is text without a character to read."""
    return isinstance(value, str) and not value.strip()


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


def _spelled(row: Mapping[str, object], name: str) -> str | None:
    spellings = (name, name.capitalize(), name.upper())
    return next((spelled for spelled in spellings if field_value(row, spelled) is not None), None)


def _listed(row: Mapping[str, object]) -> str:
    names = [ascii(name)[:40] for name in row]
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "") if names else "no fields"
