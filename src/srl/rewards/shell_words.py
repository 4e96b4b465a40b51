r"""A parsed command -> program, flags, arguments, redirections: what ``srl.rewards.shell`` compares.

The decision a reader would question: the table of flags that take a value. Bash's grammar does not know them; without
the table ``head -n 5 f`` and ``head f -n 5`` would differ, and with a guess (every flag takes the word after it)
``ls -l a`` and ``ls -a l`` would be alike. A program that is not in the table has no flags with values but ``--x=1``.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from srl.rewards.shell_parse import Command

_VALUED = {
    "awk": "-F -v -f",
    "curl": "-o -H -d -X",
    "cut": "-b -c -d -f",
    "diff": "-U",
    "find": "-name -iname -path -ipath -type -maxdepth -mindepth -mtime -mmin -size -newer -regex",
    "git": "-C -m -n",
    "grep": "-A -B -C -e -f -m --include --exclude --exclude-dir",
    "head": "-c -n",
    "make": "-C -f -j",
    "nl": "-b -s -v -w",
    "pip": "-e -r",
    "pytest": "-k -m -n -o -p",
    "python": "-c -m -W -X",
    "rg": "-A -B -C -e -f -g -m -t",
    "sed": "-e -f",
    "sort": "-k -t",
    "tail": "-c -n",
    "tar": "-C -f",
    "timeout": "-k -s",
    "tree": "-I -L",
    "xargs": "-d -I -n -P",
}
_VALUES = {program: frozenset(flags.split()) for program, flags in _VALUED.items()}
_WITH_COMMANDS = frozenset(
    {"apt", "apt-get", "cargo", "conda", "docker", "gh", "git", "go", "kubectl", "npm", "pip", "poetry", "uv", "yarn"}
)
"""Programs whose first argument is a program of its own: ``git log`` is not ``git diff``."""
_WHOLE_FLAGS = frozenset({"clang", "find", "gcc", "go", "java", "javac", "openssl", "rustc", "test", "[", "[["})
"""Programs whose flags of several letters are one flag: ``find -name`` is not ``-n -a -m -e``."""
_COUNTS = frozenset({"head", "tail"})
_ORDERED_FIND = frozenset({"-o", "-or", "!", "-not", "(", ")", "-prune", "-exec", "-execdir"})
_VERSION = re.compile(r"[\d.]+$")

Flag = tuple[str, str | None]
"""Name and value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """One command, taken apart."""

    connector: str
    """What stands before it."""
    program: str
    """With its command where it has some: "git log"."""
    flags: tuple[Flag, ...]
    """Sorted."""
    arguments: tuple[str, ...]
    """In order; paths in one spelling."""
    unordered: tuple[str, ...]
    """Assignments and redirections, sorted."""
    texts: tuple[str, ...]
    """Here-documents."""


def flags_with_values(commands: Sequence[Command]) -> frozenset[tuple[str, str]]:
    """(program, flag) of every long flag that is written with ``=`` anywhere in these commands."""
    return frozenset(
        (command.words[0], word.partition("=")[0])
        for command in commands
        for word in command.words[1:]
        if word.startswith("--") and "=" in word
    )


def take_apart(command: Command, valued: frozenset[tuple[str, str]]) -> Parts:
    """The parts of a command; ``valued`` as from ``flags_with_values`` over both texts that are compared."""
    words = list(command.words)
    program = words.pop(0) if words else ""
    name = _VERSION.sub("", posixpath.basename(program))
    with_values = _VALUES.get(name, frozenset[str]()) | {flag for called, flag in valued if called == program}
    if name in _WITH_COMMANDS and words and not words[0].startswith("-"):
        program = f"{program} {words.pop(0)}"
    keeps_order = name == "find" and not _ORDERED_FIND.isdisjoint(words)
    flags, arguments = ([], words) if keeps_order else _split_words(words, name, with_values)
    return Parts(
        connector=command.connector,
        program=program,
        flags=tuple(sorted(flags, key=lambda flag: (flag[0], flag[1] or ""))),
        arguments=tuple(_spell_path(word) for word in arguments),
        unordered=tuple(sorted([*command.assignments, *_spell_redirections(command.redirections)])),
        texts=tuple(command.texts),
    )


def _split_words(words: Sequence[str], name: str, with_values: frozenset[str]) -> tuple[list[Flag], list[str]]:
    flags: list[Flag] = []
    arguments: list[str] = []
    place = 0
    while place < len(words):
        word = words[place]
        place += 1
        if word == "--":
            arguments += words[place:]
            break
        if len(word) < 2 or not word.startswith("-") or re.search(r"\s", word.partition("=")[0]):
            arguments.append(word)
            continue
        read, needs_value = _read_flag(word, name, with_values)
        if needs_value and place < len(words):
            read[-1] = (read[-1][0], _spell_path(words[place]))
            place += 1
        flags += read
    return flags, arguments


def _read_flag(word: str, name: str, with_values: frozenset[str]) -> tuple[list[Flag], bool]:
    """The flags in one word, and whether the next word is the last one's value."""
    if word.startswith("--"):
        flag, equals, value = word.partition("=")
        return [(flag, _spell_path(value) if equals else None)], not equals and flag in with_values
    if word in with_values:
        return [(word, None)], True
    if name in _WHOLE_FLAGS:
        return [(word, None)], False
    if name in _COUNTS and word[1:].isdigit():
        return [("-n", word[1:])], False
    if word[:2] in with_values:
        return [(word[:2], _spell_path(word[2:]))], False
    if not word[1:].isalpha():
        return [(word, None)], False
    flags: list[Flag] = [(f"-{letter}", None) for letter in word[1:]]
    return flags, flags[-1][0] in with_values


def _spell_path(word: str) -> str:
    """A path without ``./``, doubled and closing slashes; other words as they are."""
    if "/" not in word or "://" in word or re.search(r"[\s$]", word):
        return word
    is_local = word.startswith("./")
    spelled = re.sub(r"/{2,}", "/", re.sub(r"(?<=/)(?:\./)+", "", word))
    while is_local and spelled.startswith("./") and len(spelled) > 2:
        spelled = spelled[2:]
    return spelled.rstrip("/") or "/"


def _spell_redirections(words: Sequence[str]) -> list[str]:
    """In one spelling; all in one where their order counts: ``>f 2>&1`` is not ``2>&1 >f``."""
    spelled = [_spell_redirection(word) for word in words]
    is_ordered = any(re.match(r"\d*[<>]&", word) for word in words)
    return [" ".join(spelled)] if is_ordered else spelled


def _spell_redirection(word: str) -> str:
    operator = re.match(r"\d*(?:&>>|&>|>>|>&|>\||<&|<<<|<>|<|>)?", word)
    length = operator.end() if operator else 0
    return word[:length] + _spell_path(word[length:])
