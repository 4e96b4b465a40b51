"""Documents read through a growing window, compared with ``json.loads`` on the whole."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.trajectories import json_lines
from srl.trajectories.json_lines import Element
from srl.trajectories.json_stream import parse_documents
from srl.trajectories.reasons import DropReason, RowError


def cut(content: bytes, size: int) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def parse(content: str | bytes, size: int = 1 << 20) -> list[Element]:
    return list(parse_documents(cut(content if isinstance(content, bytes) else content.encode("utf-8"), size)))


def outcomes(elements: list[Element]) -> list[object]:
    return [
        element.value.reason.value if isinstance(element.value, RowError) else element.value for element in elements
    ]


def comparable(elements: list[Element]) -> list[tuple[int, int, str]]:
    return [(element.row, element.line, repr(element.value)) for element in elements]


JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=9,
)


@given(
    values=st.lists(JSON_VALUES, max_size=6),
    indent=st.none() | st.integers(0, 2),
    is_ascii=st.booleans(),
    size=st.integers(1, 40),
)
def test_an_array_is_its_elements(values: list[Any], indent: int | None, is_ascii: bool, size: int) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=is_ascii)
    elements = parse(text.encode("utf-8", errors="surrogatepass"), size) if is_ascii else parse(text, size)
    assert [element.value for element in elements] == values
    assert [element.row for element in elements] == list(range(len(values)))


@given(
    values=st.lists(st.dictionaries(st.text(max_size=3), JSON_VALUES, max_size=3), max_size=5), size=st.integers(1, 40)
)
def test_documents_in_a_row(values: list[Any], size: int) -> None:
    elements = parse("\n".join(json.dumps(value, indent=1) for value in values), size)
    assert [element.value for element in elements] == values


TOKENS = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"',
    "\\",
    '"\\"',
    '"x"',
    '{"a": ',
    '{"a": 1, "a": 2}',
    "\n",
    " ",
    "\x00",
    "\ufeff",
    "é",
]
VALUES = ["NaN", "-Infinity", "tru", "true", "1", "-", "12e", "0.", "9" * 5000, "[" * 2000, '"\\ud83d', "\\ude00"]
FRAGMENTS = st.lists(st.sampled_from(TOKENS + VALUES), max_size=14)


@given(fragments=FRAGMENTS, start=st.sampled_from(["", "[", "{"]), noise=st.binary(max_size=2), size=st.integers(1, 9))
def test_where_the_chunks_end_changes_nothing(fragments: list[str], start: str, noise: bytes, size: int) -> None:
    content = (start + "".join(fragments)).encode("utf-8") + noise + b'{"b": 1}, 2]'
    assert comparable(parse(content, size)) == comparable(parse(content))


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("element", "reason"),
    [
        ('{"x": NaN}', "bad_json"),
        ("-Infinity", "bad_json"),
        ('{"x": {"a": 1, "b": 2, "a": 1}}', "bad_json"),
        ("1" * 5000, "bad_json"),
        ("[" * 10_000 + "]" * 10_000, "bad_json"),
        ('{"a":' * 10_000 + '"]}\\"]"' + "}" * 10_000, "bad_json"),
        ('{"a": "\udc80"}', "not_utf8"),
        ('{"a": "' + "x" * 1100 + '\\""}', "too_long"),
        ('"' + '\\"' * 600 + '"', "too_long"),
        ("[" + "[1, {}], " * 200 + "2]", "too_long"),
    ],
)
def test_what_costs_one_element(monkeypatch: pytest.MonkeyPatch, element: str, reason: str, size: int) -> None:
    if reason == "too_long":
        monkeypatch.setattr(json_lines, "MAX_ROW_BYTES", 1000)
    content = f'[{{"a": 1}},\n{element}\n,{{"b": [2]}}]'.encode("utf-8", errors="surrogateescape")
    found = parse(content, size)
    assert outcomes(found) == [{"a": 1}, reason, {"b": [2]}]
    assert [(element.row, element.line) for element in found] == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"a": 1},', [{"a": 1}, "bad_json"]),
        ('[{"a": 1}', [{"a": 1}, "bad_json"]),
        ('[{"a": 1} {"b": 1}]', [{"a": 1}, "bad_json"]),
        ('[{"a": 1}, }, {"b": 1}]', [{"a": 1}, "bad_json"]),
        ('[{"a": 1}, {"b": "say "hi"", "c": {"d": 1}}, {"e": 1}]', [{"a": 1}, "bad_json"]),
        ('[{"a": 1},]', [{"a": 1}, "bad_json"]),
        ("[", ["bad_json"]),
        ("[{", ["bad_json"]),
        ('{"a": 1} 2 {"b": 1}', [{"a": 1}, "bad_json"]),
        ('{"a": 1}\n{"b": ', [{"a": 1}, "bad_json"]),
        ('[{"role": "user", "content": "Hi"}, {"role": ', ["bad_json"]),
        ('[{"role": "user", "content": "Hi"}, NaN, 3]', ["bad_json"]),
        (
            '[{"role": "user", "content": "Hi"}, 3] {"a": 1}',
            [{"messages": [{"role": "user", "content": "Hi"}, 3]}, {"a": 1}],
        ),
        ('[{"role": 1, "content": "Hi"}]', [{"role": 1, "content": "Hi"}]),
        ("[[[]], {}, []]", [[[]], {}, []]),
        ("[] []", []),
    ],
)
def test_broken_and_odd_documents(text: str, expected: list[object]) -> None:
    assert outcomes(parse(text)) == outcomes(parse(text, 3)) == expected


def test_a_syntax_error_names_its_line() -> None:
    (broken,) = parse('{\n"a": [\n1,\n2 3]}')
    assert isinstance(broken.value, RowError)
    assert broken.value.detail == "line 4: Expecting ',' delimiter; the rest of the file cannot be read"


def test_chunks_that_end_too_early() -> None:
    """All that came before the end is used, also what one look for the rest of a row brought."""

    def chunks() -> Iterator[bytes]:
        yield b'[{"a": 1},\n{"text": "' + b"x" * 100
        yield b'"}, '
        yield b'{"b": 2},\n {"d'
        raise RowError(DropReason.TRUNCATED, "cut")

    found = list(parse_documents(chunks()))
    assert outcomes(found) == [{"a": 1}, {"text": "x" * 100}, {"b": 2}, "truncated"]
    assert [(element.row, element.line) for element in found] == [(0, 1), (1, 2), (2, 2), (3, 3)]


def test_memory_does_not_grow_with_the_array() -> None:
    def array(num_elements: int) -> Iterator[bytes]:
        yield b"["
        for _ in range(num_elements):
            yield b'{"text": "' + b"x" * 50_000 + b'"},\n'
        yield b"{}]"

    def peak(num_elements: int) -> int:
        tracemalloc.start()
        assert sum(1 for _ in parse_documents(array(num_elements))) == num_elements + 1
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    assert peak(1000) < peak(10) + 100_000


def test_an_element_that_is_too_long_is_never_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "MAX_ROW_BYTES", 1 << 20)

    def array() -> Iterator[bytes]:
        yield b'[{"text": "'
        for _ in range(500):
            yield b"x" * 100_000
        yield b'"}, {"a": 1}]'

    tracemalloc.start()
    assert outcomes(list(parse_documents(array()))) == ["too_long", {"a": 1}]
    _, highest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert highest < 8 << 20
