"""A source cut into units, which together must be the source, however it is cut."""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srl.errors import DataError
from srl.trajectories.rows import Row, list_units, read_rows, read_unit
from srl.types import DroppedRow

CONSTANT_TMP = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
LINES = '{"a": 1}\n{"a": 2}\n'


def write(path: Path, content: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return str(path)


def outcomes(items: Sequence[Row | DroppedRow]) -> list[object]:
    return [item.reason if isinstance(item, DroppedRow) else item.value for item in items]


def test_units_of_a_file_of_lines(tmp_path: Path) -> None:
    source = write(tmp_path / "x.jsonl", "".join(f'{{"a": {number}}}\n' for number in range(100)))
    units = list(list_units(source, unit_bytes=300))
    assert [(unit.kind, unit.file) for unit in units] == [("lines", source)] * len(units)
    # Ten lines of 9 bytes and ninety of 10.
    assert [(unit.start, unit.first_row) for unit in units] == [(0, 0), (300, 31), (600, 61), (900, 91)]
    assert [unit.end for unit in units] == [300, 600, 900, 990]
    third = list(read_unit(pickle.loads(pickle.dumps(units[2]))))
    assert [(item.source.row, item.line) for item in third] == [(row, row + 1) for row in range(61, 91)]
    assert outcomes(third) == [{"a": row} for row in range(61, 91)]


def test_small_files_are_not_cut(tmp_path: Path) -> None:
    (unit,) = list_units(write(tmp_path / "x.jsonl", LINES))
    assert (unit.kind, unit.start, unit.end, unit.is_named) == ("file", 0, -1, True)
    (unit,) = list_units(str(tmp_path))
    assert not unit.is_named


@pytest.mark.parametrize(
    "content", [b"[" + LINES.encode() + b"]", b"text " * 50, gzip.compress(LINES.encode(), mtime=0), b" " * 99]
)
def test_what_cannot_be_cut_is_one_unit(tmp_path: Path, content: bytes) -> None:
    (unit,) = list_units(write(tmp_path / "x", content), unit_bytes=3)
    assert unit.kind == "file"


LINE = st.one_of(
    st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=20), max_size=3)
    .map(json.dumps)
    .map(str.encode),
    st.sampled_from([b"", b" ", b"\t ", b"[1, 2]", b"null", b"7", b"\xff", b"{", b'{"a": NaN}', b'{"a": "\x00"}']),
    st.binary(max_size=20).map(lambda raw: b"!" + raw.replace(b"\n", b"").replace(b"\r", b"")),
)


@CONSTANT_TMP
@given(
    lines=st.lists(LINE, max_size=30),
    newline=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    is_ended=st.booleans(),
    unit_bytes=st.integers(1, 200),
)
def test_no_line_is_lost_however_a_file_is_cut(
    tmp_path: Path, lines: list[bytes], newline: bytes, is_ended: bool, unit_bytes: int
) -> None:
    lines = [b'{"first": 1}', *lines]
    source = write(tmp_path / "x.jsonl", newline.join(lines) + newline * is_ended)
    whole = list(read_rows(source))
    numbers = [number for number, line in enumerate(lines) if line.strip(b" \t\r")]
    assert [(item.source.row, item.line) for item in whole] == [(number, number + 1) for number in numbers]
    units = list(list_units(source, unit_bytes=unit_bytes))
    assert [item for unit in units for item in read_unit(unit)] == whole
    assert [item for unit in reversed(units) for item in reversed(list(read_unit(unit)))] == whole[::-1]


@CONSTANT_TMP
@given(
    content=st.binary(max_size=200) | st.lists(LINE, max_size=5).map(b"\n".join),
    wrap=st.sampled_from(
        [bytes, gzip.compress, zstandard.ZstdCompressor().compress, lambda raw: b"PAR1" + raw + b"PAR1"]
    ),
    cut=st.integers(0, 30),
    suffix=st.sampled_from(["", ".json", ".jsonl", ".gz", ".json.zst", ".parquet"]),
    unit_bytes=st.integers(1, 300),
)
def test_any_bytes_are_rows_drops_or_an_error(
    tmp_path: Path, content: bytes, wrap: Callable[[bytes], bytes], cut: int, suffix: str, unit_bytes: int
) -> None:
    folder = tmp_path / "folder"
    shutil.rmtree(folder, ignore_errors=True)
    packed = wrap(content)
    source = write(folder / f"any{suffix}", packed[: max(len(packed) - cut, 0)])
    found = list(read_rows(str(folder)))
    assert len(found) >= 1  # in a folder every file is accounted for
    assert [item for unit in list_units(str(folder), unit_bytes=unit_bytes) for item in read_unit(unit)] == found
    try:
        assert list(read_rows(source)) == found
    except DataError:
        assert [isinstance(item, DroppedRow) and (item.source.row, item.line) for item in found] == [(0, 0)]


def test_files_that_change_after_they_were_listed(tmp_path: Path) -> None:
    source = write(tmp_path / "x.jsonl", LINES * 50)
    named, listed = list(list_units(source, unit_bytes=100)), list(list_units(str(tmp_path), unit_bytes=100))
    write(tmp_path / "x.jsonl", LINES * 49)
    with pytest.raises(DataError, match="has changed since it was listed"):
        list(read_unit(named[1]))
    assert outcomes(list(read_unit(listed[1]))) == ["unreadable"]
    Path(source).unlink()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        list(read_unit(named[1]))
    assert outcomes(list(read_unit(listed[1]))) == ["unreadable"]


def test_a_file_of_several_units_in_a_folder(tmp_path: Path) -> None:
    """The real size of a unit: 7 MB of lines between two small files."""
    write(tmp_path / "a.json", "{}")
    line = json.dumps({"text": "x" * 1_000_000}) + "\n"
    write(tmp_path / "b.jsonl", line * 7)
    write(tmp_path / "c.json", "{}")
    units = list(list_units(str(tmp_path)))
    assert [unit.kind for unit in units] == ["file", "lines", "lines", "lines", "file"]
    assert [unit.first_row for unit in units] == [0, 0, 3, 6, 0]
    found = [(item.source.row, item.line) for item in read_rows(str(tmp_path))]
    assert found == [(0, 1), *((row, row + 1) for row in range(7)), (0, 1)]
