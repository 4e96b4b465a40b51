from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.trajectories import json_lines
from srl.trajectories.json_lines import find_line_starts, parse_line, parse_lines, split_lines
from srl.trajectories.reasons import DropReason, RowError


def cut(content: bytes, size: int) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def reason(line: bytes) -> str:
    value = parse_line(line)
    assert isinstance(value, RowError)
    return f"{value.reason}: {value.detail}"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"a": NaN}', "bad_json: NaN is not JSON; write null or leave the field out"),
        (b'{"a": [-Infinity]}', "bad_json: -Infinity is not JSON; write null or leave the field out"),
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', "bad_json: the name 'c' occurs twice in one object"),
        (b'{"a": "\xff"}', "not_utf8: byte 7 of the line: invalid start byte"),
        (b'{"a": "\xed\xa0\x80"}', "not_utf8: byte 7 of the line: invalid continuation byte"),  # U+D800 as bytes
        (b'{"a": "\x00"}', "bad_json: Invalid control character at character 7 of the row"),
        (b"\x00" * 512, "bad_json: Expecting value at character 0 of the row"),
        (b'{"a": 1} {"b": 2}', "bad_json: Extra data at character 9 of the row"),
        (b'{"a": "x', "bad_json: Unterminated string starting at character 6 of the row"),
        (b"{'a': 1}", "bad_json: Expecting property name enclosed in double quotes at character 1 of the row"),
        (b"1" * 5000, "bad_json: a number of more than 4,300 digits"),
        (b"[" * 10_000, "bad_json: nested too deep"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "bad_json: nested too deep"),
    ],
)
def test_lines_that_are_refused(line: bytes, expected: str) -> None:
    assert reason(line) == expected


def test_lines_that_are_accepted() -> None:
    assert parse_line(b'\xef\xbb\xbf {"a": [1e2, -0, "\\u0000"]}\r') == {"a": [100.0, 0, "\x00"]}
    assert parse_line(b'{"a": "\\ud800"}') == {"a": "\ud800"}  # whoever uses the field refuses it
    assert parse_line('{"a": "\u2028\x85é"}'.encode()) == {"a": "\u2028\x85é"}


@given(
    lines=st.lists(st.binary(max_size=9).map(lambda raw: raw.replace(b"\n", b"")), min_size=1, max_size=9),
    size=st.integers(1, 12),
    max_bytes=st.integers(0, 9),
)
def test_lines_are_cut_at_their_ends(lines: list[bytes], size: int, max_bytes: int) -> None:
    expected = [line if len(line) <= max_bytes else None for line in (lines if lines[-1] else lines[:-1])]
    assert list(split_lines(cut(b"\n".join(lines), size), b"\n", max_bytes)) == expected


@given(
    content=st.lists(st.sampled_from([b"a", b"\n"]), max_size=40).map(b"".join),
    size=st.integers(1, 12),
    every=st.integers(1, 12),
)
def test_line_starts(content: bytes, size: int, every: int) -> None:
    found = list(find_line_starts(cut(content, size), b"\n", every))
    starts = [at + 1 for at, byte in enumerate(content[:-1]) if byte == ord("\n")]
    expected: list[int] = []
    for start in starts:
        if start - (expected[-1] if expected else 0) >= every:
            expected.append(start)
    assert found == [(start, content[:start].count(b"\n")) for start in expected]


def test_chunks_that_end_too_early() -> None:
    def chunks() -> Iterator[bytes]:
        yield b'\n{"a": 1}\n{"b'
        yield b'": 2}\n{"c": 3}'
        raise RowError(DropReason.TRUNCATED, "cut")

    *rows, last = parse_lines(chunks(), b"\n", first_row=10)
    assert rows == [(11, 12, {"a": 1}), (12, 13, {"b": 2})]
    assert (last.row, last.line, str(last.value)) == (13, 14, "truncated: cut")


def test_a_line_of_fifty_megabytes() -> None:
    line = json.dumps({"text": "x" * 50_000_000}).encode()
    (element,) = parse_lines(cut(line + b"\n", 1 << 20), b"\n")
    assert isinstance(element.value, dict)
    assert len(element.value["text"]) == 50_000_000


def test_a_line_that_is_too_long_is_never_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "MAX_ROW_BYTES", 1 << 20)

    def chunks() -> Iterator[bytes]:
        yield b'{"a": 1}\n"'
        for _ in range(500):
            yield b"x" * 100_000
        yield b'"\n{"b": 1}'

    tracemalloc.start()
    first, second, third = parse_lines(chunks(), b"\n")
    _, highest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (first.value, third) == ({"a": 1}, (2, 3, {"b": 1}))
    assert str(second.value) == "too_long: more than 1,048,576 bytes"
    assert highest < 4 << 20
