"""The file of grades: kills, several writers, other people's files, a full disk."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import threading

import pytest

from srl.errors import DataError
from srl.rewards.judge_cache import GradeCache


@pytest.fixture
def path(tmp_path):
    return tmp_path / "grades.jsonl"


def filled(path):
    cache = GradeCache(path)
    for number in range(3):
        cache.put(f"k{number}", number, model="m")
    return path.read_bytes()


def python(code, *arguments):
    return [sys.executable, "-c", f"import sys\nfrom pathlib import Path\n{code}", *map(str, arguments)]


def test_grades_come_back_from_the_file(path):
    filled(path)
    again = GradeCache(path)
    assert [again.get(f"k{number}") for number in range(4)] == [0, 1, 2, None]
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"judge_key": f"k{number}", "model": "m", "grade": number} for number in range(3)
    ]


def test_a_line_that_a_kill_cut_off_anywhere_is_given_up(path):
    whole = filled(path)
    place = whole.rindex(b"\n", 0, -1) + 1
    for end in range(place, len(whole)):
        path.write_bytes(whole[:end])
        cache = GradeCache(path)
        assert len(cache) == 2
        cache.put("k9", 9, model="m")
        again = GradeCache(path)
        assert [again.get(key) for key in ("k0", "k1", "k2", "k9")] == [0, 1, None, 9]


@pytest.mark.parametrize(
    "line",
    [
        b'{"id": 1}', b"[]", b"null", b"nonsense", b"\xff", b"", b"[" * 100_000, b'{"judge_key": "k", "grade": 11}',
        b'{"judge_key": "k", "grade": true}', b'{"judge_key": 7, "grade": 1}', b'{"judge_key": "k", "grade": 1.0}',
    ],
    ids=range(11),
)  # fmt: skip
def test_a_file_that_holds_something_else_is_refused_as_it_is(path, line):
    content = filled(path) + line + b"\n"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"line 4 is no grade of a judge .* remove this line"):
        GradeCache(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b'{"judge": 1}', b"x", b'{"judge_key": "' + b"k" * 5000])
def test_a_last_line_of_something_else_is_not_cut(path, content):
    path.write_bytes(content)
    with pytest.raises(DataError, match="something else than a judge's grades"):
        GradeCache(path)
    path.write_bytes(b"")
    cache = GradeCache(path)
    path.write_bytes(content)
    with pytest.raises(DataError, match="something else than a judge's grades"):
        cache.put("k", 1, model="m")
    assert path.read_bytes() == content


def test_several_processes_write_one_file_and_every_line_is_whole(path):
    code = (
        "from srl.rewards.judge_cache import GradeCache\n"
        "cache = GradeCache(Path(sys.argv[1]))\n"
        "for number in range(100): cache.put(f'{sys.argv[2]}-{number}', number % 11, model='m')\n"
        "cache.refresh()\n"
        "assert len(cache) >= 100\n"
    )
    processes = [subprocess.Popen(python(code, path, name)) for name in "abc"]
    cache = GradeCache(path)
    for number in range(100):
        cache.refresh()  # reads lines that are being written
        cache.put(f"d-{number}", number % 11, model="m")
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    cache.refresh()
    assert len(cache) == len(path.read_bytes().splitlines()) == 400
    assert all(cache.get(f"{name}-{number}") == number % 11 for name in "abcd" for number in range(100))


def test_a_line_that_another_process_is_writing_is_waited_for(path):
    whole = filled(path)
    cache = GradeCache(path)
    with path.open("ab", buffering=0) as other:
        fcntl.flock(other.fileno(), fcntl.LOCK_EX)
        line = whole.splitlines(keepends=True)[2].replace(b"k2", b"k3")
        other.write(line[:20])
        cache.refresh()
        writer = threading.Thread(target=cache.put, args=("k4", 4), kwargs={"model": "m"})
        writer.start()
        writer.join(0.3)
        assert writer.is_alive()
        other.write(line[20:])
    writer.join(10)
    again = GradeCache(path)
    assert [again.get(f"k{number}") for number in range(5)] == [0, 1, 2, 2, 4]


def test_the_grade_that_was_not_used_for_longest_is_forgotten():
    cache = GradeCache(None, max_grades=3)
    for number in range(3):
        cache.put(f"k{number}", number, model="m")
    cache.get("k0")
    cache.put("k3", 3, model="m")
    assert [cache.get(f"k{number}") for number in range(4)] == [0, None, 2, 3]
    assert len(cache) == 3


def test_a_full_disk_is_an_error_and_leaves_no_half_line(path):
    code = (
        "import resource, signal\n"
        "from srl.errors import DataError\n"
        "from srl.rewards.judge_cache import GradeCache\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "cache = GradeCache(Path(sys.argv[1]))\n"
        "cache.put('a', 1, model='m')\n"
        "size = Path(sys.argv[1]).stat().st_size\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5, size + 5))\n"
        "try: cache.put('b', 2, model='m')\n"
        "except DataError as error: print(error, end='')\n"
        "assert Path(sys.argv[1]).stat().st_size == size\n"
    )
    result = subprocess.run(python(code, path), capture_output=True, text=True, check=True)
    assert result.stdout.startswith(f"cannot write {path}: ")
    assert GradeCache(path).get("a") == 1


def test_the_file_is_made_with_its_first_grade(path):
    cache = GradeCache(path)
    cache.refresh()
    assert not path.exists()
    cache.put("a", 1, model="m")
    assert GradeCache(path).get("a") == 1


def test_a_file_that_cannot_be_used_is_an_error(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        GradeCache(tmp_path)
    with pytest.raises(DataError, match=r"cannot write .* does its folder exist"):
        GradeCache(tmp_path / "no" / "grades.jsonl").put("a", 1, model="m")
