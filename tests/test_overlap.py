"""Problems that are in a benchmark or repeat each other are found; problems that only look alike are not."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tyro
from hypothesis import example, given, settings
from hypothesis import strategies as st

from srl.errors import ConfigError, DataError
from srl.overlap.command import find_duplicates, find_overlap, overlap_command
from srl.overlap.duplicates import NearDuplicates
from srl.overlap.index import OverlapKind, ProblemIndex, build_index, containment
from srl.overlap.sources import SourceProblem, read_problems
from srl.overlap.text import NormalProblem, grams, normalise, numbers_agree
from srl.types import DroppedRow, Source

FERRY = (
    r"A ferry crosses a lake of width $\frac{21}{2}$ kilometers at $v$ kilometers per hour and returns at $v+3$ "
    r"kilometers per hour. The whole trip, including a stop of $15$ minutes, takes $2$ hours and $35$ minutes. "
    r"Find the value of $v$ if the ferry stops only once."
)
SHELF = r"Nine different books stand on a shelf. In how many orders can they stand if the $3$ red ones stay together?"
FRACTION = (
    r"Two chords of a circle of radius $7$ meet at a right angle. {} The distance can be written as $\frac{{m}}{{n}}$, "
    r"where $m$ and $n$ are relatively prime positive integers. Find $m+n$."
)


def index_of(*problems: str, **options: float) -> ProblemIndex:
    index = ProblemIndex(**options)
    for row, problem in enumerate(problems):
        index.add("bench", SourceProblem(problem_id=str(row), problem=problem, source=Source(file="bench", row=row)))
    return index


def kind_of(problem: str, *bench: str) -> str:
    found = index_of(*bench).find_all(problem)
    return found[0].kind.value if found else "none"


@pytest.mark.parametrize(
    "same",
    [
        (r"Let $\triangle ABC$ have area $\dfrac{\sqrt{3}}{2}$.", r"let  △ A B C have area \(\frac{\sqrt3}{2}\)"),
        (r"If $x\leq 10{,}000$ and $y \neq 2$", "If x ≤ 10,000, and y ≠ 2"),
        (r"an angle of $45^\circ$ or $45^{\circ}$", "an angle of 45° or 45 degrees"),
        (r"\textbf{(A)}\ \text{the\,empty\,set}", r"$\mathrm{(A) }$ the empty set"),
        (r"$\left(x+1\right)^{2} \cdot \frac12$", "(x + 1)^2 × ½"),
        ("What is $2+2$?\nPlease reason step by step, and put your final answer within \\boxed{}.", "What is 2+2?"),
        ("Solve the following problem step by step. What is 2+2? Give your answer as a decimal.", "What is 2+2?"),
        ("**Problem 4.** What is 2+2?", "Question: what is 2 + 2"),
        ("A square. [asy] draw((0,0)--(1,7)); [/asy] Find it.", "A square. ![](http://a.b/c.png) Find it."),
        ("the [midpoint](https://a.org/wiki/Midpoint) of it", "the midpoint of it"),
        ("a 6-sided, well-known shape", "a 6 sided well known shape"),
        ("over-escaped $\\\\frac{1}{2}$", r"over-escaped $\frac{1}{2}$"),
    ],
)
def test_spelling_does_not_matter(same: tuple[str, str]) -> None:
    assert normalise(same[0]).key == normalise(same[1]).key


@pytest.mark.parametrize(
    "different",
    [
        ("What is 3+4?", "What is 3+5?"),
        ("What is 3+4?", "What is 3-4?"),
        ("What is 3+4?", "What is 34?"),
        (r"Is $2^x > 8$?", r"Is $2x > 8$?"),
        (r"Is $x < 8$?", r"Is $x \leq 8$?"),
        (r"$\frac{1}{2}$ of it", "12 of it"),
        ("the points (1,2) and 3", "the points 12 and 3"),
        ("Solve step by step: 3x = 6", "Solve step by step: 3x = 9"),
    ],
)
def test_numbers_and_signs_do(different: tuple[str, str]) -> None:
    assert normalise(different[0]).key != normalise(different[1]).key


def test_a_problem_that_is_only_an_instruction_keeps_its_words() -> None:
    assert normalise("Give the answer to 3 + 4.").words == ("give", "the", "answer", "to", "3", "+", "4")


@pytest.mark.parametrize(
    ("copy", "kind"),
    [
        (FERRY, "exact"),
        (FERRY.replace("$", "").replace(" ", "\n  ").replace(r"\frac", r"\tfrac"), "exact"),
        (FERRY + " Show all of your work and check the result with another method before you finish.", "fuzzy"),
        ("You are given a problem about boats and their speed. Read it twice. " + FERRY, "fuzzy"),
        (
            r"On its way over a lake that is $\frac{21}{2}$ km wide a boat makes $v$ km per hour, and on its way back "
            r"$v+3$. The whole trip, including a stop of $15$ minutes, takes two hours and $35$ minutes. "
            r"Find the value of $v$ if the ferry stops only once.",
            "fuzzy",
        ),
        (FERRY.replace("15", "20"), "variant"),
        (SHELF, "none"),
    ],
)
def test_planted_copies(copy: str, kind: str) -> None:
    assert kind_of(copy, FRACTION, FERRY) == kind


def test_a_common_frame_around_the_answer_is_no_overlap() -> None:
    one = FRACTION.format("How far is their common point from the centre, if both are $12$ long?")
    other = (
        r"A fair coin is thrown until heads has come up three times. The probability that this takes an even number "
        r"of throws can be written as $\frac{m}{n}$, where $m$ and $n$ are relatively prime positive integers. "
        r"Find $m+n$."
    )
    assert kind_of(one, other) == "none"
    assert (
        kind_of(one, FRACTION.format("How far is their common point from the centre, if one is $9$ long?")) != "exact"
    )


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (r"Compute $\sin 7^\circ$.", "exact"),
        ("What is the exact value of sin 7°?", "fuzzy"),
        (r"Compute $\sin 8^\circ$.", "none"),
        (r"Compute $\cos 7^\circ$.", "none"),
        (r"Compute $\sin 7^\circ + \cos 8^\circ$.", "none"),
        ("", "none"),
        ("?!", "none"),
    ],
)
def test_short_problems_must_have_the_same_content(problem: str, kind: str) -> None:
    assert kind_of(problem, r"Compute $\sin 7^\circ$.", "", "...") == kind


def test_similarity_is_computed_exactly() -> None:
    bench = "one two three four five six seven eight nine ten eleven twelve"
    train = "one two three four five six seven eight nine ten eleven thousand"
    (found,) = index_of(bench, threshold=0.1).find_all(train)
    assert found.similarity == pytest.approx(2 * 9 / (10 + 10))  # 9 of 10 three-word runs each
    assert containment(tuple("abcdefghijklmnop"), tuple("xxabcdefghijklmxx")) == pytest.approx(6 / 9)
    assert index_of(bench, threshold=0.91).find(train) is None


def test_a_problem_of_few_words_must_stand_whole_in_a_longer_text() -> None:
    assert containment(tuple("abcdefghij"), tuple("xyzabcdefghijxyz")) == 1
    assert containment(tuple("abcdefghij"), tuple("xyzabcdefghixyz")) == 0  # two of its three eight-word runs


def test_the_best_match_comes_first_and_variants_are_not_found() -> None:
    index = index_of(FERRY.replace("15", "20"), FERRY + " The ferry is old and blue.", FERRY)
    assert [(hit.problem_id, hit.kind.value) for hit in index.find_all(FERRY)] == [
        ("2", "exact"),
        ("1", "fuzzy"),
        ("0", "variant"),
    ]
    assert index_of(FERRY.replace("15", "20")).find(FERRY) is None


def test_numbers_may_be_spelled_out_on_one_side_only() -> None:
    assert numbers_agree(("3", "of", "9"), ("three", "of", "nine", "and", "4"))
    assert not numbers_agree(("3", "of", "9"), ("three", "of", "eight", "and", "4"))


@settings(deadline=None)  # datasketch is imported at the first call
@given(st.text())
@example("\\frac{" * 50)
@example("\\" * 2000)
@example("and " * 2000)
def test_normalisation_is_total_and_a_problem_is_its_own_copy(problem: str) -> None:
    words = normalise(problem).words
    found = index_of(problem).find(problem)
    assert (found is not None and found.kind is OverlapKind.EXACT) == bool(words)
    seen = NearDuplicates()
    assert (seen.check("a", problem), seen.check("b", problem)) == (None, "a" if words else None)


def test_an_index_works_in_a_process_with_other_string_hashes(tmp_path: Path) -> None:
    (tmp_path / "index").write_bytes(pickle.dumps(index_of(SHELF, FERRY)))
    code = f"import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).find({FERRY + ' Now.'!r}).problem_id)"
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "index")],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )
    assert result.stdout.strip() == "1"


def brute_force(one: NormalProblem, other: NormalProblem) -> float:
    """Similarity without any index, from its definition."""
    short, theirs = grams(one.telling_words, 3), grams(other.telling_words, 3)
    dice = 2 * len(short & theirs) / max(1, len(short) + len(theirs))
    return max(dice, containment(one.telling_words, other.telling_words))


def texts(path: Path) -> list[str]:
    items = list(read_problems(str(path)))
    assert not any(isinstance(item, DroppedRow) for item in items)
    return [item.problem for item in items if isinstance(item, SourceProblem)]


def test_the_index_misses_nothing_that_brute_force_finds(shared_data: Callable[[str], Path]) -> None:
    train = texts(shared_data("math/aime25_with_solutions.jsonl")) + texts(shared_data("math/amc23.jsonl"))
    bench = texts(shared_data("math/aime25.jsonl")) + texts(shared_data("math/aime24.jsonl"))
    index = index_of(*bench, threshold=0.1)
    forms = [normalise(other) for other in bench]
    wanted = {
        (row, str(number))
        for row, form in enumerate(map(normalise, train))
        for number, other in enumerate(forms)
        if brute_force(form, other) >= 0.1
    }
    assert {(row, hit.problem_id) for row, problem in enumerate(train) for hit in index.find_all(problem)} == wanted
    assert len(wanted) > 40


def test_both_copies_of_aime25_are_found_row_by_row(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    benches = [str(shared_data(f"math/{name}.jsonl")) for name in ("aime24", "aime25", "amc23", "minerva_math")]
    train = str(shared_data("math/aime25_with_solutions.jsonl"))
    summary = find_overlap(train, benches, report=tmp_path / "pairs.jsonl")
    assert [(entry.num_problems, len(entry.found), dict(entry.kinds)) for entry in summary.counts] == [
        (30, 0, {}),
        (30, 30, {"exact": 27, "fuzzy": 3}),
        (40, 0, {}),
        (272, 0, {}),
    ]
    pairs = read(tmp_path / "pairs.jsonl")
    assert [(pair["train"]["row"], pair["bench"]["row"]) for pair in pairs] == [(row, row) for row in range(30)]


@pytest.mark.parametrize(
    ("train", "benches", "counts"),
    [
        ("amc_aime_solutions", ["aime24", "aime25", "amc23", "minerva_math"], [{}, {}, {}, {}]),
        ("gsm8k_train", ["gsm8k_test"], [{"variant": 2}]),
        ("zeroeval_mathl5_o1mini", ["skyt1_27b_math500"], [{"exact": 32, "fuzzy": 1, "variant": 4}]),
        ("gsm8k_test_socratic", ["gsm8k_test"], [{"exact": 300}]),
    ],
)
def test_real_files(
    shared_data: Callable[[str], Path], train: str, benches: list[str], counts: list[dict[str, int]]
) -> None:
    paths = [str(shared_data(f"math/{name}.jsonl")) for name in benches]
    summary = find_overlap(str(shared_data(f"math/{train}.jsonl")), paths)
    assert [dict(entry.kinds) for entry in summary.counts] == counts


@pytest.mark.parametrize(
    ("problem", "is_repeated"),
    [
        (FERRY.replace("the ferry stops", "it stops"), True),
        (FERRY.replace("$", "").replace("A ferry", "A FERRY"), True),
        (FERRY.replace("35", "36"), False),
        (FERRY.replace("v+3", "v-3"), False),
        (FERRY.replace("only once", "at most once"), False),
        (SHELF, False),
    ],
)
def test_near_duplicates_have_the_same_numbers_signs_and_deciding_words(problem: str, is_repeated: bool) -> None:
    seen = NearDuplicates()
    assert seen.check("first", FERRY) is None
    assert seen.check("second", problem) == ("first" if is_repeated else None)
    assert len(seen) == 2 - is_repeated


def test_near_duplicates_in_the_real_file(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """96 pairs agree in their first 120 letters and digits; seven more differ only in LaTeX, a link or a name."""
    path = shared_data("math/amc_aime_solutions.jsonl")
    summary = find_duplicates(str(path), report=tmp_path / "pairs.jsonl")
    assert (summary.num_checked, summary.counts[0].num_problems) == (2035, 1932)
    assert dict(summary.counts[0].kinds) == {"exact": 101, "fuzzy": 2}
    pairs = {(pair["earlier"]["row"], pair["train"]["row"]): pair for pair in read(tmp_path / "pairs.jsonl")}
    assert {pair for pair in pairs if pairs[pair]["kind"] == "fuzzy"} == {(934, 1703), (1355, 1866)}
    assert {(622, 1004), (786, 1177), (47, 1879)} <= pairs.keys()
    first = dict[str, int]()
    for row, problem in enumerate(texts(path)):
        start = "".join(letter for letter in problem.lower() if letter.isascii() and letter.isalnum())[:120]
        assert start not in first or (first[start], row) in pairs
        first.setdefault(start, row)
    assert len(first) == 1939


def test_different_problems_with_one_premise_are_not_near_duplicates(shared_data: Callable[[str], Path]) -> None:
    """Subproblems repeat their whole preamble, and MATH has families that differ in one exponent."""
    for name in ("minerva_math", "zeroeval_mathl5_grok2"):
        summary = find_duplicates(str(shared_data(f"math/{name}.jsonl")))
        assert not summary.is_found


def test_near_duplicates_that_begin_otherwise_become_candidates(shared_data: Callable[[str], Path]) -> None:
    seen = NearDuplicates()
    problems = texts(shared_data("math/gsm8k_test_socratic.jsonl"))
    assert not any(seen.check(str(row), problem) for row, problem in enumerate(problems))
    copies = ["Dear student, consider this. " + problem for problem in problems if len(normalise(problem).words) > 30]
    assert len(copies) > 200
    assert all(seen.check("copy", copy) for copy in copies)


def test_tasks_of_agent_logs_and_chat_prompts(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    log = shared_data("swe/miniswe/pallets__flask-5014.traj.json")
    (task,) = texts(log)
    bench = write(
        tmp_path / "bench.jsonl",
        {"instance_id": "x", "problem_statement": "It crashes on Mondays."},
        {"instance_id": "y", "problem_statement": task.replace("\n", "\r\n")},
    )
    index, dropped = build_index([bench])
    found = index.find(task)
    assert not dropped
    assert found is not None
    assert found.source.row == 1
    chat = [
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": SHELF},
    ]
    assert texts(Path(write(tmp_path / "prompt.jsonl", {"prompt": chat, "answer": "x"}))) == [SHELF]
    assert texts(Path(write(tmp_path / "chat.jsonl", {"messages": chat[::-1], "answer": "x"}))) == [SHELF]
    (item,) = read_problems(write(tmp_path / "none.jsonl", {"prompt": [], "answer": "x"}))
    assert isinstance(item, DroppedRow)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    train = write(tmp_path / "train.jsonl", {"problem": FERRY}, {"problem": SHELF}, {"problem": 5}, {"question": SHELF})
    bench = write(tmp_path / ("[held out]" + "long" * 12 + ".jsonl"), {"id": "f", "problem": FERRY + " Now."}, {})
    out = tmp_path / "pairs.jsonl"
    run(train, bench, "-o", str(out))
    page = capsys.readouterr().out
    assert "3 rows checked" in page
    assert "  not compared, wrong_type: 1\n  not compared of benchmarks, missing_field: 1\n" in page
    assert max(len(line) for line in page.splitlines() if str(tmp_path) not in line) <= 80
    (pair,) = read(out)
    assert (pair["kind"], pair["train"]["row"], pair["bench"]["id"]) == ("fuzzy", 0, "f")
    assert pair["train"]["problem"] == FERRY[:200]
    with pytest.raises(SystemExit) as ended:
        run(train, bench, "--fail")
    assert ended.value.code == 1
    run(train, write(tmp_path / "other.jsonl", {"problem": "Is seven prime?"}), "--fail")
    run(train, "--within", "-o", str(out), "--overwrite")
    assert [(pair["earlier"]["row"], pair["train"]["row"]) for pair in read(out)] == [(1, 3)]
    assert Counter(path.suffix for path in tmp_path.iterdir()) == {".jsonl": 4}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["train"], ConfigError, "name at least one benchmark"),
        (["train", "bench", "--within"], ConfigError, "not both"),
        (["train", "bench", "-o", "train"], DataError, "is one of the inputs"),
        (["train", "bench", "-o", "mine"], DataError, "exists already"),
        (["train", "bench", "-o", "no/where"], DataError, "does its folder exist"),
        (["train", "bench", "--threshold", "0"], DataError, "not in"),
        (["train", "--within", "--threshold", "0.2"], DataError, "candidates would be missed"),
        (["train", "nothing"], DataError, "has no problem to compare with"),
        (["nothing", "bench"], DataError, "--problem-field"),
    ],
)
def test_errors_say_what_to_do(tmp_path: Path, arguments: list[str], error: type[Exception], message: str) -> None:
    for name, row in (("train", {"problem": FERRY}), ("bench", {"problem": SHELF}), ("nothing", {"text": "a"})):
        write(tmp_path / f"{name}.jsonl", row)
    (tmp_path / "mine.jsonl").write_text("mine")
    given = [a if a.startswith("-") or a[0].isdigit() else str(tmp_path / f"{a}.jsonl") for a in arguments]
    with pytest.raises(error, match=message):
        run(*given)
    assert (tmp_path / "mine.jsonl").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 4


def run(*arguments: str) -> None:
    tyro.cli(overlap_command, args=list(arguments))


def write(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
