"""The grader: a table of cases, its rules where a table does not reach, and what happens when it cannot grade."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srl.errors import RewardError
from srl.rewards.comparison import MAX_ANSWER_CHARS, compare
from srl.rewards.numbers import read_number
from srl.rewards.outcome import OutcomeReward, answers_match, grade, grade_many, is_correct, outcome_reward
from srl.types import Ungraded

EQUAL = [
    (r"\sqrt{6.25}", "2 1/2"),
    (r"\sqrt{1522756}", "1 234"),
    ("(C) 12", "C"),
    # numbers as strings, integers with leading zeros, floats
    ("27", "27.0"),
    ("027", "27"),
    ("25", "025"),
    ("0", "-0"),
    (".5", r"\frac12"),
    ("0.5", "1/2"),
    ("5.", "5"),
    (r"\dfrac{1}{2}", r"\frac{2}{4}"),
    (r"1\frac{1}{10}", "11/10"),
    (r"-\frac{1}{3}", "-1./3"),
    ("0.333333", "1/3"),
    ("1,234", "1234"),
    (r"6\,290\,000", "6290000"),
    ("3{,}250", "3250"),
    ("\u22125", "-5"),
    (r"4.5 \times 10^{33}", "4.5e33"),
    ("1.1e4", "11000"),
    ("10^{3}", "1000"),
    # currency, percent, degrees, units
    (r"\$37.50", "37.5"),
    (r"25\%", "25"),
    ("25", r"25\%"),
    ("0.25", r"25\%"),
    ("25%", "1/4"),
    (r"45^{\circ}", "45"),
    (r"10 \text{ hours}", "10"),
    (r"4.5 \times 10^{33} \text{ erg/s}", "4.5e33"),
    (r"100 \mathrm{~km}/\mathrm{s}", "100"),
    (r"3 \mathrm{~cm}^{2}", "3"),
    ("9 customers", "9"),
    (r"9.6 \AA", "9.6"),
    ("1.3e-27 m", r"1.3\times10^{-27}"),
    # multiple choice
    ("(C)", "C"),
    (r"\textbf{(C)}", "C"),
    ("C.", r"\text{C}"),
    ("C", r"\textbf{(C)}\ 12"),
    ("12", r"\textbf{(C)}\ 12"),
    (r"\textbf{(C) }\frac{1}{2}", "0.5"),
    # words and notation
    (r"\text{Even}", "even"),
    (r"4:30 \text{ p.m.}", r"\text{4:30 p.m.}"),
    ("x = 5", "5"),
    ("5", "x=5"),
    (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})"),
    # for math-verify
    (r"\sqrt{8}", r"2\sqrt{2}"),
    ("-2+4a", "4a-2"),
    ("2,1", "1,2"),
    (r"\{1,2\}", r"\{2,1\}"),
    (r"3 \text{ or } 5", "5, 3"),
    (r"x \in [1,2]", "[1,2]"),
    (r"\begin{pmatrix}1\\ 2\end{pmatrix}", r"\begin{pmatrix} 1 \\ \frac{4}{2} \end{pmatrix}"),
    (r"\frac{\pi}{2}", "1.5708"),
    ("1.5708", r"\frac{\pi}{2}"),
    (r"\frac{2}{\sqrt{3}} \times 10^{-5}", "1.1547e-5"),
    # mixed numbers, digits in groups, bases
    ("2 1/2", "2.5"),
    (r"2\frac12", r"\frac52"),
    ("-2 1/2", "-2.5"),
    ("2\u00bd", "2.5"),
    ("1 000 000", "10^6"),
    (r"4343_6", r"4343_{6}"),
    ("4343", "4343_6"),
    # percentages and units in words
    ("50 percent", "0.5"),
    (r"50\text{ percent}", r"50\%"),
    ("30 degrees", r"30^\circ"),
    (r"12\pi \text{ inches per second}", r"12\pi"),
    (r"12\pi inches per second", r"12\pi"),
    # intervals and inequalities
    ("(1,2)", r"\left(1,2\right)"),
    (r"(-\infty,3]", r"\left(-\infty, 3\right]"),
    (r"(-\infty,-1)\cup(1,\infty)", r"(1,\infty) \cup (-\infty,-1)"),
    ("(-\u221e, 1) \u222a (2, 3]", r"(-\infty,1)\cup(2,3]"),
    ("1 < x <= 2", "(1,2]"),
    (r"x \ge 3", r"[3,\infty)"),
    ("x<-1", r"(-\infty,-1)"),
    (r"[3,\infty)", r"x \geq 3"),
    (r"-\sqrt{2} \le x \le \sqrt{8}", r"[-\sqrt2,2\sqrt2]"),
    # tuples, sets, lists
    ("(0.5, 1)", r"(\frac12, 1)"),
    ("(3, 1.5708)", r"(3,\frac{\pi}{2})"),
    (r"\langle 1,2 \rangle", "(1,2)"),
    ("(x,y)=(1,2)", "(1,2)"),
    ("x=1, y=2", "(1,2)"),
    (r"\{3, 1, \frac{1}{2}\}", r"\{0.5,1,3\}"),
    ("1, 2, 3", r"\{1,2,3\}"),
    (r"x = 2 \text{ or } x=-2", "2,-2"),
    (r"\emptyset", r"\varnothing"),
    ("A, C", r"\text{A and C}"),
    # plus and minus
    (r"3 \pm 2\sqrt{2}", r"3+2\sqrt{2}, 3-2\sqrt{2}"),
    (r"3+2\sqrt{2}, 3-2\sqrt{2}", r"3 \pm 2\sqrt{2}"),
    (r"x=\pm 2", "-2, 2"),
    # matrices, equations, complex numbers
    (r"\begin{bmatrix}0.5&2\\3&4\end{bmatrix}", r"\begin{pmatrix} \frac12 & 2 \\ 3 & 4 \end{pmatrix}"),
    ("y = 2x + 1", "2x+1"),
    ("2x - y + 1 = 0", "y = 2x+1"),
    ("x^2", "f(x) = x^2"),
    (r"\sin 2x", r"2\sin x\cos x"),
    (r"\frac{x^2-1}{x-1}", "x+1"),
    ("(a+b)^3-a^3-b^3", "3ab(a+b)"),
    (r"\frac{1}{1+i}", r"\frac{1-i}{2}"),
    ("3i+2", "2 + 3i"),
    (r"3\mathbf{i}+4\mathbf{j}", r"4\mathbf{j}+3\mathbf{i}"),
    # plain text
    ("2*sqrt(3)", r"2\sqrt{3}"),
    ("\u221a2", r"\sqrt{2}"),
    ("2**10", "1024"),
    ("2pi", r"2\pi"),
    ("\u2248 3.14", "3.14"),
    ("**7**", "7"),
    ("2:3", r"2 : 3"),
]
DIFFERENT = [
    # words that are no units, choices of two, problems restated
    ("5 million", "5"),
    (r"5 \text{ or } 6", "5"),
    ("5 thirds", "5"),
    ("5 squared", "5"),
    ("(C), (D)", "C"),
    ("C) or D)", "C"),
    (r"\frac{d}{dx}x^2", "2x"),
    (r"\gcd(12,18)", "6"),
    (r"\max(5,3)", "5"),
    ("live", "evil"),
    ("2-1/2", "2 1/2"),
    (r"\sqrt{2.25}", "2 1/2"),
    ("12345", "12345.5"),
    ("28", "27.0"),
    ("27.0001", "27"),
    ("12346", "12345"),
    ("0.33", r"\frac{1}{3}"),
    (r"2500", r"25\%"),
    ("D", "C"),
    ("(D)", r"\textbf{(C)}\ 12"),
    ("C", "12"),
    ("3x", "3"),
    ("2 pi", "2"),
    ("5i", "5"),
    (r"3 \text{ or } 5", "3"),
    ("(2,1)", "(1,2)"),
    ("1 1/2", "11/2"),
    ("3 5", "35"),
    ("2^{10}", "210"),
    ("2^{2}", "2"),
    ("x=5", "y=5"),
    ("x", "y"),
    (r"\frac{1}{0}", "0"),
    # six decimals would make both of these equal
    (r"2\times10^{-10}", "1.325e-27"),
    (r"2\sqrt{3}\times10^{-10}", "1.325e-27"),
    ("1 1/2", "5/2"),
    ("4343_6", "4343_7"),
    ("4343_6", "999"),
    ("0.05", "50%"),
    # intervals
    ("(1,2)", "[1,2]"),
    ("[1,2)", "(1,2]"),
    (r"(-\infty,3)", r"(-\infty,3]"),
    (r"(1,2)\cup(3,4)", r"(1,4)"),
    (r"x \ge 3", r"(3,\infty)"),
    ("x>2", "x<2"),
    ("x^2-5x+6<0", "(2,3)"),  # the problem, not its solution
    # tuples, sets, lists
    ("(1,2,3)", "(1,3,2)"),
    (r"\{1,2\}", r"\{1,2,3\}"),
    (r"\{1,2\}", "(2,1)"),
    ("(1,2)", "(1,2,3)"),
    ("1,2", "12"),
    ("A", "A,C"),
    ("(B) 12", "(C) 12"),
    # plus and minus, matrices, equations
    (r"3+2\sqrt{2}", r"3 \pm 2\sqrt{2}"),
    ("2", r"\pm 2"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}"),
    ("x=1,y=2", "x=2,y=1"),
    # not evaluated, and not readable, though the right number stands in it
    (r"\sum_{i=1}^{3} i", "6"),
    (r"\int_0^1 x\,dx", "0.5"),
    (r"\lim_{x\to 0} \frac{\sin x}{x}", "1"),
    ("6, then {{ 5", "5"),
    (")) 5", "5"),
    (r"6 \text{ but really } 5", "5"),
    ("5 and 6", "5"),
    ("1 2 3 4 5", "5"),
    # what would match much
    ("0.0000001", r"\infty"),
    (r"\frac{0}{0}", "0"),
    ("nan", "5"),
    (r"\{\}", "5"),
    ("x", "x+1"),
    ("(a+b)^3-a^3-b^3", "3ab(a-b)"),
    ("x+y", "x+z"),
]


TOO_LARGE = r"1.5^{10^{12}} \mod 7"
"""sympy wants 70 GB at once for it."""


@pytest.mark.parametrize(("answer", "reference"), EQUAL)
def test_equal_answers(answer: str, reference: str) -> None:
    assert answers_match(answer, reference)
    assert outcome_reward(rf"so \boxed{{{answer}}}", reference) == 1.0


@pytest.mark.parametrize(("answer", "reference"), DIFFERENT)
def test_different_answers(answer: str, reference: str) -> None:
    assert not answers_match(answer, reference)
    assert grade(f"The answer is {answer}", reference) is False


def test_an_unmarked_answer_is_wrong_and_a_solution_serves_as_reference() -> None:
    assert grade("27", "27") is False
    assert grade("27", "27", unmarked="last_number") is True
    assert grade("it is\n#### 27", r"so $\boxed{27}$.") is True
    assert grade(r"\boxed{27}", "Nine each. The answer is 27.") is True


def test_an_empty_reference_is_an_error_and_not_a_reward() -> None:
    with pytest.raises(RewardError, match="reference answer is empty"):
        outcome_reward(r"\boxed{1}", "  ")


def test_an_answer_that_cannot_be_evaluated_is_ungraded_unless_text_or_numbers_decide() -> None:
    ungraded = Ungraded(reason="memory")
    solution = rf"so \boxed{{{TOO_LARGE}}}"
    assert grade(solution, "5") == ungraded
    assert outcome_reward(solution, "5") == ungraded
    assert grade(solution, TOO_LARGE) is True
    assert grade(r"\boxed{5}", TOO_LARGE) == ungraded
    # a tuple is as wrong as its worst member, and only then as unknown
    assert grade(rf"\boxed{{(1, {TOO_LARGE})}}", "(2, 5)") is False
    assert grade(rf"\boxed{{({TOO_LARGE}, \sqrt{{8}})}}", r"(5, 2\sqrt{3})") is False
    assert grade(rf"\boxed{{(\sqrt{{8}}, {TOO_LARGE})}}", r"(2\sqrt{2}, 5)") == ungraded
    # these two say only what is known
    assert not is_correct(solution, "5")
    assert not answers_match(TOO_LARGE, "5")


@pytest.mark.timeout(60)
def test_what_hangs_sympy_is_ungraded_at_the_deadline_and_delays_nothing_else() -> None:
    reward = OutcomeReward(deadline_seconds=1.0)
    hanging = r"\boxed{9^{9^{9^9}}}"
    pairs = [(hanging, r"\sqrt{3}"), (hanging, "9^{9^{9^9}}"), (r"\boxed{\sqrt{12}}", r"2\sqrt{3}"), ("none", "1")]
    assert reward.many(pairs * 500) == [Ungraded(reason="deadline"), 1.0, 1.0, 0.0] * 500
    assert reward(r"\boxed{2}", r"\sqrt{3}") == 0.0


def test_grades_come_in_order_and_a_tuple_takes_its_own_members_results() -> None:
    pairs = [
        (r"\boxed{(\sqrt{8}, \sqrt{18})}", r"(2\sqrt{2}, 3\sqrt{2})"),
        (r"\boxed{7}", "7"),
        (r"\boxed{\sqrt{8}}", r"2\sqrt{3}"),
        (r"\boxed{(\sqrt{8}, \sqrt{18})}", r"(2\sqrt{2}, 3\sqrt{5})"),
        (r"\boxed{\sqrt{12}}", r"2\sqrt{3}"),
    ]
    assert grade_many(pairs) == [True, True, False, False, True]
    assert grade_many(pairs[::-1]) == [True, False, False, True, True]
    assert grade_many([]) == []


def test_grading_works_off_the_main_thread() -> None:
    results: list[float | Ungraded] = []
    thread = threading.Thread(target=lambda: results.append(outcome_reward(r"\boxed{\sqrt{18}}", r"3\sqrt{2}")))
    thread.start()
    thread.join()
    assert results == [1.0]


def test_sympy_is_never_loaded_where_the_run_is() -> None:
    code = (
        "import sys; from srl.rewards.outcome import grade\n"
        r"assert grade(r'\boxed{27}', '27.0') and not grade(r'\boxed{(A)}', 'B')"
        "\nimport srl.rewards.grading as grading\nassert not grading._shared\n"
        r"assert grade(r'\boxed{\sqrt{8}}', r'2\sqrt{2}')"
        "\nassert not {'sympy', 'math_verify', 'torch'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_text_that_is_too_long_for_an_answer_is_wrong_unless_it_is_the_reference() -> None:
    long = "+".join(["x"] * MAX_ANSWER_CHARS)
    assert compare(long, "2000x") is False
    assert compare(long, long.replace("+", " + ")) is True
    assert compare("0" * 2 * MAX_ANSWER_CHARS + "1", "1") is False
    assert compare(long, long + "+y") == [(long, long + "+y")]  # a reference may be long
    assert compare("+".join(["x"] * 500), "500x") == [("+".join(["x"] * 500), "500x")]


@given(st.text(alphabet="0123456789.,/\\{}()[]^_%$!+-=<> xabefrctimsqpAB\u00bd\u221a", max_size=30))
@settings(max_examples=500, deadline=None)
def test_numbers_and_choices_are_read_from_any_text(text: str) -> None:
    number = read_number(text)
    assert number is None or number.is_scientific <= number.is_rounded
    for reference in ("5", "(1,2)", "A", text + "7"):
        result = compare(text, reference)
        assert isinstance(result, bool) or all(answer and expected for answer, expected in result)
    if text.strip(" .,;*$%~!{}()[]=\\"):
        assert compare(text, text) is not False


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_integers_are_compared_exactly(a: int, b: int) -> None:
    assert compare(str(a), f"{b:,}") is (a == b)
    assert compare(f"{a}.0", str(b)) is (a == b)
    assert compare(f"x = {a}", f"{b:,}".replace(",", " ")) is (a == b)
    assert compare(f"({a}, {b})", f"({a}, {b}.0)") is True


@pytest.mark.parametrize(
    "part",
    ["(", " ", r"\text{", "$", "7", "1,", "(A)", "(1,2),", "x=", "^ ", r"\frac", "sqrt(", "1_", "1 1/", "x<", "a ",
     "\u00bd", r"\{ ", "per cent ", r"1\,", "**", "<="],
)  # fmt: skip
def test_comparing_takes_time_in_proportion_to_the_length(part: str) -> None:
    text = part * (50_000 // len(part))
    started = time.monotonic()
    for answer, reference in ((text, "5"), ("5", text), (text, text + "y"), (text + "y", text)):
        compare(answer, reference)
    assert time.monotonic() - started < 20  # under a second; minutes if it were quadratic
