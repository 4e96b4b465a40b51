"""(prompt, completion) pairs -> one row of tokens in which every shared beginning stands once.

The prompts of a batch form a tree: G completions hang on one prompt, and the prompts of one trajectory, each an
earlier context with a little text after it, branch off the longest one. A node of the tree is a run of tokens; it sees
itself up to the present token, and of each of its ancestors the part before the branch. Nodes are laid out parents
first and, among the children of a node, those that branch off latest first. So the tokens that see token j are always
one interval [j, visible_until[j]), and attention is a handful of dense blocks:

    self block      (start, end)                        the tokens of a node among themselves, causal
    prefix block    (start, end, key_start, key_end)    children and all below them, on what they see of their parent

The decision a reader would question: completions share nothing with each other, also where they begin alike. At
temperature 1 they part within a few tokens, and a branch costs more than these save.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

MIN_SHARED = 16
"""Prompts that begin with fewer common tokens than this are not joined: a branch costs more than they would save."""

Ids = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(eq=False, slots=True)
class Node:
    """A run of tokens that stand in no other node."""

    tokens: Ids
    """The run, at least one token."""
    parent: Node | None
    """What it continues; None for the beginning of a sequence."""
    num_visible: int
    """It sees the first so many tokens of its parent, and what the parent sees of its own ancestors."""
    position: int
    """Of its first token within the sequence."""
    children: list[Node] = field(default_factory=list["Node"])
    start: int = -1
    """Of its first token within the packed row."""
    end: int = -1
    """Behind the last token of everything below it."""

    @property
    def own_end(self) -> int:
        """Behind its own last token."""
        return self.start + len(self.tokens)


@dataclass(frozen=True, kw_only=True)
class PackedRows:
    """Sequences as one row of N tokens."""

    token_ids: Ids
    """[N]"""
    positions: Ids
    """[N] of each token within its sequence, from 0."""
    visible_until: Ids
    """[N] token j is seen by the tokens j <= i < visible_until[j] and by no other."""
    self_blocks: list[tuple[int, int]]
    """(start, end) of every node."""
    prefix_blocks: list[tuple[int, int, int, int]]
    """(start, end, key_start, key_end): the tokens start..end see all of key_start..key_end."""
    paths: list[list[tuple[int, int]]]
    """Of each pair the ranges of the row that make up its prompt, in order."""
    predictors: list[Ids]
    """Of each pair, for every token of its completion, the place of the token before it, which predicts it."""

    @property
    def num_tokens(self) -> int:
        """N, the tokens of the row."""
        return len(self.token_ids)


def pack(pairs: Sequence[tuple[Sequence[int], Sequence[int]]], *, across_prompts: bool = True) -> PackedRows:
    """Pack (prompt, completion) pairs; prompts have at least one token, completions may be empty.

    ``across_prompts``: False shares a prompt among its own completions only.
    """
    roots: dict[tuple[int, tuple[int, ...]], Node] = {}
    ends: dict[tuple[int, ...], tuple[Node, int]] = {}
    # Longest first: whatever comes later can only branch off, never continue behind the end of a node.
    for prompt in sorted({tuple(prompt) for prompt, _ in pairs}, key=lambda prompt: (-len(prompt), prompt)):
        ends[prompt] = _insert(roots, np.array(prompt, dtype=np.int64), joins=across_prompts)
    leaves = [_hang(*ends[tuple(prompt)], completion) for prompt, completion in pairs]
    nodes = _lay_out(list(roots.values()))
    num_tokens = sum(len(node.tokens) for node in nodes)
    until = np.empty(num_tokens, dtype=np.int64)
    for node in nodes:
        until[node.start : node.own_end] = node.own_end
        for child in node.children:  # those that branch off latest come first, so the last writer is the right one
            until[node.start : node.start + child.num_visible] = child.end
    paths = [_path(*ends[tuple(prompt)]) for prompt, _ in pairs]
    return PackedRows(
        token_ids=np.concatenate([node.tokens for node in nodes]),
        positions=np.concatenate([np.arange(node.position, node.position + len(node.tokens)) for node in nodes]),
        visible_until=until,
        self_blocks=[(node.start, node.own_end) for node in nodes],
        prefix_blocks=[block for node in nodes for block in _prefix_blocks(node)],
        paths=paths,
        predictors=[_predictors(path, leaf) for path, leaf in zip(paths, leaves, strict=True)],
    )


def num_new_tokens(tokens: Sequence[int], previous: Sequence[int]) -> int:
    """Tokens that a prompt adds to a pack whose last prompt is ``previous``, prompts added in sorted order."""
    if tokens == previous:
        return 0
    shared = _num_shared(np.asarray(tokens), np.asarray(previous))
    return len(tokens) - (shared if shared >= MIN_SHARED else 0)


def _insert(roots: dict[tuple[int, tuple[int, ...]], Node], tokens: Ids, *, joins: bool) -> tuple[Node, int]:
    """Add a prompt; returns the node in which it ends and how many tokens of that node it has."""
    parent: Node | None = None
    branches, offset, position = roots, 0, 0
    needed = MIN_SHARED  # to begin where another prompt begins; whoever has that many shares all there is to share
    while True:
        key = (offset, tuple(tokens[position : position + needed].tolist()))
        if not joins:
            key = (len(roots), key[1])  # a key of its own
        node = branches.get(key)
        if node is None:
            node = Node(tokens=tokens[position:], parent=parent, num_visible=offset, position=position)
            branches[key] = node
            if parent is not None:
                parent.children.append(node)
            return node, len(node.tokens)
        offset = _num_shared(node.tokens, tokens[position:])
        position += offset
        if position == len(tokens):
            return node, offset
        # What shares more than this with the prompt branches off the node at this very place.
        parent, needed = node, 1
        branches = {(child.num_visible, tuple(child.tokens[:needed].tolist())): child for child in node.children}


def _num_shared(one: Ids, other: Ids) -> int:
    length = min(len(one), len(other))
    differs = one[:length] != other[:length]
    return int(differs.argmax()) if differs.any() else length


def _hang(node: Node, length: int, completion: Sequence[int]) -> Node | None:
    if not completion:
        return None
    leaf = Node(
        tokens=np.array(completion, dtype=np.int64), parent=node, num_visible=length, position=node.position + length
    )
    node.children.append(leaf)
    return leaf


def _lay_out(roots: Sequence[Node]) -> list[Node]:
    """Give every node its place; returns them in the order of the row."""
    nodes: list[Node] = []
    waiting = list(reversed(roots))
    place = 0
    while waiting:
        node = waiting.pop()
        node.start, place = place, place + len(node.tokens)
        node.end = place
        node.children.sort(key=lambda child: -child.num_visible)
        waiting += reversed(node.children)
        nodes.append(node)
    for node in reversed(nodes):
        if node.parent is not None:
            node.parent.end = max(node.parent.end, node.end)
    return nodes


def _prefix_blocks(node: Node) -> list[tuple[int, int, int, int]]:
    """One block for every run of children that see the same part of the node."""
    blocks: list[tuple[int, int, int, int]] = []
    for child in node.children:
        key_end = node.start + child.num_visible
        if blocks and blocks[-1][3] == key_end:
            blocks[-1] = (blocks[-1][0], child.end, node.start, key_end)
        else:
            blocks.append((child.start, child.end, node.start, key_end))
    return blocks


def _path(node: Node, length: int) -> list[tuple[int, int]]:
    path = [(node.start, node.start + length)]
    while node.parent is not None:
        path.append((node.parent.start, node.parent.start + node.num_visible))
        node = node.parent
    return path[::-1]


def _predictors(path: Sequence[tuple[int, int]], leaf: Node | None) -> Ids:
    if leaf is None:
        return np.empty(0, dtype=np.int64)
    return np.concatenate([[path[-1][1] - 1], np.arange(leaf.start, leaf.own_end - 1)])
