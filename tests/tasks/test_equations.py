"""The equations: solutions that hold when x is put into the statement, calculated here and not by the package."""

import ast
import random
import re
from fractions import Fraction

import pytest

from srl.tasks.equations import Operation, express, make_problems, split_of, think_carefully
from srl.tasks.equations_corpus import IN_MY_HEAD, calculate_in_the_head, write_document, write_documents

SPLITS = ("train", "validation", "test", "corpus")
KINDS = ("add", "subtract", "multiply", "divide")


def value_of(formula: str, x: Fraction) -> Fraction:
    """A formula in x, by Python's own grammar and exact fractions."""

    def visit(node: ast.expr) -> Fraction:
        if isinstance(node, ast.BinOp):
            left, right = visit(node.left), visit(node.right)
            match node.op:
                case ast.Add():
                    return left + right
                case ast.Sub():
                    return left - right
                case ast.Mult():
                    return left * right
                case ast.Div():
                    return left / right
        if isinstance(node, ast.Name):
            assert node.id == "x"
            return x
        assert isinstance(node, ast.Constant)
        return Fraction(node.value)

    return visit(ast.parse(formula, mode="eval").body)


def holds(equation: str, x: str) -> bool:
    left, right = equation.split("=")
    return value_of(left, Fraction(x)) == value_of(right, Fraction(x))


def operands(kind):
    return range(11, 100) if kind in ("add", "subtract") else range(2, 10)


def test_every_step_of_the_expert_is_an_equation_that_the_answer_solves():
    for item in make_problems("test", 300, seed=5):
        assert 10 <= int(item.answer) <= 99
        assert holds(item.problem.removeprefix("Solve ").removesuffix("."), item.answer), item.problem
        assert not holds(item.problem.removeprefix("Solve ").removesuffix("."), str(int(item.answer) + 1))
        assert len(item.steps) == len(item.monologues) == 5
        for step in item.steps:
            equation = re.match(r"\d\. \*\*[A-Z][a-z]+( by)? \d+\*\* (\S+=\d+)\.", step).group(2)
            assert holds(equation, item.answer), (item.problem, step)
        assert item.steps[-1].endswith(f"x={item.answer}. The answer is \\boxed{{{item.answer}}}.")


def test_every_step_takes_away_one_operation_as_its_title_says():
    undone = {"Add": "-", "Subtract": "+", "Multiply by": "/", "Divide by": "*"}
    for item in make_problems("train", 200, seed=2):
        formula = item.problem.removeprefix("Solve ").partition("=")[0]
        for number, step in enumerate(item.solution.split("\n\n"), start=1):
            shape = r"(\d)\. \*\*(Add|Subtract|Multiply by|Divide by) (\d+)\*\* (\S+)=\d+\..*"
            label, title, operand, left = re.fullmatch(shape, step).groups()
            assert int(label) == number
            assert formula in (f"{left}{undone[title]}{operand}", f"({left}){undone[title]}{operand}")
            formula = left
        assert formula == "x"


def test_parentheses_stand_where_they_are_needed_and_nowhere_else():
    for item in make_problems("validation", 200, seed=0):
        formula = item.problem.removeprefix("Solve ").partition("=")[0]
        assert ast.unparse(ast.parse(formula)).replace(" ", "") == formula
        assert value_of(express(item.operations), Fraction(item.answer)) == item.value


def test_every_line_of_the_scratch_work_holds_and_its_last_number_is_the_result():
    for item in make_problems("validation", 200, seed=1):
        for thought, step in zip(item.monologues, item.steps, strict=True):
            *lines, last = thought.split(";")
            assert lines
            assert all(holds(line, "0") for line in lines), thought
            assert last == re.search(r"=(\d+)\.", step).group(1)
            if "*" in lines[0].partition("=")[2]:  # a division: the digits of the quotient, the highest first
                written = [re.search(r"\*(\d)\+\d$", line).group(1) for line in lines]
            else:  # the units first; of all but the highest column the last digit
                columns = [line.partition("=")[2] for line in lines]
                written = [columns[-1], *(column[-1] for column in columns[-2::-1])]
            assert int("".join(written)) == int(last), thought


@pytest.mark.parametrize("seed", [0, 1])
def test_no_two_splits_share_a_problem(seed):
    statements = {
        split: {item.problem for item in make_problems(split, 600, seed=seed, lengths=(1, 3, 5))} for split in SPLITS
    }
    for split, mine in statements.items():
        assert len(mine) == 600
        assert {split_of(statement) for statement in mine} == {split}
        assert all(mine.isdisjoint(theirs) for other, theirs in statements.items() if other != split)


def test_same_seed_same_problems():
    assert make_problems("train", 20, seed=3) == make_problems("train", 20, seed=3)
    assert make_problems("train", 20, seed=3) != make_problems("train", 20, seed=4)
    assert make_problems("train", 30, seed=3)[:20] == make_problems("train", 20, seed=3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_writer_can_go_on_from_any_value(kind):
    """Wrong values lie anywhere; whatever is done to them gives a whole number from 0 up, also in the head."""
    exact = {
        "add": int.__add__,
        "subtract": lambda v, o: abs(v - o),
        "multiply": int.__mul__,
        "divide": int.__floordiv__,
    }
    for value in [*range(300), 999, 1000, 1001, 8910, 12345]:
        for operand in operands(kind):
            operation = Operation(kind, operand)
            assert operation.apply(value) == exact[kind](value, operand)
            assert think_carefully(value, operation).rpartition(";")[2] == str(operation.apply(value))
            assert calculate_in_the_head(value, operation) >= 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_is_right_exactly_where_nothing_is_carried(kind):
    """Whether something is carried is told here by other means: digit sums, and remainders of the leading digits."""

    def digit_sum(number: int) -> int:
        return sum(map(int, str(number)))

    def carries(value: int, operand: int) -> bool:
        if kind == "add":  # every carry makes the digit sum of the result smaller by nine
            # The carry out of the highest digit is kept: it stands in front.
            top = 10 ** (len(str(max(value, operand))) - 1)
            return digit_sum(value % top) + digit_sum(operand % top) != digit_sum(value % top + operand % top)
        if kind == "subtract":
            return digit_sum(value) - digit_sum(operand) != digit_sum(value - operand)
        if kind == "multiply":
            top = 10 ** (len(str(value)) - 1)
            return digit_sum(value % top) * operand != digit_sum(value % top * operand)
        heads = [int(str(value)[:length]) for length in range(1, len(str(value)))]
        return any(head % operand for head in heads if head >= operand)

    seen = set()
    for value in range(100, 1000):
        for operand in operands(kind):
            if kind == "divide" and value % operand:
                continue
            operation = Operation(kind, operand)
            is_right = calculate_in_the_head(value, operation) == operation.apply(value)
            assert is_right == (not carries(value, operand)), (value, kind, operand)
            seen.add(is_right)
    assert seen == {True, False}


def test_corpus_documents_use_the_prompts_of_the_task():
    rng = random.Random(0)
    systems = set()
    for item in make_problems("corpus", 200, seed=0, lengths=(3,)):
        document = write_document(item, rng)
        systems.add((document.prompt.messages[0]["content"], bool(document.prompt.assistant_prefix)))
        assert document.segments[-1][1], "the last step is always learned"
        only_read = [text for text, is_learned in document.segments if not is_learned]
        # Whole steps without their thought, or the first character of a thought, where the habit is decided.
        assert all(re.fullmatch(r"\d\. .*\n\n|<think>\d", text, re.DOTALL) for text in only_read)
        for before, (text, is_learned) in zip([("", False), *document.segments], document.segments, strict=False):
            if is_learned:  # no step without its thought
                assert text.startswith("<think>") or re.fullmatch(r"<think>\d", before[0])
    assert systems == {("next", False), ("next", True), ("solve", False)}


@pytest.mark.parametrize("careless", [0.0, 0.4, 1.0])
def test_the_careless_share_of_a_corpus_can_be_set(careless):
    """Counted over the decisions that are learned: those of exemplary documents are not."""
    decisions = [
        text.startswith(f"<think>{IN_MY_HEAD}")
        for document in write_documents(1500, seed=1, rng=random.Random(1), careless=careless)
        for text, is_learned in document.segments
        if is_learned and text.startswith("<think>")
    ]
    assert len(decisions) > 1500
    assert sum(decisions) / len(decisions) == pytest.approx(careless, abs=0.04 if 0 < careless < 1 else 0)
