"""Where running text may be cut, and how large the pieces are."""

from __future__ import annotations

import pytest

from srl.trajectories.segment import segment
from srl.trajectories.segmentation.breaks import Strength, find_breaks
from srl.trajectories.settings import ReadSettings

A = "The first sentence is long enough to be one."
B = "The second one says what follows from it."

# The mark "|" stands where a break belongs; it is taken out before.
BREAKS = [
    ("two sentences", f"{A} |{B}"),
    ("question and exclamation", f"Is it really so, for every such number? |{B}"),
    ("decimal number", "The value is 0.5 and not 1.25 at all, as one might think."),
    ("abbreviations", "By Eq. (3) and Fig. 4, i.e. $x$, cf. Thm. 2 and e.g. Prop. 7, it holds approx. Always."),
    ("initials", "The theorem of J. Steiner and of C. Lehmus says exactly this."),
    ("a point is no initial", f"The line goes through the point A. |{B.replace('The', 'Then the')}"),
    ("ellipsis", "The numbers 1, 2, 3, ... Ten of them are all that there are."),
    ("factorial", "There are 5! $= 120$ orders and 3! Ways to do the rest of it."),
    ("inline math", f"Here $a. B$ and \\(c. D\\) are single formulas. |{B}"),
    ("full stop inside the formula", f"From this we get at last that $x = 3.$ |{B}"),
    ("money", f"Each of them costs $5 at the shop. |{B.replace('one', 'costs $6')}"),
    ("brackets", "This holds (by the lemma. See also above. There it is shown) in all cases."),
    ("bold", "This is **what we need. And more. Really** for the proof of it."),
    ("code", "The call is `print(a. B)` in every version of it."),
    ("label", "Step 3. Let us begin. |Lemma 4. Every number is so."),
    ("lower case", "It is so. and it goes on without a capital letter here."),
    ("display and its introduction", f"{A} |So we have\n\\[\nx = 1.\n\\]\n|{B}"),
    ("display after a blank line", f"So we have, after some lines,\n\n\\[\nx = 1.\n\\]\n\n|{B}"),
    ("where goes on after the display", "Let it be\n\n\\[ x = y \\]\n\nwhere $y$ is the other one of the two."),
    ("blank lines inside a display", f"So we have\n\\[\n\nx. Y\n\n\\]\n\n|{B}"),
    ("aligned", f"So we have\n\\begin{{align*}}\nx &= 1. \\\\\nY &= 2.\n\\end{{align*}}\n|{B}"),
    ("nothing between display and sentence", f"From this\n\\[x + y = 1.\\]|Then {B} |This gives $$y = 11.$$|Thus {B}"),
    ("dollars", f"So we have\n$$\nx. Y\n$$\n|{B}"),
    ("fence", f"{A}\n|The code:\n```\na. B\n\nC\n```\n|{B}"),
    ("heading", f"{A}\n\n|## Title\n\n{B}"),
    ("bold title alone", f"{A}\n\n|**Title**\n\n{B}"),
    ("bold title and text", f"**The points and the lines.** {B}"),
    ("list after a colon", f"The facts:\n- {A}\n|- {B}"),
    ("list after a colon and a blank line", f"The facts:\n\n1. {A}\n|2. {B}"),
    ("paragraph after a colon", "The facts are these:\n\nThere is nothing else."),
    ("closing sign", f"{A}\n\n|{B}\n\n∎"),
    ("boxed answer", f"{A}\n\n$\\boxed{{5}}$\n\n|{B}"),
    ("rule", f"{A}\n\n---\n\n|{B}"),
    ("proof environment", f"\\begin{{proof}}\n{A} |{B}\n\\end{{proof}}"),
    ("wrapped lines", "This line is broken by an editor at a width of about seventy or so\nCharacters, as this one."),
    ("short lines", "Speed is 60\n|Time is 2\n|Way is 120"),
    ("CRLF", f"{A}\r\n\r\n|{B}"),
    ("Chinese", "我们首先把两个方程相加，得到第一个未知数的值等于三。|然后把这个值代入第二个方程。"),
    ("formula that never closes", f"{A} |We take \\[ and also $x. |{B}"),
    ("table", "The values:\n| a | b |\n| 1 | 2 |\n| 3 | 4 |"),
]


@pytest.mark.parametrize("marked", [case[1] for case in BREAKS[:-1]], ids=[case[0] for case in BREAKS[:-1]])
def test_breaks(marked: str) -> None:
    parts = marked.split("|")
    text = "".join(parts)
    starts = [place.start for place in find_breaks(text) if place.strength > Strength.EQUATION]
    assert [text[start:end] for start, end in zip([0, *starts], [*starts, len(text)], strict=True)] == parts


def test_tables_stay_whole() -> None:
    assert find_breaks(BREAKS[-1][1]) == []


def lengths(text: str, settings: ReadSettings | None = None) -> list[int]:
    return [len(step.text) for step in segment(text, settings or ReadSettings()).steps]


def sentence(number: int, words: int = 14) -> str:
    return f"Sentence {number} " + "says words " * words + "here. "


@pytest.mark.parametrize(("num_sentences", "fewest", "most"), [(2, 2, 2), (6, 4, 6), (20, 6, 12), (80, 12, 30)])
def test_number_of_steps_grows_slowly(num_sentences: int, fewest: int, most: int) -> None:
    text = "".join(sentence(number) for number in range(num_sentences))
    assert fewest <= len(lengths(text)) <= most
    assert max(lengths(text)) <= 1200
    assert min(lengths(text)) >= 100


def test_short_pieces_join_a_neighbour() -> None:
    """A conclusion goes back, an announcement forward, a boxed answer never stands alone."""
    long = sentence(1).strip()
    text = f"{long}\n\nSo $x = 4$.\n\n{long}\n\nNow we count.\n\n{long}\n\n$\\boxed{{4}}$"
    assert [step.text for step in segment(text, ReadSettings()).steps] == [
        f"{long}\n\nSo $x = 4$.\n\n",
        f"{long}\n\n",
        f"Now we count.\n\n{long}\n\n$\\boxed{{4}}$",
    ]


def test_a_first_short_piece_goes_forward() -> None:
    text = f"Solution.\n\n{sentence(1)}\n\n{sentence(2)}"
    first, second = segment(text, ReadSettings()).steps
    assert first.text == f"Solution.\n\n{sentence(1)}\n\n"
    assert second.text == sentence(2)


def test_equations_are_cut_only_where_nothing_else_helps() -> None:
    text = "We compute:\n" + "\\[ x + 1 = 2 \\]\n" * 30
    assert lengths(text, ReadSettings(max_step_chars=2000)) == [len(text)]
    shorter = segment(text, ReadSettings(max_step_chars=200)).steps
    assert max(len(step.text) for step in shorter) <= 200
    assert all(step.text.count("\\[") == step.text.count("\\]") for step in shorter)


def test_code_and_formulas_are_never_cut() -> None:
    code = "```\n" + "Line of code. And more.\n\n" * 20 + "```\n"
    display = "\\begin{align}\n" + "x &= 1. \\\\\n" * 60 + "\\end{align}\n"
    text = f"{sentence(1)}\n\n{code}\n{sentence(2)}\n{display}\n{sentence(3)}"
    found = segment(text, ReadSettings(max_step_chars=100)).steps
    assert any(code in step.text for step in found)
    assert any(display in step.text for step in found)
