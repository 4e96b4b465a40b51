from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from srl.trajectories.solutions.lenient_json import Style, decode_objects, style_of, unescape


def decode_one(text: str) -> dict[str, object]:
    (found,) = decode_objects(text)
    return found.fields


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        # The writer escapes nothing but line breaks.
        (r"\(x\)\n\[y\]", "\\(x\\)\n\\[y\\]"),
        (r"\(\frac{1}{2}\)", r"\(\frac{1}{2}\)"),
        (r"\(\binom{5}{2}\)", r"\(\binom{5}{2}\)"),
        (r"\(2 \times 3\)", r"\(2 \times 3\)"),
        (r"\(\text{so } \theta\)", r"\(\text{so } \theta\)"),
        (r"\(x \neq 2\)\nSo", "\\(x \\neq 2\\)\nSo"),
        (r"\left( 1 \right)", r"\left( 1 \right)"),
        (r"\rfloor \rho \rightarrow", r"\rfloor \rho \rightarrow"),
        (r"\upsilon and \underline{u}", r"\upsilon and \underline{u}"),
        (r"\timesx", r"\timesx"),
        (r"\(a \\ b\)", r"\(a \\ b\)"),
        (r"\(a \\[4pt] b\)", r"\(a \\[4pt] b\)"),
        (r"\(a \\" + "\n" + r"b\)", "\\(a \\\\\nb\\)"),
        (r"\(a\) \\frac \\(b\\)", r"\(a\) \frac \(b\)"),
        (r"\(0 \\\frac{1}{2}\)", r"\(0 \\\frac{1}{2}\)"),
        (r"\(a \\b\)", r"\(a \\b\)"),
        ("We get \\\n  x = 2", "We get \n  x = 2"),
        ("$a \\\n b$", "$a \\\n b$"),
        ("\\\\begin{aligned} a \\\n b", "\\begin{aligned} a \\\n b"),
        # The writer doubles every backslash, as JSON wants it.
        (r"\\(x\\)\n\\frac{1}{2}", "\\(x\\)\n\\frac{1}{2}"),
        (r"\\frac 1 \\\\ \\sqrt 2", r"\frac 1 \\ \sqrt 2"),
        (r"\\frac 1 \\\\\n\\hline", "\\frac 1 \\\\\n\\hline"),
        (r"\\frac 1 \\" + "\n2", "\\frac 1 \\\\\n2"),
        (r"$\\frac 1 2$ with $\nu = 2$", "$\\frac 1 2$ with $\nu = 2$"),
        # Only escapes.
        (r"a\nb\tc\r\nd", "a\nb\tc\r\nd"),
        (r"a\nWe b\n\nNext", "a\nWe b\n\nNext"),
        (r"say \"so\" \/ \u00e9 \ud83d\ude00", 'say "so" / \u00e9 \U0001f600'),
        # A line break before a word, or a command: mathematics decides.
        (r"done.\nu = 3", "done.\nu = 3"),
        (r"\(\nu = 3\) and \(x \nu\)", r"\(\nu = 3\) and \(x \nu\)"),
        (r"\[\nu = 3\n\]", "\\[\nu = 3\n\\]"),
        (r"$a \ne b$\ne is", "$a \\ne b$\ne is"),
    ],
)
def test_backslashes(written: str, meant: str) -> None:
    assert decode_one(f'{{"text": "{written}"}}') == {"text": meant}


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('```json\n{\n  "a": "x",\n  "b": "2"\n}\n```', {"a": "x", "b": "2"}),
        ('First prose with {braces}.\n{"a": "x"} and more', {"a": "x"}),
        ('{"a": "line\n\nline", "b": 3}', {"a": "line\n\nline", "b": 3}),
        ('{"a": "the "big" one", "b": "y"}', {"a": 'the "big" one', "b": "y"}),
        (r'{"a": "the set {"u"} \(x\)", "b": "y"}', {"a": r'the set {"u"} \(x\)', "b": "y"}),
        ('{"a": "x", "b": [1, "\\(y\\)"]', {"a": "x", "b": '[1, "\\(y\\)"]'}),
        ('{"a": "x", "b": {"c": [1, 2]}, "d": null,}', {"a": "x", "b": {"c": [1, 2]}, "d": None}),
        (r'{"a": "x", "b": \frac{1}{2}}', {"a": "x", "b": r"\frac{1}{2}"}),
        ('{"a": "x",\n "b": 3 - 2i\n}', {"a": "x", "b": "3 - 2i"}),
        # Ends that went wrong: no comma, no closing quote, a fence or an escaped quote in its place.
        (r'{"a": "\(x\)."' + '\n  "b": "2"\n}', {"a": r"\(x\).", "b": "2"}),
        (r'{"a": "\(x\).' + '\n\n```,\n  "b": "2"\n}', {"a": r"\(x\).", "b": "2"}),
        (r'{"a": "\(x\). \",' + '\n\n  "b": "2"\n}', {"a": r"\(x\). ", "b": "2"}),
    ],
)
def test_objects(text: str, fields: dict[str, object]) -> None:
    (found,) = decode_objects(text)
    assert found.fields == fields
    assert found.is_whole == text.rstrip("`").rstrip().endswith(("}", "more"))
    assert list(found.fields) == list(fields)


def test_cut_off() -> None:
    (found,) = decode_objects(
        r'{"a": "so \(x',
    )
    assert (found.fields, found.is_whole) == ({"a": r"so \(x"}, False)


def test_many_fields() -> None:
    """Valid JSON is read to its end; of an object that is not, the first 20 fields, and that shows."""
    fields = {f"key{place}": "x" for place in range(30)}
    (found,) = decode_objects(json.dumps(fields))
    assert (found.fields, found.is_whole) == (fields, True)
    (found,) = decode_objects(json.dumps(fields).replace('"x"', '"\\("'))
    assert (list(found.fields), found.is_whole) == (list(fields)[:20], False)


def test_several_objects() -> None:
    found = decode_objects('{"a": "1"}\n{"a": "2"}\n```json\n{"a": "\\(3\\)"}\n```')
    assert [item.fields["a"] for item in found] == ["1", "2", r"\(3\)"]


def test_no_object() -> None:
    assert decode_objects(r"The set \{1, 2\} and {x : x > 0} and {} and {'a': 1}") == []


def test_style() -> None:
    assert style_of(r"\(x\) \\frac") == Style.SINGLE
    assert style_of(r"\\(x\\) \( \\frac") == Style.DOUBLED
    assert style_of(r"a\n\n\t\"b\" \\ c") == Style.UNKNOWN


LATEX = [
    "\\",
    "\\\\",
    "frac",
    "neq",
    "times",
    "u",
    "n",
    "\n",
    "\t",
    " ",
    '"',
    "(",
    "[",
    "$",
    "x",
    "{",
    "}",
    "é",
    "😀",
    "/",
]
# A backslash that JSON reads as a control character although LaTeX could be meant.
AMBIGUOUS = re.compile(r"(?<!\\)(?:\\\\)*\\[bfnrt][A-Za-z]")


@given(
    st.dictionaries(
        st.text("abc_", min_size=1, max_size=5), st.lists(st.sampled_from(LATEX), max_size=12).map("".join), min_size=1
    )
)
def test_valid_json_reads_as_json(value: dict[str, str]) -> None:
    text = json.dumps(value)
    assume(not AMBIGUOUS.search(text))
    assert decode_one(text) == value
    assert decode_one(f"Here:\n```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```") == value


# What an expert writes: no raw control characters, and line breaks that no word follows.
PIECES = [
    "Let ",
    r"\(x\)",
    r"\frac{1}{2}",
    r"\neq",
    r"\text{ if }",
    r"\right)",
    r"\binom{n}{k}",
    r"\[",
    r"\]",
    " ",
    "2 + 3",
]


@given(st.lists(st.sampled_from(PIECES), min_size=1).map(" ".join), st.booleans())
def test_latex_survives_with_and_without_escapes(text: str, is_doubled: bool) -> None:
    """The writer's style is undone, whichever it is; the expected text is the one before writing."""
    written = text.replace("\\", "\\\\") if is_doubled else text
    assert decode_one(f'{{"reasoning": "{written}", "answer": "1"}}') == {"reasoning": text, "answer": "1"}


@given(st.text(st.sampled_from('{}":,\\nu \n[1a$'), max_size=60))
def test_any_text_can_be_decoded(text: str) -> None:
    for item in decode_objects(text):
        assert all(isinstance(name, str) for name in item.fields)
    for style in Style:
        unescape(text, style)


@pytest.mark.parametrize(
    "piece",
    ['{"a":', '{"a":"', '{"a": "\\(x", ', '\n"a": "x', '"', "\\", " ", "$\\nu", '{"a": "\\(x"} ', "\\u", '{"a":['],
)
def test_time_is_linear(piece: str) -> None:
    start = time.process_time()
    decode_objects('{"a": "' + piece * (200_000 // len(piece)))
    decode_objects(piece * (200_000 // len(piece)))
    assert time.process_time() - start < 10
