r"""Problem -> NormalProblem: what is left when spelling no longer matters, and numbers, signs and words still do.

The normal form is a list of words. Case, white space, punctuation, brackets, drawings, links, LaTeX's formatting
commands and instructions about the format of the answer are gone; ``\frac{1}{2}``, ``\dfrac12`` and ``1/2`` are the
same three words. The decision a reader would question: signs are words too. With letters and digits alone
``3+4``, ``3-4`` and ``34`` would be one problem.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

SHORT_WORDS = 12
"""Problems with fewer words are compared by their content words too; see ``NormalProblem.content``."""

MAX_CHARS = 100_000
"""Longer texts are compared by their beginning."""

Gram = tuple[str, ...]

_GREEK = {
    code: f" {unicodedata.name(chr(code)).split()[-1].lower()} "
    for code in range(0x391, 0x3CA)
    if unicodedata.name(chr(code), "").startswith("GREEK")
}
_SIGNS = {
    "√": " sqrt ", "°": " degrees ", "−": "-", "–": "-", "—": " ", "×": " ", "·": " ", "⋅": " ", "≤": " le ",
    "≥": " ge ", "≠": " ne ", "∠": " angle ", "△": " triangle ", "⊥": " perp ", "∥": " parallel ", "∞": " infty ",
    "∈": " in ", "’": "'", "²": "^2", "³": "^3", "½": " 1/2 ", "¼": " 1/4 ", "¾": " 3/4 ", "⁄": "/",
}  # fmt: skip
_CHARACTERS = _GREEK | {ord(sign): text for sign, text in _SIGNS.items()}

# Nothing of these reads the same in two copies of a problem, and a copy often lacks them altogether.
_ORNAMENTS = re.compile(
    r"\[asy\].*?(?:\[/asy\]|\Z)"
    r"|\\begin\{(?P<drawing>asy|tikzpicture)\}.*?(?:\\end\{(?P=drawing)\}|\Z)"
    r"|!\[[^\]\n]{0,200}\]\([^)\s]{0,1000}\)|(?<=\])\(https?://[^)\s]*\)|https?://[^\s)\]}]+"
    r"|</?(?:br|p|b|i|em|strong|sub|sup|center|div|span|img)\b[^<>\n]{0,200}>",
    re.DOTALL | re.IGNORECASE,
)
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*\{[a-zA-Z]+\*?\}(?:\s*\{[lcr|@ ]*\})?")
# Commands that change how something looks; what stands in their braces stays. Multiplication signs are among them,
# because most products are written without one.
_LOOK = re.compile(
    r"\\(?:left|right|middle|[bB]igg?[lrm]?|displaystyle|textstyle|limits|nolimits|q?quad|h?fill|[hv]space\*?|newline"
    r"|text(?:bf|it|rm|sf|tt|sc|up|normal)?|math(?:bf|it|rm|sf|tt|cal|scr|frak|bb|ord|rel|bin|op)|bf|rm|it|emph"
    r"|[mhf]box|boxed|operatorname\*?|over(?:line|arc|rightarrow)|underline|wide(?:hat|tilde)|hat|bar|vec|tilde"
    r"|bold(?:symbol)?|ensuremath|phantom|small|large|noindent|item|hline|label|tag"
    r"|cdot|times|[lcvd]?dots[bcimo]?)(?![a-zA-Z])"
)
_FRACTION = re.compile(r"\\[dtc]?frac\s*(?:\{([^{}]*)\}|(\w))\s*(?:\{([^{}]*)\}|(\w))")
_ROOT = re.compile(r"\\sqrt\s*(\w)")
_DEGREES = re.compile(r"\^\s*\{?\s*\\(?:circ|degree)\b\s*\}?")
_THOUSANDS = re.compile(r"(?<![\d.])\d{1,3}(?:(?:,|\{,\}|\\[,!;])\d{3})+(?!\d)")
_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+(?:'[a-z]+\b)?|[+\-/=<>^!%|]")
_NOT_A_SIGN = re.compile(r"(?<=[^\W_]{2})-(?=[^\W\d_]{2})|(?<=\d)-(?=[^\W\d_]{2})|--+")
_SYNONYMS = {
    "leq": "le", "leqslant": "le", "geq": "ge", "geqslant": "ge", "neq": "ne", "degree": "degrees", "circ": "degrees",
    "bigtriangleup": "triangle", "varphi": "phi", "vartheta": "theta", "varepsilon": "epsilon", "rightarrow": "to",
}  # fmt: skip

_VERB = r"(?:put|place|give|write|enter|express|return|present|output|report|state|provide|format|box|enclose|round)"
_TO_THE_END = r"(?:[^.\n?]|\.(?=\d))*[.\n]?"
_STEP_BY_STEP = (
    r"(?:please|let'?s|you should)?\s*\b(?:reason|think|solve|work)\s+"
    r"(?:(?:the|this|it|following|given|math|mathematical|problem|question|carefully|efficiently|through|out)\s+){0,6}"
    r"step[\s-]by[\s-]step"
    rf"(?:,?\s+(?:and|then)\s[^.\n]{{0,60}}\b(?:answer|response|boxed)\b{_TO_THE_END}|[.:,]?)"
)
_GIVE_YOUR_ANSWER = (
    rf"(?:(?:please|remember to|make sure to|be sure to|and|then)\s+){{0,3}}\b{_VERB}\s+"
    rf"(?:(?:your|the|all|an|a|final|last|numerical|exact)\s+){{0,4}}(?:answers?|response)\b{_TO_THE_END}"
)
_THE_ANSWER_IS = (
    rf"(?:your|the)\s+(?:final\s+)?answer\s+(?:should|must|will|is\s+an?\s+(?:integer|number)\s+between)\b{_TO_THE_END}"
)
_LAST_LINE = r"the last line of your response should[^\n]*"
# Sentences about the form of the answer, which every collection words in its own way.
_INSTRUCTIONS = re.compile(
    rf"(?:(?<=[\s.?!:;)$\]])|\A)(?:{'|'.join((_STEP_BY_STEP, _GIVE_YOUR_ANSWER, _THE_ANSWER_IS, _LAST_LINE))})",
    re.IGNORECASE,
)
_GAP = re.compile(r"\s{2,}")  # long runs would make the patterns below slow
_LABEL = re.compile(
    r"\A[\s*#]*(?:problem|question|exercise|q)\s*\d*\s*[:.)][\s*]*|\n[\s*#]{0,8}(?:answer|solution)\s*:\s*\Z",
    re.IGNORECASE,
)

# The frame that contests put around an answer to make it an integer. Half of a short problem may be this.
_ANSWER_FRAME = re.compile(
    r"(?:(?:can|may|could) be |is )?(?:uniquely )?(?:written|expressed) (?:as|in (?:the )?(?:simplest |lowest )?form)"
    r"(?: (?:of|a|fraction|sqrt|[a-z]|\d|[-+/^]))*(?= where )"
    r"| where(?: (?:[a-z]|and))+ are(?: (?:mutually|pairwise|relatively|prime|coprime|positive|integers|and))+"
    r"|(?:find|what is|compute|determine|evaluate)(?: the value of)?(?: [a-z] \+)+ [a-z](?![^ ])"
)
_ASKING = frozenset(
    {
        "what", "is", "find", "the", "value", "of", "compute", "evaluate", "calculate", "determine", "please",
        "a", "an", "exact", "exactly", "give", "work", "out",
    }
)  # fmt: skip
_NUMERALS = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "eleven": "11", "twelve": "12",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NormalProblem:
    """A problem in its normal form."""

    words: tuple[str, ...]
    """Words, numbers and signs in order; empty for a text without any."""

    @property
    def key(self) -> str:
        """Equal for two problems exactly if they are the same after normalisation.

        Letters are joined, because ``triangle $ABC$`` is often written ``$A B C$``; numbers are kept apart.
        """
        return _join(self.words)

    @property
    def content(self) -> str:
        r"""What is asked about, without the words of asking: "" for problems that are long or hold too little.

        >>> normalise(r"Compute $\sin 7^\circ$.").content == normalise("What is sin 7°?").content
        True
        """
        if len(self.words) >= SHORT_WORDS:
            return ""
        content = [word for word in self.words if word not in _ASKING]
        return _join(content) if len(content) > 2 else ""

    @property
    def telling_words(self) -> tuple[str, ...]:
        """What wording is compared by: numerals as digits, no frame around the answer ("m/n, where ...; find m+n")."""
        kept = _ANSWER_FRAME.sub(" ", " ".join(self.words)).split()
        return tuple(_NUMERALS.get(word, word) for word in (kept if len(kept) >= SHORT_WORDS else self.words))


def normalise(problem: str) -> NormalProblem:
    r"""The normal form of ``problem``. Total: any string is allowed.

    >>> normalise(r"**Problem 3.** Find $\dfrac12 + \left(x_1\right)^2$. Put your answer within \boxed{}.").words
    ('find', '1', '/', '2', '+', 'x', '1', '^', '2')
    """
    whole = _GAP.sub(_as_short_gap, problem[:MAX_CHARS])
    bare = _INSTRUCTIONS.sub(" ", _LABEL.sub(" ", whole))
    return NormalProblem(_words(bare) or _words(whole))


def grams(words: tuple[str, ...], size: int) -> set[Gram]:
    """The different runs of ``size`` words."""
    return set(zip(*(words[start:] for start in range(size)), strict=False))


def numbers_agree(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether all numbers of one problem stand in the other too, there perhaps spelled out.

    >>> numbers_agree(("9", "boys", "and", "4"), ("nine", "boys", "4", "girls", "15"))
    True
    """
    return _counts(one) <= _counts(other, spelled=True) or _counts(other) <= _counts(one, spelled=True)


def _counts(words: tuple[str, ...], *, spelled: bool = False) -> Counter[str]:
    counts = Counter(word for word in words if word[0].isdigit())
    if spelled:
        counts.update(_NUMERALS[word] for word in words if word in _NUMERALS)
    return counts


def _words(text: str) -> tuple[str, ...]:
    text = unicodedata.normalize("NFKC", text.translate(_CHARACTERS))
    text = _ORNAMENTS.sub(" ", text)
    text = _THOUSANDS.sub(lambda match: re.sub(r"\D", "", match[0]), text)
    if "\\" in text:
        text = _without_latex(text)
    words: list[str] = []
    found: list[str] = _WORD.findall(_NOT_A_SIGN.sub(" ", text))
    for word in found:
        if 1 < len(word) < 5 and word.isupper():
            words.extend(word.casefold())  # a triangle ABC, which others write A B C
        else:
            folded = word.casefold()
            words.append(_SYNONYMS.get(folded, folded))
    return tuple(words)


def _without_latex(text: str) -> str:
    text = re.sub(r"\\{2,4}(?=[a-zA-Z])", r"\\", text)  # escaped twice, as rows that went through JSON twice are
    text = re.sub(r"\\n(?![a-zA-Z])|\\[\s,!;:>\\]", " ", text)
    text = _ENVIRONMENT.sub(" ", text)
    text = _DEGREES.sub(" degrees ", text)
    text = _LOOK.sub(" ", text)
    text = _ROOT.sub(r" sqrt{\1}", text)
    if "frac" in text:
        # From the inside out; the braces of roots and exponents inside a fraction have to go first.
        for _ in range(8):
            text, num_replaced = _FRACTION.subn(_as_quotient, text)
            if not num_replaced:
                simpler = re.sub(r"(?<!frac)(?<!\})\{([^{}]*)\}", r" \1 ", text)
                if simpler == text:
                    break
                text = simpler
    return text.replace("\\", " ")


def _as_quotient(match: re.Match[str]) -> str:
    return f" {match[1] or match[2] or ''}/{match[3] or match[4] or ''} "


def _as_short_gap(match: re.Match[str]) -> str:
    return "\n" if "\n" in match[0] else " "


def _join(words: tuple[str, ...] | list[str]) -> str:
    text = " ".join(words)
    return re.sub(r" (?!\d)|(?<!\d) ", "", text)
