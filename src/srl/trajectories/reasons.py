"""Why a row did not become a trajectory or a step example: the codes that drops are counted by."""

from __future__ import annotations

from enum import StrEnum

from srl.errors import DataError


class DropReason(StrEnum):
    """One code per kind of damage; docs/data.md shows the same texts (a test compares them)."""

    BAD_JSON = "bad_json"
    """The line, document or array element is not valid JSON (a last line that was cut off, NaN, a name that occurs \
twice in one object)."""
    NOT_UTF8 = "not_utf8"
    """The line, cell or file is not valid UTF-8."""
    NOT_AN_OBJECT = "not_an_object"
    """The row is valid JSON but neither an object nor a list of chat messages."""
    TOO_LONG = "too_long"
    """The row is longer than 128 MiB; it was skipped unread."""
    TRUNCATED = "truncated"
    """The compressed file ends too early; the rows before that place were read."""
    CORRUPT = "corrupt"
    """The compressed or Parquet data are damaged; the rows before that place were read."""
    NOT_DATA = "not_data"
    """A file in a folder that holds neither JSON nor Parquet."""
    EMPTY_FILE = "empty_file"
    """A file in a folder that holds no row."""
    UNREADABLE = "unreadable"
    """A file in a folder that cannot be opened or read, or that changed meanwhile."""
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
    UNKNOWN_VERSION = "unknown_version"
    """The log says that it is of a version of its format that is not known here."""
    UNFINISHED = "unfinished"
    """A model's text that stops before its solution or its final answer."""
    TOO_FEW_STEPS = "too_few_steps"
    """There is no place to cut the solution in two, or the log has fewer than two actions: nothing to predict."""
    MARKED_WRONG = "marked_wrong"
    """The source itself marks it as wrong, unresolved or unrewarded, and only right ones were asked for."""
    SUPERSEDED = "superseded"
    """The log of an earlier call of a conversation whose next log repeats it and goes on."""
    NEAR_DUPLICATE = "near_duplicate"
    """Its problem is that of an earlier trajectory, almost word for word, and such were not wanted."""
    IN_BENCHMARK = "in_benchmark"
    """Its problem stands in a benchmark that was to be kept out."""
    INCONSISTENT = "inconsistent"
    """A step example whose index, number of steps and context contradict each other."""


class RowError(DataError):
    """A row that cannot be used, with its drop reason. Readers turn it into a DroppedRow."""

    def __init__(self, reason: DropReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
