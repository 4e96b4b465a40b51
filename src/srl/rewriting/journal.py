"""The answers that were paid for: an append-only JSON Lines file beside the output.

Every answer is one line, handed to the disk (fsync) before it is used, so that a kill at any moment loses only what
was under way. A last line that was cut off is removed when the file is opened again. Only the place of each answer is
kept in memory, not its text. One process at a time: the file is locked by the operating system, which releases the
lock when the process ends, however it ends; a lock file with a process id would outlive a kill.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, cast, get_type_hints

from srl.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the endpoint answered to one request."""

    key: str
    """The request's hash."""
    model: str
    """The model that was asked."""
    host: str
    """Host and port of the endpoint."""
    text: str
    """The answer as it came."""
    finish_reason: str
    """Why it ended, in the endpoint's words: stop, length, content_filter, ..."""
    prompt_tokens: int
    """Length of the prompt, as the endpoint counted it."""
    completion_tokens: int
    """Length of the answer, as the endpoint counted it."""
    is_estimated: bool
    """Whether the endpoint gave no token counts and these are estimates."""


_TYPES = get_type_hints(Answer)


def journal_path(output: Path) -> Path:
    """Where the journal of ``output`` stands. Its suffix keeps it from being read as data when a folder is."""
    return output.with_name(output.name + ".journal")


class Journal:
    """Answers by the hash of their request. A context manager; one that is to be written is locked."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the journal at ``path``, and make it unless ``read_only``.

        Raises DataError if another process has it, if it cannot be read or written, or if a line of it is damaged.
        """
        self.path = path
        self.prompt_tokens = 0
        """Of all answers in the file."""
        self.completion_tokens = 0
        """Of all answers in the file."""
        self._places: dict[str, int] = {}
        self._reader: BinaryIO | None = None
        self._writer: FileIO | None = None
        try:
            if not read_only:
                self._writer = FileIO(path, "a")  # without a buffer: what was written is not kept back
                _lock(self._writer, path)
            if path.is_file():
                self._load(path)
                self._reader = path.open("rb")
        except OSError as error:
            self.close()
            raise DataError(f"cannot use the journal {path}: {error.strerror or error}") from error
        except DataError:
            self.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def get(self, key: str) -> Answer | None:
        """The answer to the request with this hash, None if there is none yet."""
        place = self._places.get(key)
        if place is None or self._reader is None:
            return None
        self._reader.seek(place)
        return _read_line(self._reader.readline())

    def append(self, answer: Answer) -> None:
        """Add an answer; when this returns it stands on the disk. Raises DataError if it cannot be written."""
        if self._writer is None:
            raise DataError(f"the journal {self.path} is not open for writing")
        place = self._writer.seek(0, os.SEEK_END)
        try:
            _write_all(self._writer, (json.dumps(asdict(answer)) + "\n").encode("ascii"))
            os.fsync(self._writer.fileno())
        except OSError as error:
            with suppress(OSError):  # a full disk: the next line must not be glued to half of this one
                self._writer.truncate(place)
            raise DataError(f"cannot write the journal {self.path}: {error.strerror or error}") from error
        self._count(answer, place)

    def close(self) -> None:
        """Close the file and release the lock."""
        for file in (self._reader, self._writer):
            if file is not None:
                file.close()
        self._reader = self._writer = None

    def _count(self, answer: Answer, place: int) -> None:
        self._places[answer.key] = place
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens

    def _load(self, path: Path) -> None:
        place, line = 0, b"\n"
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    self._count(_read_line(line), place)
                except ValueError as error:
                    if line.endswith(b"\n"):
                        raise DataError(
                            f"{path}, line {number} is not an answer ({error}); remove this line to ask for it again"
                        ) from error
                    if self._writer is not None:
                        self._writer.truncate(place)
                    return
                place += len(line)
        if self._writer is not None and not line.endswith(b"\n"):  # a whole answer, only its line break is missing
            _write_all(self._writer, b"\n")


def _read_line(line: bytes) -> Answer:
    """The answer on a line. Raises ValueError."""
    # Not by pydantic: it refuses the half surrogate pairs that a bad answer may hold.
    try:
        value = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not an object")
    fields = cast("dict[str, Any]", value)
    if {name: type(item) for name, item in fields.items()} != _TYPES:
        raise ValueError(f"its fields must be {', '.join(_TYPES)}")
    return Answer(**fields)


def _write_all(file: FileIO, data: bytes) -> None:
    while data:
        data = data[file.write(data) :]


def _lock(file: FileIO, path: Path) -> None:
    try:
        import fcntl
    except ImportError as error:
        raise DataError("srl rewrite needs file locks as Linux and macOS have them; use WSL on Windows") from error
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DataError(
            f"another srl rewrite is writing to {path}; wait for its end, stop it, or choose another output"
        ) from error
