"""Why a row did not become a trajectory or a step example: the codes that drops are counted by."""

from __future__ import annotations

from enum import StrEnum

from srl.errors import DataError


class DropReason(StrEnum):
    """One code per kind of damage; docs/data.md shows the same texts (a test compares them)."""

    BAD_JSON = "bad_json"
    """The line or array element is not valid JSON, for instance a last line that was cut off."""
    NOT_UTF8 = "not_utf8"
    """The line or cell is not valid UTF-8."""
    NOT_AN_OBJECT = "not_an_object"
    """The row is valid JSON but not an object."""
    MISSING_FIELD = "missing_field"
    """None of the accepted field names is there with a value other than null."""
    WRONG_TYPE = "wrong_type"
    """A field holds something other than text (for ids and answers: text or a number)."""
    EMPTY_FIELD = "empty_field"
    """A field that is needed holds nothing but white space."""
    NUL_CHARACTER = "nul_character"
    """A text holds the character U+0000."""
    LONE_SURROGATE = "lone_surrogate"
    """A text holds half of a surrogate pair, which cannot be written as UTF-8."""
    DUPLICATE_ID = "duplicate_id"
    """An earlier row of the same file has the same id (for step examples: id and step index)."""
    TOO_FEW_STEPS = "too_few_steps"
    """The solution has fewer than two recognisable steps, so there is no step to predict from another."""
    INCONSISTENT = "inconsistent"
    """A step example whose index, number of steps and context contradict each other."""


class RowError(DataError):
    """A row that cannot be used, with its drop reason. Readers turn it into a DroppedRow."""

    def __init__(self, reason: DropReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
