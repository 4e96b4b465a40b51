"""JSON Lines files that appear under their name only when they are whole."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from srl.errors import DataError

WriteLine = Callable[[Mapping[str, object]], None]


@contextmanager
def whole_file(path: Path | None) -> Generator[WriteLine]:
    """Gives a function that adds one line; the file takes its place when the block ends, and not if it fails.

    None swallows what is written. Raises DataError where the file cannot be written.
    """
    if path is None:
        yield lambda value: None
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        # A file name that is no valid UTF-8 can stand in a record; its bytes are then written as JSON escapes.
        file = partial.open("w", encoding="utf-8", errors="backslashreplace", newline="\n")
    except OSError as error:
        raise _cannot_write(path, error) from error

    def write(value: Mapping[str, object]) -> None:
        try:
            file.write(json.dumps(value, ensure_ascii=False) + "\n")
        except OSError as error:
            raise _cannot_write(path, error) from error

    try:
        with file:
            yield write
            try:
                file.flush()
                os.fsync(file.fileno())
            except OSError as error:
                raise _cannot_write(path, error) from error
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def real_path(path: Path | str) -> Path:
    """Where a path leads, to compare places; total, also where links lead in a circle."""
    return Path(os.path.realpath(path))


def _cannot_write(path: Path, error: OSError) -> DataError:
    return DataError(f"cannot write {path}: {error.strerror or error}; does its folder exist, and has it space?")
