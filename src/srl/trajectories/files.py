"""A path -> its files, and a file -> its bytes, decompressed, in chunks of bounded size.

The decision a reader would question: compressed files are taken apart here and not by ``gzip.open``, because rows
before a cut or a damaged place must be delivered, a megabyte of input must never become gigabytes at once, and what
is no regular file (a pipe, a device) must never be opened: it may block for ever.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from srl.trajectories.reasons import DropReason, RowError

CHUNK_BYTES = 1 << 20
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # after one byte 0x50 to 0x5f; parallel compressors write such frames first
# Deflate grows at most a thousandfold and takes a limit on its output. A zstd frame may grow 30,000-fold and takes
# none, so its input comes in pieces that become 16 MiB at worst.
_GZIP_PIECE = 1 << 16
_ZSTD_PIECE = 1 << 9

_SPECIAL = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def walk_files(folder: str) -> Iterator[str]:
    """The files under ``folder``, and the folders that cannot be listed, which opening them will explain.

    In the order of the sorted names, folder by folder. Names that begin with a dot are left out. Links are followed,
    and each folder is entered once, so that a link to a folder above it does no harm.
    """
    entered: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        path = waiting.pop()
        try:
            found = Path(path).stat()
            if not stat.S_ISDIR(found.st_mode):
                yield path
                continue
            names = os.listdir(path)  # noqa: PTH208 (names, not paths)
        except OSError:
            yield path
            continue
        if (found.st_dev, found.st_ino) not in entered:
            entered.add((found.st_dev, found.st_ino))
            shown = sorted((name for name in names if not name.startswith(".")), reverse=True)
            waiting.extend(os.path.join(path, name) for name in shown)  # noqa: PTH118 (as the user wrote the folder)


def open_file(path: str) -> BinaryIO:
    """Open a regular file. Raises RowError ``not_data`` for anything else, OSError where it cannot be opened.

    O_NONBLOCK lets the opening of a pipe return, should one have taken the file's place meanwhile.
    """
    special = _SPECIAL.get(stat.S_IFMT(Path(path).stat().st_mode))
    if special:
        raise RowError(DropReason.NOT_DATA, f"is {special}; write what it gives to a file first")
    return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")


def stamp_of(file: BinaryIO) -> tuple[int, int]:
    """Size and time of the last change, to notice that a file is no longer the one that was cut into units."""
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


def read_chunks(file: BinaryIO, end: int = -1) -> Iterator[bytes]:
    """The bytes from where ``file`` stands to ``end`` (-1: to its end), as they are."""
    left = end - file.tell() if end >= 0 else -1
    while left and (chunk := file.read(min(left, CHUNK_BYTES) if left > 0 else CHUNK_BYTES)):
        yield chunk
        left -= len(chunk) if left > 0 else 0


def decompressed_chunks(file: BinaryIO) -> Iterator[bytes]:
    """The content of a file that may be gzip or zstd, which its first bytes say; other files as they are.

    No chunk is empty, and none is larger than 20 MB, whatever the file unpacks to.

    Raises RowError ``truncated`` or ``corrupt`` after all that could be decompressed before.
    """
    magic = file.read(4)
    file.seek(0)
    if magic[:2] == _GZIP:
        return _gunzip(file)
    if magic == _ZSTD or (magic[1:] == _ZSTD_SKIPPABLE and 0x50 <= magic[0] <= 0x5F):
        return _unzstd(file)
    return read_chunks(file)


class Peeked(NamedTuple):
    """The beginning of a stream."""

    head: bytes
    """The first bytes."""
    is_whole: bool
    """Nothing follows them."""
    chunks: Iterator[bytes]
    """The whole stream, the head included."""


def peek(chunks: Iterator[bytes], size: int) -> Peeked:
    """Look at ``size`` first bytes or somewhat more (fewer if there are no more).

    A RowError on the way is kept until the bytes before it are read; raises it if there are none.
    """
    pieces: list[bytes] = []
    failure: RowError | None = None
    seen = 0
    is_whole = False
    try:
        while seen < size and not is_whole:
            chunk = next(chunks, b"")
            pieces.append(chunk)
            seen += len(chunk)
            is_whole = not chunk
    except RowError as error:
        if not seen:
            raise
        failure = error
    head = b"".join(pieces)

    def again() -> Iterator[bytes]:
        yield head
        if failure:
            raise failure
        yield from chunks

    return Peeked(head, is_whole, again())


def _gunzip(file: BinaryIO) -> Iterator[bytes]:
    """All members one after the other, as gzip itself reads them; zeros after a member are padding."""
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
    data = b""
    is_inside = True  # an empty file does not come here: the magic bytes were seen
    while data := data or file.read(_GZIP_PIECE):
        if not is_inside:
            data = data.lstrip(b"\x00")
            if not data:
                continue
            decoder, is_inside = zlib.decompressobj(zlib.MAX_WBITS | 16), True
        before = decoder.copy()
        try:
            chunk = decoder.decompress(data, CHUNK_BYTES)
        except zlib.error as error:
            yield from _until_damage(before, data)
            raise RowError(DropReason.CORRUPT, f"damaged gzip data ({error}); fetch the file again") from error
        if chunk:
            yield chunk
        is_inside = not decoder.eof
        data = decoder.unconsumed_tail if is_inside else decoder.unused_data
    if is_inside:
        raise RowError(DropReason.TRUNCATED, "the gzip data end too early; fetch the file again")


def _until_damage(decoder: Any, data: bytes) -> Iterator[bytes]:
    """What stands before the damage: an error of zlib takes with it all the output of the same call."""
    for start in range(len(data)):
        try:
            chunk = decoder.decompress(data[start : start + 1])
        except zlib.error:
            return
        if chunk:
            yield chunk


def _unzstd(file: BinaryIO) -> Iterator[bytes]:
    try:
        zstandard: Any = import_module("zstandard")
    except ImportError as error:
        raise RowError(DropReason.NOT_DATA, "is zstd; pip install zstandard, or decompress it") from error
    decoder = zstandard.ZstdDecompressor().decompressobj()
    data = b""
    is_inside = True
    while data := data or file.read(_ZSTD_PIECE):
        if not is_inside:
            decoder, is_inside = zstandard.ZstdDecompressor().decompressobj(), True
        try:
            chunk = decoder.decompress(data)
        except zstandard.ZstdError as error:
            raise RowError(DropReason.CORRUPT, f"damaged zstd data ({error}); fetch the file again") from error
        if chunk:
            yield chunk
        is_inside = not decoder.eof
        data = b"" if is_inside else decoder.unused_data
    if is_inside:
        raise RowError(DropReason.TRUNCATED, "the zstd data end too early; fetch the file again")
