"""The journal keeps every answer through kills, full disks and damaged lines, and has one writer at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from srl.errors import DataError
from srl.rewriting.journal import Answer, Journal


def answer(key, text="1. **A** b"):
    return Answer(
        key=key, model="m", host="h", text=text, finish_reason="stop",
        prompt_tokens=10, completion_tokens=5, is_estimated=False,
    )  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out.jsonl.journal"


@pytest.fixture
def two(path):
    with Journal(path) as journal:
        journal.append(answer("a"))
        journal.append(answer("b", "half a pair \ud800, a line\u2028break, \x00"))
    return path


def test_answers_come_back_as_they_were(two):
    with Journal(two) as journal:
        assert journal.get("a") == answer("a")
        assert journal.get("b") == answer("b", "half a pair \ud800, a line\u2028break, \x00")
        assert journal.get("c") is None
        assert (len(journal), journal.prompt_tokens, journal.completion_tokens) == (2, 20, 10)


def test_an_answer_can_be_read_right_after_it_was_written(path):
    with Journal(path) as journal:
        for number in range(50):
            journal.append(answer(str(number), "x" * number * 100))
            assert journal.get(str(number // 2)) == answer(str(number // 2), "x" * (number // 2) * 100)


def test_every_cut_of_the_last_line_is_survived(two):
    whole = two.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole) + 1):
        two.write_bytes(whole[:end])
        is_there = end >= len(whole) - 1  # only the line break is missing
        with Journal(two, read_only=True) as journal:
            assert ("b" in journal) == is_there
        assert two.read_bytes() == whole[:end]
        with Journal(two) as journal:
            assert ("a" in journal, "b" in journal) == (True, is_there)
            journal.append(answer("c"))
        with Journal(two) as journal:
            assert "c" in journal
            assert journal.get("c") == answer("c")


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b"null", b"\xff", b'{"key": "a"}', b"[" * 5000, json.dumps({"key": 1}).encode()]
)
def test_a_damaged_line_in_the_middle_is_an_error_that_names_it(two, line):
    with two.open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(DataError, match="line 3 is not an answer"):
        Journal(two)


def test_two_processes_cannot_write_one_journal(two):
    code = "import sys; from pathlib import Path; from srl.rewriting.journal import Journal; Journal(Path(sys.argv[1]))"
    with Journal(two):
        result = subprocess.run([sys.executable, "-c", code, two], capture_output=True, text=True, check=False)
    assert "another srl rewrite is writing" in result.stderr
    result = subprocess.run([sys.executable, "-c", code, two], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_full_disk_leaves_whole_lines(path):
    code = (
        "import resource, sys; from pathlib import Path; from dataclasses import replace\n"
        "from srl.rewriting.journal import Journal, Answer\n"
        "one = Answer(key='a', model='m', host='h', text='x' * 400, finish_reason='stop',"
        " prompt_tokens=1, completion_tokens=1, is_estimated=False)\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "journal.append(one)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))\n"
        "try: journal.append(replace(one, key='b'))\n"
        "except Exception as error: print(type(error).__name__)\n"
        "journal.append(replace(one, key='c', text=''))\n"
    )
    result = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert (result.stdout, result.returncode) == ("DataError\n", 0), result.stderr
    with Journal(path) as journal:
        assert ("a" in journal, "b" in journal, "c" in journal) == (True, False, True)


def test_nothing_is_made_by_reading_only(path):
    with Journal(path, read_only=True) as journal:
        assert len(journal) == 0
        with pytest.raises(DataError, match="not open for writing"):
            journal.append(answer("a"))
    assert not path.exists()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot use the journal"):
        Journal(tmp_path / "no" / "such.journal")


def test_an_answer_stands_on_the_disk_before_it_is_used(path, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (fsync(file), synced.append(path.read_bytes())))
    with Journal(path) as journal:
        journal.append(answer("a"))
        journal.append(answer("b"))
    assert [data.count(b"\n") for data in synced] == [1, 2]
