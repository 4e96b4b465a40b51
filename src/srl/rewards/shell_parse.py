r"""A shell text -> its commands, in the order in which they stand; read by tree-sitter's grammar of bash, never run.

    cd /tmp && A=1 grep -rn "foo bar" . > out    ->    cd [/tmp]
                                                       && A=1 grep [-rn, foo bar, .] > out

The structure around commands becomes commands of its own: ``for``, ``if``, ``while``, ``case``, ``(`` and ``{`` with
the words of their heads as arguments, ``done``, ``fi`` and so on where they end. Quotes and backslashes are taken away
from words; what is substituted (``$x``, ``$(date)``) stays as it is written.

The decision a reader would question: one flat list, and not a tree. It is compared by aligning commands in order, which
a tree would make no better for the short lines that agents write, and it cannot be nested too deep.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from srl.rewards.extras import import_extra

MAX_PARSED_CHARACTERS = 8_000
"""Longer texts are not parsed: on hostile ones, such as a thousand pipes, the parser's time and memory grow with the
square. The longest of 3,143 real agent actions has 4,401 characters."""

_Node = Any  # tree_sitter.Node; the library is optional

_CONNECTORS = {"&&": "&&", "||": "||", "|": "|", "|&": "|&", "&": "&", ";": ";", "\n": ";", ";;": ";"}
_KEYWORDS = frozenset({
    "for", "while", "until", "if", "elif", "else", "case", "select", "function", "(", "{", "!", "time", "done",
    "fi", "esac", ")", "}",
})  # fmt: skip
_IGNORED = frozenset({"in", "do", "then", "((", "))", "comment", "heredoc_start", "heredoc_end"})
_WALKED = frozenset({
    "program", "list", "pipeline", "redirected_statement", "negated_command", "subshell", "compound_statement",
    "do_group", "else_clause", "elif_clause", "for_statement", "c_style_for_statement", "while_statement",
    "if_statement", "case_statement", "variable_assignments",
})  # fmt: skip
_HEADED = {"function_definition": "function", "case_item": "in"}
_IN_PIECES = frozenset({"declaration_command", "unset_command", "test_command"})
_REDIRECTS = frozenset({"file_redirect", "herestring_redirect", "heredoc_redirect"})
_ESCAPED_IN_QUOTES = re.compile(r'\\(["\\$`])|\\\n')
_ESCAPED = re.compile(r"\\\n|\\(.)", re.DOTALL)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_BRACED = re.compile(r"\$\{(\w+)\}")


@dataclass(kw_only=True, slots=True)
class Command:
    """One command as it is written."""

    connector: str = ""
    """What stands before it: "&&", "||", "|", ";" ...; "" for the first."""
    words: list[str] = field(default_factory=list[str])
    """Program and arguments without their quotes; empty where there are only assignments or redirections."""
    assignments: list[str] = field(default_factory=list[str])
    """``A=1`` before the program."""
    redirections: list[str] = field(default_factory=list[str])
    """Descriptor, operator and target, for instance "2>&1" or ">out"."""
    texts: list[str] = field(default_factory=list[str])
    """Bodies of here-documents."""


def parse_shell(text: str) -> list[Command] | None:
    """The commands of a text, None where it does not parse or is too long. Raises ConfigError without the parser.

    >>> [command.words for command in parse_shell("ls -l 'a b' && cat ./x")]
    [['ls', '-l', 'a b'], ['cat', './x']]
    """
    if len(text) > MAX_PARSED_CHARACTERS or "\0" in text:
        return None
    # tree-sitter-bash 0.25 classifies characters with C's isdigit and the like, which are undefined beyond 255 and end
    # the process there. To bash they are letters of a word; and in ASCII, bytes are characters.
    root: _Node = _new_parser().parse(_NOT_ASCII.sub("x", text).encode("ascii")).root_node
    if root.has_error:
        return None
    reader = _Reader(text)
    reader.walk(root)
    return reader.commands


def _new_parser() -> Any:
    """A parser of its own for each text: threads must not share one, and it costs a microsecond."""
    library, language = _grammar()
    return library.Parser(language)


@cache
def _grammar() -> tuple[Any, Any]:
    library = import_extra("tree_sitter", extra="similarities")
    grammar = import_extra("tree_sitter_bash", extra="similarities")
    return library, library.Language(grammar.language())


class _Reader:
    """Goes through the tree with a stack of its own and appends to ``commands``."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.commands: list[Command] = []
        self.connector = ""

    def walk(self, root: _Node) -> None:
        waiting: list[_Node] = [root]
        while waiting:
            waiting += reversed(self.visit(waiting.pop()))
        if self.connector == "&" and self.commands:  # in the background
            self.commands[-1].redirections.append("&")

    def visit(self, node: _Node) -> list[_Node]:
        """Read one node; returns the nodes that come next."""
        kind: str = node.type
        if kind in _HEADED:  # their brackets enclose no commands
            self.start([_HEADED[kind]])
            return [child for child in node.children if child.type not in ("function", "(", ")")]
        if kind in _WALKED:
            return list(node.children)
        if kind == "heredoc_redirect":
            return self.add_document(node)
        if kind in _CONNECTORS:
            self.connector = _CONNECTORS[kind]
        elif kind not in _IGNORED:
            self.add(node, kind)
        return []

    def add(self, node: _Node, kind: str) -> None:
        if kind == "command":
            self.add_command(node)
        elif kind in _REDIRECTS:
            self.add_redirection(node)
        elif kind in _IN_PIECES:
            self.start([self.read(piece) for piece in _pieces(node)])
        elif kind == "variable_assignment":
            self.start([]).assignments.append(self.read(node))
        elif kind in _KEYWORDS or not self.commands:
            self.start([self.read(node)])
        else:  # the head of a loop, a case or a function
            self.commands[-1].words.append(self.read(node))

    def start(self, words: list[str]) -> Command:
        connector = (self.connector or ";") if self.commands else ""
        self.commands.append(Command(connector=connector, words=words))
        self.connector = ""
        return self.commands[-1]

    def add_command(self, node: _Node) -> None:
        command = self.start([])
        for child in node.children:
            if child.type == "variable_assignment":
                command.assignments.append(self.read(child))
            elif child.type in _REDIRECTS:
                self.add_redirection(child)
            else:
                command.words.append(self.read(child.children[0] if child.type == "command_name" else child))

    def add_redirection(self, node: _Node) -> None:
        if not self.commands:
            self.start([])
        target = "".join(self.read(child) for child in node.children)
        self.commands[-1].redirections.append(target)

    def add_document(self, node: _Node) -> list[_Node]:
        """The body belongs to the command before it; commands after the mark on the same line come back."""
        if not self.commands:
            self.start([])
        others: list[_Node] = []
        for child in node.children:
            if child.type == "heredoc_body":
                self.commands[-1].texts.append(self.text(child))
            elif child.type in _REDIRECTS:
                self.add_redirection(child)
            elif child.type not in ("<<", "<<-"):
                others.append(child)
        return others

    def text(self, node: _Node) -> str:
        return self.source[node.start_byte : node.end_byte]

    def read(self, node: _Node) -> str:
        """A word or an assignment without quotes."""
        if node.type == "variable_assignment":
            return "".join(self.read_word(child) for child in node.children)
        return self.read_word(node)

    def read_word(self, node: _Node) -> str:
        if node.type == "concatenation":
            return "".join(self.read_simple(child) for child in node.children)
        return self.read_simple(node)

    def read_simple(self, node: _Node) -> str:
        text = self.text(node)
        if node.type == "raw_string":
            return text[1:-1]
        if node.type == "string":
            return _BRACED.sub(r"$\1", _ESCAPED_IN_QUOTES.sub(r"\1", text[1:-1]))
        if node.type == "word":
            return _ESCAPED.sub(r"\1", text)
        return _BRACED.sub(r"$\1", text.strip())


def _pieces(node: _Node) -> Iterator[_Node]:
    """The words of an ``export`` or a ``[``, each whole."""
    waiting: list[_Node] = [node]
    while waiting:
        piece = waiting.pop()
        is_split = piece is node or piece.type.endswith("_expression")
        if is_split and piece.children:
            waiting += reversed(piece.children)
        else:
            yield piece
