"""What a file is taken for: one table, with the names that matter and those that do not."""

from __future__ import annotations

import json

import pytest

from srl.trajectories.content import HEAD_BYTES, Content, Kind, find_content
from srl.trajectories.reasons import RowError

ROW = '{"problem": "P", "solution": "S"}'
PRETTY = json.dumps({"history": [{"role": "user"}, {"role": "assistant"}], "info": {"a": 1}}, indent=2)


def kind_of(content: str | bytes, name: str, *, is_whole: bool = True) -> str:
    head = content if isinstance(content, bytes) else content.encode("utf-8")
    try:
        return find_content(head, is_whole=is_whole, name=name).kind.value
    except RowError as error:
        return error.reason.value


@pytest.mark.parametrize(
    ("content", "kinds"),
    [
        # x.jsonl, x.json, x.md
        (ROW, "lines lines lines"),
        (f"{ROW}\n{ROW}", "lines lines lines"),
        (f"{ROW}\nno JSON\n", "lines lines lines"),
        (f"no JSON\n{ROW}\n", "lines lines lines"),
        (f"\n\n{ROW}\n", "lines lines lines"),
        (f"[{ROW}]", "documents documents documents"),
        (f"[{ROW},", "documents documents documents"),
        (f"[{ROW}", "documents documents documents"),
        (f"[{ROW} {ROW}]", "documents documents not_data"),
        (f"[{ROW}, }}, {ROW}]", "documents documents not_data"),
        ("[", "documents documents documents"),
        ("[{", "documents documents documents"),
        (f"[{ROW}\n,{ROW}]", "documents documents documents"),
        (f"[\n{ROW}\n{ROW}\n]", "lines documents not_data"),
        (f"[1]\n[2]\n{ROW}", "lines lines lines"),
        (PRETTY, "documents documents documents"),
        (PRETTY.replace("\n", "\r"), "documents documents documents"),
        (PRETTY[:40], "documents documents documents"),
        (PRETTY.replace("]", ""), "lines documents not_data"),
        ('{"a": 1,\n"b": [\n1,\n2\n3]}', "lines documents not_data"),
        # A row that was cut, and others after it.
        ('{"a": 1,\n' + f"{ROW}\n{ROW}", "lines lines lines"),
        ('{"a":\n' + f"{ROW}\n{ROW}", "lines lines lines"),
        ('{"a": [\n' + f"{ROW}\n{ROW}\n{ROW}", "lines lines lines"),
        ('{"a": "tex\n' + f"{ROW}\n{ROW}", "lines lines lines"),
        ('{"a": "tex', "lines lines not_data"),
        ("{'a': 1}\n", "lines lines not_data"),
        ("{}\n", "lines lines not_data"),
        ("1\n2\n", "lines lines not_data"),
        ("# Title\n\n[1]: https://x\n", "lines lines not_data"),
        ("\x00\x01\x02", "lines lines not_data"),
        ("[section]\nkey = 1\n", "lines lines not_data"),
        ("", "empty_file empty_file empty_file"),
    ],
)
def test_the_name_settles_only_what_is_damaged(content: str, kinds: str) -> None:
    assert " ".join(kind_of(content, name) for name in ("x.jsonl", "x.json", "x.md")) == kinds


@pytest.mark.parametrize("name", ["x.JSON", "x.json.gz", "x.traj.zst", "a.b/x.ndjson.GZ"])
def test_names_of_json(name: str) -> None:
    assert kind_of("no JSON", name) == "lines"
    assert kind_of("no JSON", name + ".bak") == "not_data"


@pytest.mark.parametrize(
    ("head", "kinds"),
    [
        ('{"text": "' + "x" * HEAD_BYTES, "lines lines lines"),
        ('[{"text": "' + "x" * HEAD_BYTES, "documents documents documents"),
        ("[" + f"{ROW}, " * (HEAD_BYTES // 30), "documents documents documents"),
        ("[" + '{"role": "user", "content": "Hi"}, ' * (HEAD_BYTES // 30), "lines documents documents"),
        ("[\n" + f"{ROW},\n" * (HEAD_BYTES // 30), "documents documents documents"),
        ('{\n  "text": "' + "x" * HEAD_BYTES, "documents documents documents"),
        ('{"a": 1,\n"b": [' + "1, " * HEAD_BYTES, "documents documents documents"),
        (f"{ROW}\n" * (HEAD_BYTES // 30), "lines lines lines"),
        ("no JSON\n" + '{"text": "' + "x" * HEAD_BYTES, "lines lines lines"),
        ("text " * HEAD_BYTES, "lines lines not_data"),
        (" " * HEAD_BYTES, "lines lines not_data"),
    ],
)
def test_files_larger_than_what_is_looked_at(head: str, kinds: str) -> None:
    found = [kind_of(head[:HEAD_BYTES], name, is_whole=False) for name in ("x.jsonl", "x.json", "x")]
    assert " ".join(found) == kinds


@pytest.mark.parametrize(
    ("head", "is_whole", "newline"),
    [
        (f"{ROW}\n{ROW}", True, b"\n"),
        (f"{ROW}\r\n{ROW}", True, b"\n"),
        (f"{ROW}\r{ROW}", True, b"\r"),
        (f"{ROW}\r", True, b"\r"),
        (f"{ROW}\r", False, b"\n"),  # the head may have cut a CRLF
        (f"{ROW}\r{ROW}\n", True, b"\n"),
    ],
)
def test_line_ends(head: str, is_whole: bool, newline: bytes) -> None:
    assert find_content(head.encode(), is_whole=is_whole, name="x.jsonl") == Content(Kind.LINES, newline)
