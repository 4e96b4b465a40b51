"""A problem's folder on disk: writing it, and telling whether it is what it should be in the end."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

_MAX_BYTES = 1_000_000  # a file that is larger is no file of ours, and is not read


def write_folder(folder: Path, files: Mapping[str, str]) -> None:
    """Write ``files`` (contents by name, a name that ends with a slash is a folder) into ``folder``, which exists."""
    for name, content in files.items():
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, "utf-8")


def is_as_expected(folder: Path, expected: Mapping[str, str]) -> bool:
    """Whether ``folder`` holds exactly ``expected``; white space at the end of a file does not count.

    Whatever a command may have left there is safe to look at: links are not followed, and nothing but ordinary files
    of at most a megabyte is opened. What cannot be read is not what was expected.
    """
    missing = dict(expected)
    for name, path in _entries(folder):
        wanted = missing.pop(name, None)
        if wanted is None or (not name.endswith("/") and _read(path) != wanted.rstrip()):
            return False
    return not missing


def _entries(folder: Path, prefix: str = "") -> Iterator[tuple[str, Path]]:
    """Everything in a folder; the names of folders end with a slash, those of links to folders do not."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        yield prefix + "?/", folder  # nobody expects this name
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield f"{prefix}{entry.name}/", Path(entry.path)
            yield from _entries(Path(entry.path), f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, Path(entry.path)


def _read(path: Path) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe would wait for a writer
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
            return None
        return file.read(_MAX_BYTES).decode("utf-8", errors="replace").rstrip()
