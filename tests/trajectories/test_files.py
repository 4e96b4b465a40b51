"""Compressed streams, whole, cut off and damaged."""

from __future__ import annotations

import gzip
import io
import json
import random
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from srl.errors import DataError
from srl.trajectories import json_lines
from srl.trajectories.files import decompressed_chunks, peek, read_chunks
from srl.trajectories.reasons import RowError
from srl.trajectories.rows import read_rows
from srl.types import DroppedRow

NOISE = random.Random(0)
ROWS = [{"row": row, "text": f"{NOISE.random()} " * 40} for row in range(2000)]
CONTENT = "".join(json.dumps(row) + "\n" for row in ROWS).encode()  # 1.6 MB, more than one block or window


def zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def unpack(packed: bytes) -> tuple[bytes, str]:
    """What could be read, and why no more."""
    pieces: list[bytes] = []
    try:
        for chunk in decompressed_chunks(io.BytesIO(packed)):  # type: ignore[arg-type]
            assert chunk
            pieces.append(chunk)
    except RowError as error:
        return b"".join(pieces), error.reason.value
    return b"".join(pieces), ""


BOTH = pytest.mark.parametrize("compress", [gzip.compress, zstd])


@BOTH
def test_whole_streams(compress: Callable[[bytes], bytes]) -> None:
    packed = compress(CONTENT)
    assert unpack(packed) == (CONTENT, "")
    assert unpack(packed + compress(b"") + compress(b"x")) == (CONTENT + b"x", "")


def test_what_tools_write_around_streams() -> None:
    assert unpack(gzip.compress(b"x") + b"\x00" * 100_000) == (b"x", "")  # gzip -d takes padding, too
    frame = b"\x51\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"  # pzstd begins with a skippable frame
    assert unpack(frame + zstd(b"x") + frame + zstd(b"y")) == (b"xy", "")
    assert unpack(gzip.compress(b"x") + b"more") == (b"x", "corrupt")
    assert unpack(zstd(b"x") + b"more") == (b"x", "corrupt")


@BOTH
@given(data=st.data())
def test_cut_streams(compress: Callable[[bytes], bytes], data: st.DataObject) -> None:
    packed = compress(CONTENT[:5000]) + compress(CONTENT[5000:9000])
    end = data.draw(st.integers(4, len(packed) - 1))
    found, reason = unpack(packed[:end])
    is_between = end == len(compress(CONTENT[:5000]))  # then the file is whole, for all that one can tell
    assert (reason == "truncated") != is_between
    assert CONTENT.startswith(found)


@BOTH
def test_rows_before_a_cut_are_read(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    packed = compress(CONTENT)
    path = tmp_path / "x.jsonl"
    path.write_bytes(packed[: len(packed) * 3 // 4])
    *rows, last = read_rows(str(path))
    assert isinstance(last, DroppedRow)
    assert (last.reason, last.source.row, last.line) == ("truncated", len(rows), len(rows) + 1)
    assert [row.value for row in rows if not isinstance(row, DroppedRow)] == ROWS[: len(rows)]
    assert len(rows) > 1200  # a block of zstd is 128 KB, and the one that was cut is lost


@BOTH
def test_rows_before_damage_are_read(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    packed = bytearray(compress(CONTENT[:800_000]) + compress(CONTENT[800_000:]))
    middle = len(compress(CONTENT[:800_000]))
    packed[middle : middle + 40] = b"\xff" * 40
    path = tmp_path / "x.jsonl"
    path.write_bytes(packed)
    *rows, last = read_rows(str(path))
    assert isinstance(last, DroppedRow)
    assert (last.reason, last.source.row) == ("corrupt", CONTENT[:800_000].count(b"\n"))
    assert [row.value for row in rows if not isinstance(row, DroppedRow)] == ROWS[: len(rows)]


@BOTH
def test_a_wrong_checksum_is_reported(compress: Callable[[bytes], bytes]) -> None:
    packed = bytearray(compress(b"x" * 1000))
    packed[-5 if compress is gzip.compress else -1] ^= 1
    # Of gzip all is there before the checksum is; zstd gives a block and the sum after it together, or neither.
    assert unpack(bytes(packed)) == (b"x" * 1000 if compress is gzip.compress else b"", "corrupt")


@BOTH
@given(data=st.data())
def test_damage_anywhere(compress: Callable[[bytes], bytes], data: st.DataObject) -> None:
    packed = bytearray(compress(CONTENT[:3000]))
    packed[data.draw(st.integers(4, len(packed) - 1))] = data.draw(st.integers(0, 255))
    unpack(bytes(packed))  # raises nothing but RowError


@BOTH
def test_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: Callable[[bytes], bytes]) -> None:
    """40 MB of one line in 40 kilobytes, or far less."""
    monkeypatch.setattr(json_lines, "MAX_ROW_BYTES", 1 << 20)
    path = tmp_path / "x.jsonl"
    path.write_bytes(compress(b'{"a": 1}\n"' + b"x" * 40_000_000 + b'"\n{"b": 1}'))
    tracemalloc.start()
    first, second, third = read_rows(str(path))
    _, highest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(second, DroppedRow)
    assert second.reason == "too_long"
    assert [row.value for row in (first, third) if not isinstance(row, DroppedRow)] == [{"a": 1}, {"b": 1}]
    assert highest < 55 << 20


def test_zstd_with_a_window_of_gigabytes(tmp_path: Path) -> None:
    """A frame may ask for any amount of memory; the library's limit of 128 MB stays."""
    frame = b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x00" * 20  # a header with a window of 2 GB
    path = tmp_path / "x.jsonl"
    path.write_bytes(frame)
    with pytest.raises(DataError, match="too much memory"):
        list(read_rows(str(path)))


def test_a_range_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"0123456789")
    for start, end, expected in [(0, -1, b"0123456789"), (2, 5, b"234"), (5, 5, b""), (8, 99, b"89")]:
        with path.open("rb") as file:
            file.seek(start)
            assert b"".join(read_chunks(file, end)) == expected


def test_peek() -> None:
    peeked = peek(iter([b"ab", b"cd", b"ef"]), 3)
    assert (peeked.head, peeked.is_whole, list(peeked.chunks)) == (b"abcd", False, [b"abcd", b"ef"])
    peeked = peek(iter([b"ab"]), 3)
    assert (peeked.head, peeked.is_whole) == (b"ab", True)


def test_nothing_of_zlib_is_wrong_here() -> None:
    """The oracle: gzip's own reader gives the same for a file of several members."""
    packed = b"".join(gzip.compress(CONTENT[start : start + 9999]) for start in range(0, len(CONTENT), 9999))
    assert unpack(packed)[0] == gzip.decompress(packed) == CONTENT
    assert zlib.crc32(CONTENT) == zlib.crc32(unpack(packed)[0])
