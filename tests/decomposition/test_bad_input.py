"""Bad input through ``srl decompose``: what is dropped and where, what is an error, and what is kept all the same.

How each kind is told from the others is tested beside the readers (tests/trajectories); here it is followed to the
report, the exit code and ``--strict``.
"""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tyro
import zstandard

from srl.decomposition.command import decompose_command
from srl.errors import DataError
from srl.trajectories import json_lines

SOLUTION = "1. **Add** 2 + 3\n\n2. **Double** so \\boxed{10}"
DEEP = 10_000


def good(name: str) -> dict[str, object]:
    return {"id": name, "problem": f"What is {name}(2 + 3)?", "solution": SOLUTION}


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def between(middle: bytes) -> bytes:
    """A row that stands on line 2 of three, the others good."""
    return lines(good("a")) + middle + b"\n" + lines(good("c"))


def with_field(text: str) -> bytes:
    """A row that would be good without this field."""
    return json.dumps(good("b")).encode()[:-1] + b", " + text.encode() + b"}"


def parquet(rows: list[dict[str, Any]], **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, **options)
    return sink.getvalue()


def agent(arguments: str) -> dict[str, object]:
    """A log of two calls, the first with these arguments."""
    calls = [{"id": str(n), "type": "function", "function": {"name": "bash"}} for n in range(2)]
    texts = (arguments, '{"command": "ls"}')
    turns: list[dict[str, object]] = []
    for call, text in zip(calls, texts, strict=True):
        function = {"name": "bash", "arguments": text}
        turns.append({"role": "assistant", "content": "I look.", "tool_calls": [call | {"function": function}]})
        turns.append({"role": "tool", "tool_call_id": call["id"], "content": "app.py"})
    return {"id": "log", "messages": [{"role": "user", "content": "Fix it."}, *turns]}


def zeroeval(output: str) -> dict[str, object]:
    return {"session_id": "s", "generator": "m", "problem": "What is 5?", "output": [output]}


TABLE = [good(str(number)) for number in range(200)]
NOISE = [good(str(number)) | {"note": os.urandom(400).hex()} for number in range(400)]
PACKED = gzip.compress(lines(*NOISE), mtime=0)
DAMAGED = bytearray(parquet(TABLE, row_group_size=100, use_dictionary=False))
DAMAGED[40:60] = b"\x00" * 20

# Name of the file, content, and each drop's line (0: no lines), row and reason. Two trajectories stay, or all before.
DROPPED: dict[str, tuple[str, bytes, list[tuple[int, int, str]]]] = {
    "gzip cut": (
        "x.jsonl.gz",
        gzip.compress(lines(good("a"), good("b")) + b" " * 99, mtime=0)[:-12],
        [(3, 2, "truncated")],
    ),
    "NUL": ("x.jsonl", between(lines(good("b")).replace(b"Add", b"A\x00d")[:-1]), [(2, 1, "bad_json")]),
    "escaped NUL": ("x.jsonl", between(lines(good("b\x00"))[:-1]), [(2, 1, "nul_character")]),
    "half a pair": ("x.jsonl", between(lines(good("\ud800"))[:-1]), [(2, 1, "lone_surrogate")]),
    "half a pair in bytes": ("x.jsonl", between(with_field('"x": "')[:-1] + b"\xed\xa0\x80"), [(2, 1, "not_utf8")]),
    "Latin-1": ("x.jsonl", between(with_field('"x": "caf@"').replace(b"@", b"\xe9")), [(2, 1, "not_utf8")]),
    "NaN": ("x.jsonl", between(with_field('"x": NaN')), [(2, 1, "bad_json")]),
    "infinite answer": ("x.jsonl", between(with_field('"answer": 1e999')), [(2, 1, "wrong_type")]),
    "long integer": ("x.jsonl", between(with_field('"answer": ' + "9" * 5000)), [(2, 1, "bad_json")]),
    "same id": ("x.jsonl", between(lines(good("a"))[:-1]), [(2, 1, "duplicate_id")]),
    "same name": ("x.jsonl", between(with_field('"problem": "What?"')), [(2, 1, "bad_json")]),
    "nested": ("x.jsonl", between(with_field('"x": ' + "[" * DEEP + "]" * DEEP)), [(2, 1, "bad_json")]),
    "nested in an array": (
        "x.json",
        b"[" + between(b"," + with_field('"x": ' + '{"a":' * DEEP + "1" + "}" * DEEP) + b",") + b"]",
        [(2, 1, "bad_json")],
    ),
    "object for list": ("x.jsonl", between(b'{"messages": {"role": "user", "content": "x"}}'), [(2, 1, "wrong_type")]),
    "list for text": ("x.jsonl", between(lines(good("b") | {"solution": ["x"]})[:-1]), [(2, 1, "wrong_type")]),
    "nested text": ("x.jsonl", between(lines({"messages": "[" * DEEP})[:-1]), [(2, 1, "wrong_type")]),
    "no objects": ("x.jsonl", between(b'5\n"x"\nnull'), [(k, k - 1, "not_an_object") for k in (2, 3, 4)]),
    "too long": ("x.jsonl", between(with_field('"x": "' + "y" * 3000 + '"')), [(2, 1, "too_long")]),
    "cut off": ("x.jsonl", lines(good("a"), good("b"), good("c"))[:-20], [(3, 2, "bad_json")]),
    "array cut off": ("x.json", json.dumps([good("a"), good("b"), good("c")]).encode()[:-20], [(1, 2, "bad_json")]),
    "types": ("x.parquet", parquet([*({**good(k), "answer": [1]} for k in "b"), *({**good(k)} for k in "ac")]), [
        (0, 0, "wrong_type"),
    ]),
    "NaN in Parquet": ("x.parquet", parquet([good("a") | {"answer": 1.0}, good("b") | {"answer": float("nan")},
        good("c") | {"answer": 2.0}]), [(0, 1, "wrong_type")]),
}  # fmt: skip


@pytest.fixture
def short_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """No row of the table but one is as long as this, or as deep rows are."""
    monkeypatch.setattr(json_lines, "MAX_ROW_BYTES", 2500)


def run(*arguments: object) -> int:
    """The exit code of the command."""
    try:
        tyro.cli(decompose_command, args=[*map(str, arguments), "--num-workers", "1"])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("case", DROPPED)
def test_a_bad_row_is_reported_and_the_others_are_kept(case: str, tmp_path: Path, request: Any) -> None:
    name, content, expected = DROPPED[case]
    if case == "too long":
        request.getfixturevalue("short_rows")
    source, output, report = tmp_path / name, tmp_path / "o.jsonl", tmp_path / "r.jsonl"
    source.write_bytes(content)
    assert run(source, "-o", output, "--report", report) == 3
    drops = read(report)
    assert [(drop["line"], drop["source"]["row"], drop["reason"]) for drop in drops] == expected
    assert all(drop["source"]["file"] == str(source) and drop["detail"] for drop in drops)
    assert len({row["trajectory_id"] for row in read(output)}) == 2
    line, row, reason = expected[0]
    place = f"line {line}" if line else f"row {row}"
    with pytest.raises(DataError, match=f"{name}, {place}: {reason}"):
        run(source, "-o", tmp_path / "s.jsonl", "--report", tmp_path / "s.report", "--strict")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "o.jsonl", "r.jsonl"])


@pytest.mark.parametrize(
    ("name", "content", "kept", "reason"),
    [
        ("x.jsonl.gz", PACKED[: len(PACKED) // 2], range(100, 300), "truncated"),
        ("x.jsonl.zst", zstandard.compress(lines(*NOISE))[:-2000], range(100, 400), "truncated"),
        ("x.jsonl.gz", gzip.compress(lines(*NOISE[:50]), mtime=0) + b"no gzip", range(50, 51), "corrupt"),
        ("x.parquet", bytes(DAMAGED), range(100, 101), "corrupt"),
    ],
)
def test_what_stands_before_or_beside_the_damage_is_kept(
    tmp_path: Path, name: str, content: bytes, kept: range, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert run(tmp_path / name, "-o", tmp_path / "o.jsonl", "--report", tmp_path / "r.jsonl") == 3
    assert [drop["reason"] for drop in read(tmp_path / "r.jsonl")] == [reason]
    assert len({row["trajectory_id"] for row in read(tmp_path / "o.jsonl")}) in kept


@pytest.mark.parametrize(
    ("name", "content", "num_trajectories"),
    [
        ("x.jsonl", lines(good("a"), good("b")).replace(b"\n", b"\r\n"), 2),
        ("x.jsonl", lines(good("a"), good("b")).replace(b"\n", b"\r"), 2),
        ("x.jsonl", b"\xef\xbb\xbf" + lines(good("a"), good("b")), 2),
        ("x.jsonl", parquet(TABLE), 200),
        ("x.parquet", lines(good("a"), good("b")), 2),
        ("[bold]new\nline\x1b[31m.jsonl", lines(good("a")), 1),
        ("x.jsonl", lines(agent('{"command":' * DEEP + "1" + "}" * DEEP)), 1),
        ("x.jsonl", lines(zeroeval('{"reasoning": "1. Two.\\n2. Three.", "answer": ' + "[" * DEEP)), 1),
    ],
)
def test_what_looks_bad_and_is_not(tmp_path: Path, name: str, content: bytes, num_trajectories: int) -> None:
    (tmp_path / name).write_bytes(content)
    assert run(tmp_path / name, "-o", tmp_path / "o.jsonl") == 0
    rows = read(tmp_path / "o.jsonl")
    assert len({row["trajectory_id"] for row in rows}) == num_trajectories
    assert {row["source"]["file"] for row in rows} == {str(tmp_path / name)}


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


FILES: dict[str, tuple[bytes | Callable[[Path], None], str, str]] = {
    "empty": (b"", "empty_file", "holds no row"),
    "blank": (b" \n\r\n", "empty_file", "holds no row"),
    "utf-16": (lines(good("a")).decode().encode("utf-16"), "not_utf8", "iconv"),
    "text": (b"# Notes\n", "not_data", "neither JSON nor Parquet"),
    "cut.parquet": (parquet(TABLE)[:-100], "corrupt", "as Parquet"),
    "cut.gz": (gzip.compress(b"{}", mtime=0)[:8], "truncated", "end too early"),
    "pipe": (make_pipe, "not_data", "is a pipe"),
    "device": (make_device, "not_data", "is a device"),
    "loop": (make_loop, "unreadable", "symbolic links"),
}


@pytest.mark.skipif(os.name != "posix", reason="pipes, devices and links of POSIX")
@pytest.mark.parametrize("case", FILES)
@pytest.mark.timeout(60)
def test_a_bad_file_is_an_error_by_itself_and_one_drop_in_a_folder(case: str, tmp_path: Path) -> None:
    content, reason, said = FILES[case]
    folder, output, report = tmp_path / "in", tmp_path / "o.jsonl", tmp_path / "r.jsonl"
    folder.mkdir()
    if isinstance(content, bytes):
        (folder / case).write_bytes(content)
    else:
        content(folder / case)
    with pytest.raises(DataError, match=rf"{case}: .*{said}"):
        run(folder / case, "-o", output, "--report", report)
    assert not report.exists()
    with pytest.raises(DataError, match=rf"no row of {folder} became a trajectory \({reason}: 1\); see {report}"):
        run(folder, "-o", output, "--report", report)
    assert [(drop["line"], drop["source"]["row"], drop["reason"]) for drop in read(report)] == [(0, 0, reason)]
    assert not output.exists()
    (folder / "z.jsonl").write_bytes(lines(good("a")))
    assert run(folder, "-o", output, "--report", report, "--overwrite") == 3
    assert [drop["source"]["file"] for drop in read(report)] == [str(folder / case)]
    with pytest.raises(DataError, match=f"{case}, row 0: {reason}"):
        run(folder, "-o", tmp_path / "s.jsonl", "--strict")
