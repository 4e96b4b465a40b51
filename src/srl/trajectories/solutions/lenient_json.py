r"""A model's attempt at JSON -> the object it meant.

Models that are asked for JSON write LaTeX into it as if nothing were to be escaped: ``\(`` and ``\sqrt`` are invalid
escapes, ``\frac``, ``\binom``, ``\times``, ``\neq`` and ``\right`` are valid ones of control characters, lines break
inside strings, quotes are not escaped, the end is missing. This decoder reads all of it. On an object that is valid
JSON and holds no backslash that could be meant as LaTeX it gives what ``json.loads`` gives.

How a backslash is read: it is an escape only where it surely is one. That is before a quote, a slash, and four hex
digits after u; before n, t and r unless the letters spell a LaTeX command; never before b and f with a letter behind.
Two backslashes are one before a command or a bracket; elsewhere they are LaTeX's line break in a text that escapes
nothing else, and one backslash in any other.

The decision a reader would question: ``\ne``, ``\ni``, ``\nu`` and a few more could be a line break before a word.
They are commands inside of mathematics and line breaks outside, and in texts that double their backslashes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from string import hexdigits

_KEY = r'"[^"\\\n]{1,80}"[ \t\r\n]*:'
_START = re.compile(r"\{[ \t\r\n]*(?=" + _KEY + ")")
_NEXT_KEY = re.compile(r'[ \t\r\n,]*"(?P<key>[^"\\\n]{1,80})"[ \t\r\n]*:[ \t\r\n]*')
_CLOSE = re.compile(r"[ \t\r\n,]*\}")
_QUOTE = re.compile(r'\\.|(?P<quote>")', re.DOTALL)
# A quote ends a string where the next key follows (after a comma or on a line of its own), or the object's end and
# nothing more on the line.
_NEXT = r"(?:,[ \t\r\n]*" + _KEY + r"|\}[ \t\r]*(?:\n|```|\Z))"
_KEY_LINE = re.compile(r'\n[ \t]*"\w{1,40}"[ \t]*:')
_AFTER_STRING = re.compile(r"[ \t\r\n]*" + _NEXT + r"|[ \t\r]*\n[ \t\r\n]*" + _KEY)
_BARE_END = re.compile(_NEXT + r"|\Z")
_ESCAPE = re.compile(r"(?P<slashes>\\+)(?P<rest>u[0-9a-fA-F]{4}|[A-Za-z]+|.)?", re.DOTALL)
_DOLLARS = re.compile(r"\$\$?")
_LENGTH = re.compile(r"[ ]?-?[\d.]{1,6}[ ]?(?:pt|ex|em|mm|cm|in)\]")
_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]")
# Every string of an object that is not valid JSON may be searched to the end of the text.
_MAX_OBJECTS = 20
_MAX_FIELDS = 20

_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
# LaTeX commands that JSON reads as a control character and letters.
_COMMAND = re.compile(
    r"n(?:abla|atural|earrow|eq|ewline|geq|gtr|leq|olimits|onumber|ormalsize|ot|otin|rightarrow|subseteq|subset"
    r"|supseteq|warrow)"
    r"|t(?:anh?|ag|au|binom|ext(?:bf|color|it|rm|sf|style|tt)?|frac|herefore|heta|hinspace|ilde|imes|iny|o|op"
    r"|riangle(?:left|q|right)?)"
    r"|r(?:Vert|angle|brace|brack|ceil|ef|floor|ho|ight(?:arrow|harpoonup|leftharpoons)?|m|oot|times|ule|vert)"
)
# The same, where what follows the n is a word or a variable too: "\nu = 3" may be a new line about u.
_AMBIGUOUS = re.compile(r"n(?:cong|e|eg|exists|i|less|mid|parallel|prec|sim|u)")
# The beginning of a command run together with what follows: "\timesx". A slip in LaTeX, but no tab.
_RUN_TOGETHER = re.compile(r"t(?:ext|frac|herefore|heta|ilde|imes|riangle)|r(?:angle|brace|ceil|floor|ight)")
_TWO_LETTERS = re.compile(r"Im|P[ir]|Re|Xi|bf|g[eg]|i[nt]|l[egln]|m[pu]|n[eiu]|o[fr]|p[im]|rm|sf|t[ot]|w[pr]|xi")


class Style(StrEnum):
    """How the writer of a text writes LaTeX's backslashes."""

    SINGLE = "single"
    DOUBLED = "doubled"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class LenientObject:
    """An object as far as it could be read."""

    fields: dict[str, object] = field(default_factory=dict[str, object])
    """Its values by key; of a key that stands twice the last."""
    is_whole: bool = True
    """Whether its end was there."""


def decode_objects(text: str) -> list[LenientObject]:
    r"""The objects in a text, outermost ones only, in order; what stands around them does not matter.

    Keys are taken as they stand, without escapes. Total, and linear in the text's length: of very many objects the
    first 20 are read, and of an object that is not valid JSON the first 20 fields, after which it is not whole.

    >>> [item.fields for item in decode_objects(r'Here: {"reasoning": "so \(x \neq 2\)", "answer": 3}')]
    [{'reasoning': 'so \\(x \\neq 2\\)', 'answer': 3}]
    """
    found: list[LenientObject] = []
    start = _START.search(text)
    while start and len(found) < _MAX_OBJECTS:
        item, end = _read_object(text, start.start())
        found.append(item)
        start = _START.search(text, end)
    return found


def style_of(raw: str) -> Style:
    r"""How a text writes LaTeX's backslashes, by its commands and brackets that are no valid escapes.

    >>> style_of(r"\(x\)").value, style_of(r"\\(x\\)\n").value, style_of(r"x\n").value
    ('single', 'doubled', 'unknown')
    """
    single = doubled = 0
    for match in _ESCAPE.finditer(raw):
        count, rest = len(match["slashes"]), match["rest"] or ""
        if count == 1:
            single += bool(rest) and (rest[0] not in '"/bfnrtu\n' or (rest[0] in _CONTROLS and _is_command(rest)))
        elif count == 2:
            doubled += (rest.isalpha() and len(rest) > 1) or (rest != "" and rest in "()[]")
    if single > doubled:
        return Style.SINGLE
    return Style.DOUBLED if doubled else Style.UNKNOWN


def unescape(raw: str, style: Style) -> str:
    r"""The text that is meant by the characters between a string's quotes.

    >>> unescape(r"\frac{1}{2}\n\\[4pt]", Style.SINGLE)
    '\\frac{1}{2}\n\\\\[4pt]'
    """
    parts: list[str] = []
    at, in_math = 0, False
    has_environments = "\\begin{" in raw
    for match in _ESCAPE.finditer(raw):
        if match.start() > at:
            parts.append(raw[at : match.start()])
            in_math ^= len(_DOLLARS.findall(parts[-1])) % 2 == 1
        at = match.end()
        starts_line = not parts or parts[-1].endswith(("\\[", "$$", "\n"))
        count, rest = len(match["slashes"]), match["rest"] or ""
        prefix, is_escape = _backslashes(count, rest, style, follows_length=_LENGTH.match(raw, at) is not None)
        if prefix:
            parts.append(prefix)
        may_be_command = in_math and not starts_line and style is not Style.DOUBLED
        if is_escape and rest == "\n" and not in_math and not has_environments:
            parts.append(rest)  # a line that goes on, as in the source of a program; in mathematics half a line break
        else:
            parts.append(_escaped(rest, may_be_command=may_be_command) if is_escape else rest)
        mark = prefix[-1:] + parts[-1] if not is_escape else parts[-1]
        in_math = True if mark in ("\\(", "\\[") else False if mark in ("\\)", "\\]") else in_math
    parts.append(raw[at:])
    text = "".join(parts)
    return _SURROGATES.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)


def _backslashes(count: int, rest: str, style: Style, *, follows_length: bool) -> tuple[str, bool]:
    """(backslashes before ``rest``, whether ``rest`` has one more before it that may be an escape)."""
    is_escape = count % 2 == 1
    pairs = count // 2
    if pairs != 1:
        return "\\" * pairs, is_escape
    if style is not Style.SINGLE:
        is_line_break = not is_escape and rest == "\n"  # nothing in LaTeX is escaped by a real line break
    elif is_escape:
        is_line_break = True
    elif rest.isascii() and rest.isalpha():
        is_line_break = len(rest) < 3 and not _TWO_LETTERS.fullmatch(rest)
    elif rest == "[":
        is_line_break = follows_length
    else:
        is_line_break = rest not in tuple("()]{},;:!%$_|")
    return "\\\\" if is_line_break else "\\", is_escape


def _escaped(rest: str, *, may_be_command: bool) -> str:
    """What one backslash and ``rest`` mean."""
    first = rest[:1]
    if first and first in '"/':
        return rest
    if first == "u" and len(rest) == 5 and all(digit in hexdigits for digit in rest[1:]):
        return chr(int(rest[1:], 16))
    if first not in _CONTROLS or _is_command(rest) or (may_be_command and _AMBIGUOUS.fullmatch(rest)):
        return "\\" + rest
    return _CONTROLS[first] + rest[1:]


def _is_command(rest: str) -> bool:
    """Whether letters that begin as an escape are a LaTeX command for sure."""
    if rest[0] in "bf":
        return len(rest) > 1
    return _COMMAND.fullmatch(rest) is not None or _RUN_TOGETHER.match(rest) is not None


def _read_object(text: str, start: int) -> tuple[LenientObject, int]:
    """The object whose brace stands at ``start``, and where it ends."""
    try:
        _, strict_end = json.JSONDecoder(strict=False).raw_decode(text, start)
    except (ValueError, RecursionError):
        strict_end = 0
    fields: dict[str, object] = {}
    at = start + 1
    raws: dict[str, str] = {}
    num_keys = 0
    while (key := _NEXT_KEY.match(text, at)) and (strict_end or num_keys < _MAX_FIELDS):
        num_keys += 1
        at = key.end()
        if text.startswith('"', at):
            end, at = _string_end(text, at + 1, is_strict=strict_end > 0)
            fields[key["key"]] = raws[key["key"]] = text[key.end() + 1 : end]
        else:
            raws.pop(key["key"], None)
            fields[key["key"]], at = _read_bare(text, at)
    style = style_of("\n".join(raws.values()))
    decoded = {name: unescape(raw, style) for name, raw in raws.items()}
    close = _CLOSE.match(text, at)
    end = close.end() if close else max(at, start + 1)
    return LenientObject(fields=fields | decoded, is_whole=close is not None), end


def _string_end(text: str, at: int, *, is_strict: bool) -> tuple[int, int]:
    """(where a string's characters end, where to read on)."""
    if is_strict:
        quote = next((match.start() for match in _QUOTE.finditer(text, at) if match["quote"]), len(text))
        return quote, quote + 1
    quotes = [match.start() for match in _QUOTE.finditer(text, at) if match["quote"]]
    strong = next((quote for quote in quotes if _AFTER_STRING.match(text, quote + 1)), -1)
    key = _KEY_LINE.search(text, at, strong if strong >= 0 else len(text))
    if key:  # the quote is missing, or something else stands in its place
        end = len(text[at : key.start()].rstrip(" \t\r\n,`"))
        return at + end - (2 if text.endswith('\\"', at, at + end) else 0), key.start()
    if strong >= 0:
        return strong, strong + 1
    weak = next((quote for quote in quotes if _CLOSE.match(text, quote + 1)), -1)
    return (weak, weak + 1) if weak >= 0 else (len(text), len(text))


def _read_bare(text: str, at: int) -> tuple[object, int]:
    """A number, a list, ...; what is none of JSON's values is text up to the next key or the end."""
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(text, at)
    except (ValueError, RecursionError):
        pass
    else:
        if _CLOSE.match(text, end) or _NEXT_KEY.match(text, end) or not text[end:].strip():
            return value, end
    found = _BARE_END.search(text, at)
    end = found.start() if found else len(text)
    return unescape(text[at:end].strip(), style_of(text[at:end])), end
