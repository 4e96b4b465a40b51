"""Sources as a whole: files and folders. What stands inside a file is tested beside the module that reads it."""

from __future__ import annotations

import gzip
import json
import os
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from srl.errors import DataError
from srl.trajectories.rows import Row, read_rows
from srl.types import DroppedRow


def write(path: Path, content: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return str(path)


def outcomes(source: str) -> list[object]:
    """Each row's value, or the reason why there is none."""
    return [item.reason if isinstance(item, DroppedRow) else item.value for item in read_rows(source)]


def places(source: str) -> list[tuple[int, int]]:
    return [(item.source.row, item.line) for item in read_rows(source)]


# Kinds of files ------------------------------------------------------------------------------------------------------

LINES = '{"a": 1}\n{"a": 2}\n'
ROWS: list[object] = [{"a": 1}, {"a": 2}]
PRETTY = '{\n  "a": 1,\n  "b": [\n    {"c": 2}\n  ]\n}'
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (LINES, ROWS),
        (LINES.rstrip("\n"), ROWS),
        (LINES.replace("\n", "\r\n"), ROWS),
        (LINES.replace("\n", "\r"), ROWS),
        ("\ufeff" + LINES, ROWS),
        ("\n \t\n" + LINES.replace("\n", "\n\n \r\n"), ROWS),
        ('{"a": 1}', [{"a": 1}]),
        (PRETTY, [{"a": 1, "b": [{"c": 2}]}]),
        ("\ufeff" + PRETTY.replace("\n", "\r\n"), [{"a": 1, "b": [{"c": 2}]}]),
        (PRETTY + "\n" + PRETTY, [{"a": 1, "b": [{"c": 2}]}] * 2),
        ('{"a": 1,\n "b": 2}', [{"a": 1, "b": 2}]),
        ('[{"a": 1}, {"a": 2}]', ROWS),
        ('[{"a": 1},\n {"a": 2}]\n', ROWS),
        ('[\n  {"a": 1},\n  {"a": 2}\n]', ROWS),
        ('\ufeff [{"a": 1}\n,{"a": 2}]', ROWS),
        (json.dumps(CHAT), [{"messages": CHAT}]),
        (json.dumps(CHAT, indent=2), [{"messages": CHAT}]),
        (json.dumps([CHAT, CHAT]), [{"messages": CHAT}] * 2),
        (json.dumps(CHAT) + "\n" + json.dumps(CHAT) + "\n", [{"messages": CHAT}] * 2),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".jsonl", ".json", ".traj", ".txt"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_the_content_says_what_a_file_is(
    tmp_path: Path, content: str, expected: list[object], suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    assert outcomes(write(tmp_path / f"log{suffix}", compress(content.encode()))) == expected


def test_parquet_under_any_name(tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    pq.write_table(pa.Table.from_pylist([{"a": 1}, {"a": None}]), path)
    assert outcomes(str(path)) == [{"a": 1}, {"a": None}]
    packed = write(tmp_path / "table.parquet.gz", gzip.compress(path.read_bytes()))
    with pytest.raises(DataError, match="Parquet inside gzip or zstd; decompress it first"):
        list(read_rows(packed))


def test_rows_and_lines(tmp_path: Path) -> None:
    """Row r of JSON Lines stands on line r + 1, blank lines included; a row of a document where it begins."""
    assert places(write(tmp_path / "x.jsonl", '\n{"a": 1}\n\n{"b": 1}')) == [(1, 2), (3, 4)]
    assert places(write(tmp_path / "x.jsonl", '\r{"a": 1}\r\r{"b": 1}')) == [(1, 2), (3, 4)]
    assert places(write(tmp_path / "x.json", "[\n1,\n\n2, 3\n]")) == [(0, 2), (1, 4), (2, 4)]
    assert places(write(tmp_path / "x.json", "\n\n" + PRETTY + "\n" + PRETTY)) == [(0, 3), (1, 9)]
    assert places(write(tmp_path / "x.json", "\n" + json.dumps(CHAT, indent=1))) == [(0, 2)]


# Files and sources that cannot be read -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["missing.jsonl", "missing/file.jsonl", "missing", "a/b/c", "owner/name:", "", "a\0b"])
def test_missing_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        list(read_rows(name))


@pytest.mark.parametrize(
    ("content", "reason", "message"),
    [
        (b"", "empty_file", "holds no row"),
        (b" \n\r\n\t", "empty_file", "holds no row"),
        (b"\xef\xbb\xbf", "empty_file", "holds no row"),
        (b"[]", "empty_file", "holds no row"),
        (b"[\n]\n", "empty_file", "holds no row"),
        (gzip.compress(b"", mtime=0), "empty_file", "holds no row"),
        (b"A poem\nwith two lines\n", "not_data", "neither JSON nor Parquet"),
        (b"[section]\nkey = 1\n", "not_data", "neither JSON nor Parquet"),
        (b"{curly} text\n", "not_data", "neither JSON nor Parquet"),
        (b"[![build](https://x)](https://y)\n\nText\n", "not_data", "neither JSON nor Parquet"),
        (bytes(range(256)) * 8, "not_data", "neither JSON nor Parquet"),
        (b"\x00" * 5000, "not_data", "neither JSON nor Parquet"),
        (b"\x89PNG\r\n\x1a\n...", "not_data", "an image"),
        (b"BZh91AY&SY", "not_data", "bzip2"),
        (gzip.compress(gzip.compress(LINES.encode(), mtime=0), mtime=0), "not_data", "gzip inside a compressed file"),
        (LINES.encode("utf-16"), "not_utf8", "iconv"),
        (LINES.encode("utf-16-le"), "not_utf8", "iconv"),
        (LINES.encode("utf-16-be"), "not_utf8", "iconv"),
        (LINES.encode("utf-32"), "not_utf8", "iconv"),
        (b"PAR1 but no more", "corrupt", "as Parquet"),
        (gzip.compress(LINES.encode(), mtime=0)[:5], "truncated", "end too early"),
        (b"\x1f\x8b no gzip at all", "corrupt", "damaged gzip"),
        (b"\x28\xb5\x2f\xfd no zstd at all", "corrupt", "damaged zstd"),
    ],
)
def test_a_file_as_a_whole(tmp_path: Path, content: bytes, reason: str, message: str) -> None:
    """An error if the user named it, one drop if it was found in a folder."""
    source = write(tmp_path / "folder" / "file", content)
    with pytest.raises(DataError, match=f"file: .*{message}"):
        list(read_rows(source))
    (dropped,) = read_rows(str(tmp_path / "folder"))
    assert isinstance(dropped, DroppedRow)
    assert (dropped.reason, dropped.source.file, dropped.source.row, dropped.line) == (reason, source, 0, 0)
    assert message in dropped.detail


def test_a_file_that_fails_when_read(tmp_path: Path) -> None:
    """As root nothing is forbidden; the first page of one's own memory cannot be read by anybody."""
    forbidden = Path("/proc/self/mem")
    if not forbidden.exists():
        pytest.skip("no /proc here")
    with pytest.raises(DataError, match=r"/proc/self/mem: cannot be read: Input/output error"):
        list(read_rows(str(forbidden)))
    (tmp_path / "a.json").symlink_to(forbidden)
    write(tmp_path / "b.json", LINES)
    assert outcomes(str(tmp_path)) == ["unreadable", *ROWS]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_missing_permission(tmp_path: Path) -> None:
    source = write(tmp_path / "a.json", LINES)
    Path(source).chmod(0)
    with pytest.raises(DataError, match="Permission denied"):
        list(read_rows(source))
    assert outcomes(str(tmp_path)) == ["unreadable"]


# Folders -------------------------------------------------------------------------------------------------------------


def test_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "b.jsonl", LINES)
    write(tmp_path / "a" / "z.traj", PRETTY)
    write(tmp_path / "a" / "c" / "deep.json.gz", gzip.compress(b'[{"a": 3}]'))
    write(tmp_path / "README.md", "# Logs\n")
    write(tmp_path / ".hidden.json", LINES)
    write(tmp_path / ".git" / "x.json", LINES)
    found = [(item.source.file, item.source.row) for item in read_rows(str(tmp_path))]
    names = [("README.md", 0), ("a/c/deep.json.gz", 0), ("a/z.traj", 0), ("b.jsonl", 0), ("b.jsonl", 1)]
    assert found == [(str(tmp_path / name), row) for name, row in names]
    assert outcomes(str(tmp_path)) == ["not_data", {"a": 3}, {"a": 1, "b": [{"c": 2}]}, *ROWS]


def test_an_empty_folder(tmp_path: Path) -> None:
    write(tmp_path / ".hidden.json", LINES)
    (tmp_path / "empty" / "folders").mkdir(parents=True)
    with pytest.raises(DataError, match="a folder without files"):
        list(read_rows(str(tmp_path)))


@pytest.mark.timeout(60)
def test_what_must_not_be_opened_and_where_not_to_go(tmp_path: Path) -> None:
    """A pipe would block for ever, a link to the folder above would never end."""
    folder = tmp_path / "f"
    write(folder / "a.json", LINES)
    os.mkfifo(folder / "b.json")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(folder / "c.json"))  # a path from here: socket names are short
        (folder / "d").symlink_to(folder)
        (folder / "e").symlink_to(folder / "e")
        (folder / "g").symlink_to(tmp_path / "missing")
        (folder / "h.json").symlink_to(folder / "a.json")
        assert outcomes(str(folder)) == [*ROWS, "not_data", "not_data", "unreadable", "unreadable", *ROWS]
        with pytest.raises(DataError, match="is a pipe; write what it gives to a file first"):
            list(read_rows(str(folder / "b.json")))


def test_file_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.json")
    try:
        write(Path(name), LINES)
    except OSError:
        pytest.skip("file names are UTF-8 here")
    (first, _) = read_rows(str(tmp_path))
    assert first.source.file == str(tmp_path) + "/caf\\xe9.json"


# Real files ----------------------------------------------------------------------------------------------------------


def test_real_files(shared_data: Callable[[str], Path]) -> None:
    """Every file of data is read whole: as many rows as lines, or one per agent log."""
    folder = shared_data("swe")
    items = list(read_rows(str(folder)))
    assert not [item for item in items if isinstance(item, DroppedRow)]
    expected = Counter(
        {
            str(path): sum(1 for line in path.open("rb") if line.strip()) if path.suffix == ".jsonl" else 1
            for path in folder.rglob("*")
            if path.is_file()
        }
    )
    assert Counter(item.source.file for item in items) == expected
    logs = [item.value for item in items if isinstance(item, Row) and list(item.value) == ["messages"]]
    assert sorted(len(log["messages"]) for log in logs) == [10, 14, 22, 22]  # type: ignore[arg-type]
