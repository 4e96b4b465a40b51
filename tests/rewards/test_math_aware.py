"""Formulas in texts: what is one, when two are the same, what a step with some of them is worth."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import example, given, settings
from reward_laws import check_laws, texts

from srl.errors import RewardError
from srl.rewards.formula_text import split_formulas
from srl.rewards.latex import read_statements
from srl.rewards.latex_values import agree, are_proportional, values_of
from srl.rewards.math_aware import MathSimilarity
from srl.rewards.similarity import sequence_similarity
from srl.types import Ungraded

SIMILARITY = MathSimilarity()
PIECES = [
    "$x = 1$", "\\[", "\\]", "3 + 4 = 7", "\\frac{1}{2}", " so ", "$", "$5", "\\boxed{", "}", "{", "\\begin{align}",
    "\\\\", "\\end{align}", " &= ", "12", ", ", "\\text{ cm}", "x^{2}", "\n1. ", "\\left(", "<", "2(x+1)", "2x+2",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "formulas", "prose"),
    [
        ("The sum is $3+4$.", ["3+4"], "The sum is  ."),
        (r"\[x=1\] \(y\) $$z$$", ["x=1", "y", "z"], "     "),
        (r"\begin{align*}a&=b\\&=c\end{align*}", [r"a&=b\\&=c"], " "),
        (r"so \boxed{\frac{1}{2}}!", [r"\frac{1}{2}"], "so  !"),
        ("3 + 4 = 7 and 12 apples", ["3 + 4 = 7", "12"], "  and   apples"),
        ("1. Add 2 and 3\n2) Done: 5", ["2", "3", "5"], "1. Add   and  \n2) Done:  "),
        ("Step 2: Case 3. x = 4", ["3", "x = 4"], "Step 2: Case  .  "),
        ("$18 and $20 each", ["18", "20"], "  and   each"),
        (r"it costs \$5 today", ["5"], "it costs   today"),
        ("(see x = 5)", ["x = 5"], "(see  )"),
        ("a cat, I am, x", [], "a cat, I am, x"),
        ("the 5th, x2, v1.2a", [], "the 5th, x2, v1.2a"),
        ("x>5 and -3 <= y", ["x>5", "-3 <= y"], "  and  "),
        ("50% of 1,234.5", ["50%", "1,234.5"], "  of  "),
        (r"A = \dfrac{1}{2}bh = 6", [r"A = \dfrac{1}{2}bh = 6"], " "),
        (r"an unclosed \[x = 1", ["x = 1"], r"an unclosed \[ "),
        ("no $ here", [], "no $ here"),
        ("**7 * 6 = 42**", ["7 * 6 = 42"], "** **"),
        ("", [], ""),
    ],
)
def test_formulas_in_a_text(text, formulas, prose):
    assert split_formulas(text) == (formulas, prose)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\dfrac12", r"\frac{1}{2}"), ("0.5", r"\frac{1}{2}"), ("1/2", r"\frac{1}{2}"), ("x^{2}", "x^2"),
        (r"x \cdot y", r"x \times y"), ("2*x", "2x"), (r"\left( x \right)", "(x)"), ("a = b", "b = a"),
        ("a > b", "b < a"), (r"a \ge b", r"b \leq a"), (r"5\text{ cm}", "5"), (r"\sqrt2", r"\sqrt{2}"),
        (r"x \, + \; 1", "x+1"), ("1,000", "1000"), (r"\boxed{7}", "7"), ("x = 5.", "x=5"), ("π r²", r"\pi r^2"),
        (r"x \neq 1", r"1 \ne x"), (r"50\%", "50%"),
    ],
)  # fmt: skip
def test_one_spelling(one, other):
    (first,), (second,) = read_statements(one), read_statements(other)
    assert first.key == second.key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a < b", "b < a"),
        ("x_1", "x_2"),
        ("1", "2"),
        (r"a \leq b", "a < b"),
        ("a = b", r"a \neq b"),
        ("xy", "x+y"),
        ("A", "a"),
    ],
)
def test_what_differs_stays_different(one, other):
    assert read_statements(one)[0].key != read_statements(other)[0].key


@pytest.mark.parametrize(
    ("formula", "statements"),
    [
        ("A = b h = 6", ["A = b h", "A = 6"]),
        (r"A &= 3 \cdot 2 \\ &= 6", ["A = 3 * 2", "A = 6"]),
        (r"x + 1 = 3 \implies x = 2", ["x + 1 = 3", "x = 2"]),
        ("x = 1, y = 2", ["x = 1", "y = 2"]),
        ("(1, 2)", ["(1, 2)"]),
        ("f(x, y) = 3", ["f(x, y) = 3"]),
        (r"x = 1 \text{ or } x = 2", ["x = 1", "x = 2"]),
        ("1 < x < 3", ["1 < x < 3"]),
        ("= 6", ["6"]),
        ("", []),
        (r"\\", []),
    ],
)
def test_statements_of_a_formula(formula, statements):
    assert [statement.text for statement in read_statements(formula)] == statements


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        (r"\frac{1}{2} + 0.5", 1), ("2^{3}", 8), ("2^-1", 0.5), ("-3^2", -9), ("(1 + 2)(3)", 9), (r"\sqrt[3]{8}", 2),
        (r"\sqrt{16}/2", 2), ("5!", 120), ("50%", 0.5), (r"\sin(0) + \cos{0}", 1), (r"\ln e", 1), ("i^2", -1),
        ("1,000", 1000), ("6/2*3", 9), ("--2", 2),
    ],
)  # fmt: skip
def test_values(formula, value):
    values = values_of(formula)
    assert values is not None
    assert all(abs(each - value) < 1e-9 for each in values)


@pytest.mark.parametrize(
    "formula", ["", "1/0", "(", ")", "1 2 )", r"\frac{1}", "10^{999}", "|x|", r"\log_2 8", "{", r"\foo", "?"]
)
def test_what_has_no_values_may_equal_anything(formula):
    assert values_of(formula) is None
    assert agree(values_of(formula), values_of("1"))
    assert are_proportional(values_of("1"), values_of(formula))


def test_equations_with_the_same_solutions_are_proportional():
    assert are_proportional(values_of("2x+4-10"), values_of("x+2-5"))
    assert not are_proportional(values_of("2x+4-10"), values_of("x+2-6"))
    assert not agree(values_of("(x+1)^2"), values_of("x^2+1"))
    assert agree(values_of("(x+1)^2"), values_of("x^2+2x+1"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3 + 4 = 7", "$7 = 3 + 4$"),
        ("3 + 4 = 7", "4 + 3 = 7"),
        ("$2(x+1)$", "$2x + 2$"),
        ("y = 2x + 1", "y - 1 = 2x"),
        (r"$\sqrt{8}$", r"$2\sqrt{2}$"),
        (r"$A = \frac{1}{2} b h = 6$", r"$A = \frac12 b \cdot h$ $A = 6$"),
        ("x > 5", "$5 < x$"),
        ("0.33333", r"$\frac{1}{3}$"),
        ("25%", "0.25"),
        (r"$\angle A = 0.33333$", r"$\angle A = \frac{1}{3}$"),
    ],
)
def test_the_same_mathematics(one, other):
    assert SIMILARITY.many([(one, other), (other, one)]) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3 + 4 = 7", "3 + 4 = 8"),
        ("3 + 4 = 7", "5 + 5 = 10"),  # both true, which math-verify takes for equal
        ("3 + 4 = 7", "7 = 7"),
        ("$(x+1)^2 = x^2+2x+1$", "$(x-1)^2 = x^2-2x+1$"),  # so are these
        (r"$n \equiv 3 \pmod 5$", r"$n \equiv 4 \pmod 5$"),  # of which math-verify reads the 5
        ("$f'(x)$", "$f(x)$"),  # and leaves out the prime
        ("$AB = 5$", "$BA = 5x$"),
        ("$a = 3$", "$A = 3$"),  # and sees no capitals
        ("$|a| = 3$", "$|A| = 3$"),
        ("x < 5", "x < 6"),
        ("x = 1", "y = 1"),
    ],
)
def test_other_mathematics(one, other):
    assert SIMILARITY.many([(one, other), (other, one)]) == [0.0, 0.0]


def test_formulas_and_prose_count_their_words():
    """3 + 4 = 7 has five words; "We get." and "Then." have three and two."""
    prose = sequence_similarity("We get .", "Then .")
    assert SIMILARITY("We get 3 + 4 = 7.", "Then 3 + 4 = 7.") == pytest.approx((10 + 5 * prose) / 15)
    assert SIMILARITY("We get 3 + 4 = 8.", "We get 3 + 4 = 7.") == pytest.approx(6 / 16)


def test_mathematics_counts_at_least_half():
    wrong = "Therefore the number of all the apples that are left is 19."
    assert SIMILARITY(wrong, wrong.replace("19", "7")) == 0.5
    assert SIMILARITY("$7$", "7") == 1.0


def test_each_formula_is_matched_once():
    assert SIMILARITY("$x = 1$", "$x = 1$ $x = 1$") == pytest.approx(6 / 9)
    assert SIMILARITY("$x$ $y$ $x$", "$x$ $x$ $y$") == 1.0


def test_the_matching_is_the_largest():
    """0.33333 is near both, 0.33336 only near 0.33334: taking the first that fits would leave one over."""
    assert SIMILARITY("$0.33333$ $0.33336$", "$0.33334$ $0.3333$") == 1.0
    assert SIMILARITY("$0.33336$", "$0.3333$") == 0.0


def test_without_formulas_the_prose_decides():
    assert SIMILARITY("the  cat", "the dog") == sequence_similarity("the cat", "the dog")
    assert SIMILARITY(" \n", "") == 1.0
    assert SIMILARITY("a", "") == 0.0


def test_a_formula_that_takes_too_long_leaves_the_reward_open_only_where_it_counts():
    impatient = MathSimilarity(deadline_seconds=0.5)
    tower = "9^{9^{9^{9}}}"
    open_pair = (f"${tower}$", f"${tower} + 1$")
    assert impatient.many([open_pair, ("$y = 1$", "$y = 1$")]) == [Ungraded(reason="deadline"), 1.0]
    with pytest.raises(RewardError, match="deadline"):
        impatient(*open_pair)


@settings(max_examples=100, deadline=None)
@given(texts(PIECES), texts(PIECES))
@example("", "")
@example("$", "\\[")
@example("\ud800 = 1", "x = \ud800")
def test_laws(action, target):
    check_laws(SIMILARITY, action, target)


@pytest.mark.parametrize(
    "piece",
    [
        "$",
        "$a",
        "\\[",
        "\\boxed{",
        "1",
        "1\n",
        "1+",
        "(",
        "a = ",
        "x^",
        "\\begin{align}",
        "{",
        "-",
        "$x = 1$ ",
        ",=",
        "\\\\=",
    ],
)
def test_hostile_texts_end(piece):
    text = (piece * 100_000)[:100_000]
    started = time.perf_counter()
    assert SIMILARITY(text, text[:-1] + "x") >= 0.0
    assert SIMILARITY(f"${text[:900]}$", f"${text[:899]}y$") >= 0.0
    assert time.perf_counter() - started < 30


@pytest.mark.parametrize(
    "formula", [r"\sin" * 300, "(" * 400 + "x" + ")" * 400, "x^" * 400 + "2", "-" * 900, "2^" * 300 + "9"]
)
def test_deep_formulas_are_left_alone(formula):
    assert values_of(formula) is None or formula[0] == "-"
    assert SIMILARITY(f"${formula}$", f"${formula}+1$") >= 0.0


def test_a_respelled_solution_is_the_same(shared_data):
    """Real solutions against themselves with other LaTeX for the same formulas."""
    rows = shared_data("math/qwen25math_cot_8samples.jsonl").read_text("utf-8").splitlines()[:20]
    pairs = []
    for row in rows:
        solution = json.loads(row)["code"][0]
        respelled = re.sub(r"\\\(\s*(.*?)\s*\\\)", r"$\1$", solution)
        respelled = respelled.replace(r"\frac", r"\dfrac").replace(r"\cdot", r"\times")
        pairs.append((respelled, solution))
    assert min(SIMILARITY.many(pairs)) > 0.97
    assert min(sequence_similarity(one, other) for one, other in pairs) < 0.97


def test_numbers_beyond_floats_are_compared_as_text():
    assert 0.0 <= MathSimilarity()(r"$1.5*10^{308}+1.5*10^{308}i$", "$2i+3$") < 1.0
