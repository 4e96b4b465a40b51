r"""Two shell commands -> how alike what they run is, in [0, 1]; ours, the paper compares characters.

Both texts are parsed (``srl.rewards.shell_parse``; nothing is ever run) and their commands aligned in order, so that
the sum below is largest. With w the size in words,

    similarity = sum over aligned commands of matched words / all words of both texts

- the program counts one word; where it differs, everything else in the command counts ``OTHER_PROGRAM`` of itself;
- flags match in any order, one by one: ``-la`` is ``-l -a``;
- arguments match in order, quotes and ``./`` aside. A word is right or wrong; a text (with white space in it, the
  script of sed or awk, a here-document) counts its words times the sequence similarity of both texts;
- assignments before the program match in any order, and so do redirections (but ``2>&1`` where it stands);
- what joins a command to the one before it (``&&``, ``|``, ``;`` or a new line) counts one word.

A flag takes a value where that can be known: ``--x=1`` says so itself, and ``--x 1`` is the same where the other text
has ``--x=``; for common programs a table says which flags do (``head -n 5``, ``grep -A 3``). Elsewhere a word after a
flag is an argument.

A code block around the whole text is taken away. The decision a reader would question: a text that does not parse as
bash, or is longer than ``MAX_PARSED_CHARACTERS``, is compared as text, so that the reward stays dense for a policy that
does not write shell yet.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from srl.rewards.alignment import align
from srl.rewards.shell_parse import parse_shell
from srl.rewards.shell_words import Parts, flags_with_values, take_apart
from srl.rewards.similarity import bounded_similarity
from srl.rewards.words import split_words

OTHER_PROGRAM = 0.25
"""Share that flags, arguments and so on keep where another program is called with them."""
MAX_ALIGNED = 20_000
"""Commands (or arguments) of one text times those of the other; with more, the texts are compared as texts."""

_FENCE = re.compile(
    r"\s*(?:```[\w-]*[ \t]*\n(?P<block>.*?)\n?[ \t]*```"
    r"|<(?P<tag>bash_code|mswea_bash_command)>(?P<tagged>.*?)</(?P=tag)>)\s*",
    re.DOTALL,
)


def shell_similarity(action: str, target: str) -> float:
    """The formula above, in [0, 1]; 1.0 for two empty texts. Raises ConfigError without tree-sitter.

    >>> shell_similarity("ls -la 'src'", "ls -a -l ./src"), shell_similarity("cat a.py", "cat b.py")
    (1.0, 0.5)
    """
    if action == target:
        return 1.0
    action, target = strip_fence(action), strip_fence(target)
    found, expected = parse_shell(action), parse_shell(target)
    if found is None or expected is None or len(found) * len(expected) > MAX_ALIGNED:
        return bounded_similarity(action, target)
    valued = flags_with_values([*found, *expected])
    first = [take_apart(command, valued) for command in found]
    second = [take_apart(command, valued) for command in expected]
    sizes = [_size(parts) for parts in first], [_size(parts) for parts in second]
    total = sum(sizes[0]) + sum(sizes[1])
    if not total:  # comments and nothing else
        return bounded_similarity(action.strip(), target.strip())
    return min(1.0, align([[_matched(one, other) for other in second] for one in first]) / total)


def strip_fence(text: str) -> str:
    r"""The text without a code block around the whole of it.

    >>> strip_fence("```bash\nls\n```")
    'ls'
    """
    fence = _FENCE.fullmatch(text)
    return (fence["block"] if fence["tagged"] is None else fence["tagged"]).strip() if fence else text


def _size(parts: Parts) -> int:
    words = len(parts.flags) + sum(_weight(value) for _, value in parts.flags if value is not None)
    words += sum(map(_weight, parts.arguments)) + sum(map(_text_weight, parts.texts))
    return words + len(parts.unordered) + bool(parts.program) + bool(parts.connector)


def _matched(one: Parts, other: Parts) -> float:
    """Words of both commands that match, each side's counted."""
    if one == other:
        return 2.0 * _size(one)
    rest = _matched_flags(one, other) + _matched_in_order(one.arguments, other.arguments)
    rest += 2.0 * _num_common(one.unordered, other.unordered)
    rest += sum(
        (_text_weight(text) + _text_weight(wanted)) * bounded_similarity(text, wanted)
        for text, wanted in zip(one.texts, other.texts, strict=False)
    )
    rest += 2.0 * (one.connector == other.connector != "")
    if one.program != other.program:
        return OTHER_PROGRAM * rest
    return rest + 2.0 * (one.program != "")


def _matched_flags(one: Parts, other: Parts) -> float:
    """Equal flags first, then flags of the same name whose values differ."""
    left = list(other.flags)
    unmatched: list[tuple[str, str | None]] = []
    matched = 0.0
    for flag in one.flags:
        if flag in left:
            left.remove(flag)
            matched += 2.0 + (2.0 * _weight(flag[1]) if flag[1] is not None else 0.0)
        else:
            unmatched.append(flag)
    for name, value in unmatched:
        same = next((flag for flag in left if flag[0] == name), None)
        if same is not None:
            left.remove(same)
            matched += 2.0 + (_matched_words(value, same[1]) if value is not None and same[1] is not None else 0.0)
    return matched


def _matched_in_order(words: Sequence[str], wanted: Sequence[str]) -> float:
    if words == wanted:
        return 2.0 * sum(map(_weight, words))
    if len(words) * len(wanted) > MAX_ALIGNED:
        return bounded_similarity(words, wanted) * (sum(map(_weight, words)) + sum(map(_weight, wanted)))
    return align([[_matched_words(word, other) for other in wanted] for word in words])


def _matched_words(word: str, wanted: str) -> float:
    if word == wanted:
        return 2.0 * _weight(word)
    if not (_is_text(word) and _is_text(wanted)):
        return 0.0
    return bounded_similarity(word, wanted) * (_weight(word) + _weight(wanted))


def _num_common(words: Sequence[str], wanted: Sequence[str]) -> int:
    return sum(min(words.count(word), wanted.count(word)) for word in dict.fromkeys(words))


def _is_text(word: str) -> bool:
    """Whether a word is long or written with what stands in no path, name or number, as a script is."""
    return re.search(r"[\s();<>|]|/.*/[^/]*/[gpdI]*$", word) is not None if len(word) < 200 else True


def _weight(word: str) -> int:
    return _text_weight(word) if _is_text(word) else 1


def _text_weight(text: str) -> int:
    return max(1, len(split_words(text)))
