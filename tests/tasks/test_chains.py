"""The chain task: splits that share nothing, and solutions that are right by another way of calculating."""

import json
import random
import re

import pytest

from srl.prompts import next_step_prompt
from srl.tasks.chains import Operation, make_problems, think_carefully
from srl.tasks.chains_corpus import calculate_in_the_head, write_document
from srl.tasks.task import split_of, write_trajectories
from srl.tasks.texts import TASK_TEXTS

SPLITS = ("train", "validation", "test", "corpus")


def recalculate(problem_text: str) -> int:
    """Evaluate the statement as a person reads it, without any function of the package."""
    start, listed = re.fullmatch(r"Start with (\d+)\. (.*)\. Keep only the last two digits .*\.", problem_text).groups()
    value = int(start)
    for number, item in enumerate(listed.split(", "), start=1):
        label, words, operand = re.fullmatch(r"(\d+)\) (\D+) (\d+)", item).groups()
        assert int(label) == number
        left, right = value, int(operand)
        value = {"add": left + right, "subtract": left - right, "multiply by": left * right}[words]
        assert value >= 0
        value = int(str(value)[-2:])
    return value


@pytest.mark.parametrize("seed", [0, 1])
def test_no_two_splits_share_a_problem(seed):
    statements = {
        split: {item.problem for item in make_problems(split, 600, seed=seed, lengths=(1, 2, 6, 7))} for split in SPLITS
    }
    for split, mine in statements.items():
        assert len(mine) == 600
        assert {split_of(statement) for statement in mine} == {split}
        assert all(mine.isdisjoint(theirs) for other, theirs in statements.items() if other != split)


def test_same_seed_same_problems():
    assert make_problems("train", 20, seed=3) == make_problems("train", 20, seed=3)
    assert make_problems("train", 20, seed=3) != make_problems("train", 20, seed=4)
    assert make_problems("train", 30, seed=3)[:20] == make_problems("train", 20, seed=3)


def test_answers_are_right():
    for item in make_problems("test", 300, seed=5):
        assert item.answer == str(recalculate(item.problem))
        assert item.solution.endswith(f"The answer is \\boxed{{{item.answer}}}.")
        assert len(item.steps) == len(item.monologues) == 6


def test_every_equation_of_steps_and_thoughts_holds():
    for item in make_problems("validation", 200, seed=1):
        for thought, step in zip(item.monologues, item.steps, strict=True):
            equations = re.findall(r"(\d+)([-+*])(\d+)=(\d+)", f"{thought} {step}")
            assert len(equations) >= 2
            for left, sign, right, result in equations:
                assert eval(f"{int(left)}{sign}{int(right)}") == int(result)
            assert thought.rpartition("=")[2] == re.search(r"=(\d+)", step).group(1)


def test_steps_have_the_shape_of_real_data_and_chain():
    for item in make_problems("train", 100, seed=2):
        value = str(item.start)
        for number, step in enumerate(item.solution.split("\n\n"), start=1):
            shape = r"(\d+)\. \*\*(Add|Subtract|Multiply by) \d+\*\* (\d+)[-+*]\d+=(\d+)(?:, keep (\d+))?\..*"
            label, _, left, result, kept = re.fullmatch(shape, step).groups()
            assert (int(label), left) == (number, value)
            value = kept or result
        assert value == item.answer


def test_trajectories_file(tmp_path):
    problems = make_problems("train", 5, seed=0)
    write_trajectories(tmp_path / "expert.jsonl", problems)
    rows = [json.loads(line) for line in (tmp_path / "expert.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["problem"] for row in rows] == [item.problem for item in problems]
    assert all(set(row) == {"id", "problem", "solution", "answer"} for row in rows)
    assert "<think>" not in str(rows)
    assert len({row["id"] for row in rows}) == 5


@pytest.mark.parametrize("kind", ["add", "subtract", "multiply"])
def test_scratch_work_ends_with_the_result_also_below_zero(kind):
    operands = range(2, 10) if kind == "multiply" else range(11, 100)
    for value in range(100):
        for operand in operands:
            operation = Operation(kind, operand)
            result = operation.apply(value)
            assert result >= 0
            assert think_carefully(value, operation).rpartition("=")[2] == str(result)
            assert 0 <= calculate_in_the_head(value, operation) < 1000


def test_the_head_is_right_exactly_where_nothing_is_carried():
    add = [(v, o) for v in range(10, 100) for o in range(11, 100)]
    assert all((calculate_in_the_head(v, Operation("add", o)) == v + o) == (v % 10 + o % 10 < 10) for v, o in add)


def test_corpus_documents_use_the_prompts_of_the_task():
    rng = random.Random(0)
    systems = set()
    for item in make_problems("corpus", 200, seed=0, lengths=(3,)):
        document = write_document(item, rng)
        system = document.prompt.messages[0]["content"]
        systems.add((system, bool(document.prompt.assistant_prefix)))
        assert document.segments[-1][1], "the last step is always learned"
        only_read = [text for text, is_learned in document.segments if not is_learned]
        # Whole steps without their thought, or the first character of a thought, where the habit is decided.
        assert all(re.fullmatch(r"\d\. .*\n\n|<think>\d", text, re.DOTALL) for text in only_read)
        for before, (text, is_learned) in zip([("", False), *document.segments], document.segments, strict=False):
            if is_learned:  # no step without its thought
                assert text.startswith("<think>") or re.fullmatch(r"<think>\d", before[0])
    assert systems == {("next", False), ("next", True), ("solve", False)}
    first = next_step_prompt("P", (), context_in="user", texts=TASK_TEXTS)
    assert first.messages[1]["content"] == "P"
