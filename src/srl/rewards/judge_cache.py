"""Grades that were paid for: in memory, and in an append-only JSON Lines file where one is named.

All threads of a process share one object, and all processes of a run share one file: each grade is one line, written
under a lock of the operating system that is held for that line alone, and what the others have added is read before
anything is asked. A last line that was cut off by a kill is taken away by the next writer.

The decision a reader would question: lines are not forced to the disk one by one, as the journal of ``srl rewrite``
does. A killed process loses nothing; a power cut may lose the last grades, which cost a fraction of a cent each.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, cast

from srl.errors import DataError

MAX_GRADES = 1_000_000
"""So many grades are kept in memory (about 120 MB); then the one that was not used for longest is forgotten."""
SCALE = 10
"""The best grade; the worst is 0."""
_BEGINNING = b'{"judge_key": "'
_MAX_LINE_BYTES = 4096


class GradeCache:
    """Grades by key."""

    def __init__(self, path: Path | None, *, max_grades: int = MAX_GRADES) -> None:
        """Read the file at ``path`` if it is there; None keeps grades in memory only.

        The file is made with its first grade, because a run's folder is made when all of its stages are. Raises
        DataError if it cannot be read or holds anything but grades.
        """
        self._path = path
        self._max_grades = max_grades
        self._grades: dict[str, int] = {}
        self._read_to = 0
        self._num_lines = 0
        self._lock = threading.Lock()
        self.refresh()

    def __len__(self) -> int:
        return len(self._grades)

    def get(self, key: str) -> int | None:
        """The grade with this key, None if there is none yet."""
        with self._lock:
            grade = self._grades.pop(key, None)
            if grade is not None:
                self._grades[key] = grade  # the last to be forgotten
            return grade

    def put(self, key: str, grade: int, *, model: str) -> None:
        """Add a grade; ``model`` is told to who reads the file. Raises DataError if it cannot be written."""
        with self._lock:
            self._remember(key, grade)
            if self._path is None:
                return
            line = (json.dumps({"judge_key": key, "model": model, "grade": grade}) + "\n").encode("ascii")
            with self._file() as file:
                end = self._cut_torn_line(file)
                try:
                    _write_all(file, line)
                except OSError as error:
                    with suppress(OSError):  # a full disk: the next line must not be glued to half of this one
                        file.truncate(end)
                    raise DataError(f"cannot write {self._path}: {error.strerror or error}") from error
            if self._read_to == end:
                self._read_to += len(line)
                self._num_lines += 1

    def refresh(self) -> None:
        """Read what was added to the file since. Raises DataError at a line that is no grade."""
        if self._path is None:
            return
        with self._lock:
            try:
                with self._path.open("rb") as file:
                    self._read_new(file)
            except FileNotFoundError:
                return
            except OSError as error:
                raise DataError(f"cannot read {self._path}: {error.strerror or error}") from error

    def _read_new(self, file: BinaryIO) -> None:
        file.seek(self._read_to)
        for line in file:
            if not line.endswith(b"\n"):  # being written, or cut off
                self._check_beginning(line)
                return
            try:
                self._remember(*_read_line(line))
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"{self._path}, line {self._num_lines + 1} is no grade of a judge ({error}); remove this line, "
                    "or move the file away if it holds something else"
                ) from error
            self._num_lines += 1
            self._read_to += len(line)

    def _remember(self, key: str, grade: int) -> None:
        self._grades.pop(key, None)
        self._grades[key] = grade
        if len(self._grades) > self._max_grades:
            del self._grades[next(iter(self._grades))]

    @contextmanager
    def _file(self) -> Generator[FileIO]:
        """The file, locked against all other processes."""
        assert self._path is not None
        try:
            file = FileIO(self._path, "a+")  # without a buffer: what was written is not kept back
        except OSError as error:
            raise DataError(f"cannot write {self._path}: {error.strerror or error}; does its folder exist?") from error
        with file:
            try:
                import fcntl
            except ImportError:  # Windows, where runs have one process
                pass
            else:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX)
            yield file

    def _cut_torn_line(self, file: FileIO) -> int:
        """Take away a last line without an end, whose writer was killed; gives the length of the file."""
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - _MAX_LINE_BYTES))
        torn = file.read().rpartition(b"\n")[2]
        if torn:
            self._check_beginning(torn)
            end -= len(torn)
            file.truncate(end)
        return end

    def _check_beginning(self, torn: bytes) -> None:
        """Raises DataError unless ``torn`` may be the beginning of a grade: no other file is ever cut."""
        if not torn.startswith(_BEGINNING[: len(torn)]) or len(torn) >= _MAX_LINE_BYTES:
            raise DataError(f"{self._path} holds something else than a judge's grades; move it away")


def _read_line(line: bytes) -> tuple[str, int]:
    """Key and grade of a line. Raises ValueError."""
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    fields = cast("dict[str, Any]", value)
    key, grade = fields.get("judge_key"), fields.get("grade")
    if not isinstance(key, str) or type(grade) is not int or not 0 <= grade <= SCALE:
        raise ValueError(f"it needs judge_key and a grade from 0 to {SCALE}")
    return key, grade


def _write_all(file: FileIO, data: bytes) -> None:
    while data:
        data = data[file.write(data) :]
