r"""Two steps of mathematics -> how much of their formulas is the same mathematics, and of their prose the same text.

The formulas of both texts (``srl.rewards.formula_text``) are taken apart into statements in one spelling
(``srl.rewards.latex``) and matched, each with at most one of the other text, in any order:

    similarity = m F + (1 - m) S

F is the share of matched statements and S the sequence similarity of what is left when the formulas are taken out; m is
the share of the mathematics, and at least ``MIN_MATH_SHARE``. Both shares are of words (``srl.rewards.words``) in both
texts together. Without any formula the similarity is S, without prose it is F; two texts without a word are 1.

Two statements match, by the first of these that applies:

1. as text in one spelling, the sides of an equation in either order;
2. side by side as text or number, a decimal with the tolerance of ``srl.rewards.numbers``;
3. where math-verify takes them for equal: ``2(x+1)`` and ``2x+2``, ``y = 2x + 1`` and ``y - 1 = 2x``. It is asked only
   about statements over the same letters that it can read as a whole and that agree at a few points
   (``srl.rewards.latex_values``), and never whether two true equations without letters are both true: there, both sides
   must be worked from the same numbers.

A statement that does not match earns nothing, however alike it looks: a wrong number makes an equation wrong. That is
the decision a reader would question, for it makes the reward less dense; prose and the other formulas still count.

Pairs that math-verify could not compare in time leave the reward open only if it depends on them: then it is Ungraded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from srl.errors import RewardError
from srl.rewards.formula_text import split_formulas
from srl.rewards.grading import shared_grader
from srl.rewards.latex import SYMMETRIC, Statement, read_statements
from srl.rewards.latex_values import agree, are_proportional, is_zero, minus
from srl.rewards.numbers import numbers_match
from srl.rewards.similarity import bounded_similarities
from srl.rewards.words import split_words
from srl.types import Ungraded

MIN_MATH_SHARE = 0.5
"""A wrong result at the end of a long sentence costs half. Higher values rank the pairs of benchmarks/similarities.py
better still, and leave fewer different rewards."""
MAX_STATEMENTS = 200
"""Statements of one text that are compared; those after them count as unmatched."""
MAX_QUESTIONS = 12
"""Pairs of statements of one pair of texts that math-verify is asked about; the others count as different."""

Question = tuple[str, str]
"""Two formulas for math-verify: (the action's, the target's)."""
Edge = tuple[int, int, tuple[Question, ...]]
"""Two statements by their places, and the questions that must all be answered with yes."""


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """A text taken apart."""

    statements: tuple[Statement, ...]
    prose: str
    num_words: int
    """Of the prose."""
    size: int
    """Of all statements, in words, those beyond MAX_STATEMENTS included."""


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """Two readings, as far as they can be compared without math-verify."""

    action: _Reading
    target: _Reading
    certain: tuple[tuple[int, int], ...]
    """Statements that match as text."""
    edges: tuple[Edge, ...]
    """Statements that may match; without questions they do."""


class MathSimilarity:
    """The formula above; cheapest for many pairs at once, whose questions go to math-verify together."""

    def __init__(self, *, deadline_seconds: float = 5.0) -> None:
        """``deadline_seconds``: what math-verify takes longer to compare is ungraded."""
        self.deadline_seconds = deadline_seconds

    def __call__(self, action: str, target: str) -> float:
        """The similarity of one action. Raises RewardError where it is ungraded."""
        (similarity,) = self.many([(action, target)])
        if isinstance(similarity, Ungraded):
            raise RewardError(
                f"two formulas could not be compared ({similarity.reason}); call many() to leave them out"
            )
        return similarity

    def many(self, pairs: Sequence[tuple[str, str]]) -> list[float | Ungraded]:
        """The similarities of many pairs. Raises RewardError where math-verify does not work."""
        compared = {pair: _compare(*pair) for pair in dict.fromkeys(pairs) if pair[0] != pair[1]}
        questions = list(
            dict.fromkeys(
                question for comparison in compared.values() for edge in comparison.edges for question in edge[2]
            )
        )
        graded = shared_grader(deadline_seconds=self.deadline_seconds).match_many(questions) if questions else []
        answers = dict(zip(questions, graded, strict=True))
        prose = bounded_similarities([(each.action.prose, each.target.prose) for each in compared.values()])
        results: dict[tuple[str, str], float | Ungraded] = {
            pair: _score(comparison, answers, similarity)
            for (pair, comparison), similarity in zip(compared.items(), prose, strict=True)
        }
        return [results.get(pair, 1.0) for pair in pairs]


@lru_cache(maxsize=4096)  # a group's rollouts share their target, and often their actions
def _read(text: str) -> _Reading:
    formulas, prose = split_formulas(text)
    statements: list[Statement] = []
    num_left_out = 0
    for formula in formulas:
        if len(statements) < MAX_STATEMENTS:
            statements += read_statements(formula)
        else:
            num_left_out += len(split_words(formula))
    prose = " ".join(prose.replace("**", " ").split())
    return _Reading(
        statements=tuple(statements[:MAX_STATEMENTS]),
        prose=prose,
        num_words=len(split_words(prose)),
        size=sum(statement.num_words for statement in statements) + num_left_out,
    )


def _compare(action: str, target: str) -> _Comparison:
    found, expected = _read(action), _read(target)
    places: dict[tuple[str, ...], list[int]] = {}
    for place, statement in enumerate(expected.statements):
        places.setdefault(statement.key, []).append(place)
    certain: list[tuple[int, int]] = []
    for place, statement in enumerate(found.statements):
        if places.get(statement.key):
            certain.append((place, places[statement.key].pop(0)))
    used = {place for place, _ in certain}, {place for _, place in certain}
    edges: list[Edge] = []
    num_questions = 0
    for place, other_place in _pairs_left(found, expected, used):
        one, other = found.statements[place], expected.statements[other_place]
        if _match_by_side(one, other):
            edges.append((place, other_place, ()))
        elif num_questions < MAX_QUESTIONS and (questions := _questions(one, other)):
            edges.append((place, other_place, questions))
            num_questions += 1
    return _Comparison(action=found, target=expected, certain=tuple(certain), edges=tuple(edges))


def _pairs_left(found: _Reading, expected: _Reading, used: tuple[set[int], set[int]]) -> Iterator[tuple[int, int]]:
    """Places of statements that have no partner yet and the same relation."""
    for place, statement in enumerate(found.statements):
        if place in used[0]:
            continue
        for other_place, other in enumerate(expected.statements):
            if other_place not in used[1] and other.relation == statement.relation:
                yield place, other_place


def _orders(one: Statement) -> list[tuple[int, ...]]:
    """The orders in which its sides may be compared with another statement's."""
    straight = tuple(range(len(one.sides)))
    return [straight, straight[::-1]] if one.relation in SYMMETRIC else [straight]


def _match_by_side(one: Statement, other: Statement) -> bool:
    return any(all(_same_side(one, mine, other, theirs) for theirs, mine in enumerate(order)) for order in _orders(one))


def _same_side(one: Statement, mine: int, other: Statement, theirs: int) -> bool:
    if one.texts[mine] == other.texts[theirs]:
        return True
    found, expected = one.numbers[mine], other.numbers[theirs]
    return found is not None and expected is not None and numbers_match(found, expected)


def _questions(one: Statement, other: Statement) -> tuple[Question, ...]:
    """What math-verify must say yes to for the two to match; () where they are different without asking."""
    if one.letters != other.letters or not (one.is_comparable and other.is_comparable):
        return ()
    if len(one.sides) == 1:
        both_numbers = one.numbers[0] is not None and other.numbers[0] is not None
        return ((one.text, other.text),) if not both_numbers and agree(one.values[0], other.values[0]) else ()
    difference, other_difference = minus(*one.values), minus(*other.values)
    if one.letters and not (is_zero(difference) and is_zero(other_difference)):
        return ((one.text, other.text),) if are_proportional(difference, other_difference) else ()
    if one.literals != other.literals:
        return ()
    for order in _orders(one):  # both are true whatever the letters are: what matters is what their sides say
        if all(agree(one.values[mine], other.values[theirs]) for theirs, mine in enumerate(order)):
            return tuple(
                (one.sides[mine], other.sides[theirs])
                for theirs, mine in enumerate(order)
                if not _same_side(one, mine, other, theirs)
            )
    return ()


def _score(
    comparison: _Comparison, answers: Mapping[Question, bool | Ungraded], prose_similarity: float
) -> float | Ungraded:
    sure = [edge for edge in comparison.edges if all(answers[question] is True for question in edge[2])]
    possible = [edge for edge in comparison.edges if all(answers[question] is not False for question in edge[2])]
    lowest = _similarity(comparison, sure, prose_similarity)
    if len(possible) == len(sure) or _similarity(comparison, possible, prose_similarity) == lowest:
        return lowest
    return next(
        answer for edge in possible for question in edge[2] if isinstance(answer := answers[question], Ungraded)
    )


def _similarity(comparison: _Comparison, edges: Sequence[Edge], prose_similarity: float) -> float:
    found, expected = comparison.action, comparison.target
    num_words = found.num_words + expected.num_words
    size = found.size + expected.size
    if not size:
        return prose_similarity
    matched = sum(
        found.statements[place].num_words + expected.statements[other_place].num_words
        for place, other_place in [*comparison.certain, *_match(edges)]
    )
    share = max(MIN_MATH_SHARE, size / (size + num_words)) if num_words else 1.0
    return min(1.0, share * (matched / size) + (1.0 - share) * prose_similarity)


def _match(edges: Sequence[Edge]) -> list[tuple[int, int]]:
    """As many pairs as can be made of the edges with each place used once (augmenting paths)."""
    neighbours: dict[int, list[int]] = {}
    for place, other_place, _ in edges:
        neighbours.setdefault(place, []).append(other_place)
    partner: dict[int, int] = {}

    def find_partner(place: int, seen: set[int]) -> bool:
        for other_place in neighbours[place]:
            if other_place not in seen:
                seen.add(other_place)
                if other_place not in partner or find_partner(partner[other_place], seen):
                    partner[other_place] = place
                    return True
        return False

    for place in neighbours:
        find_partner(place, set())
    return [(place, other_place) for other_place, place in partner.items()]
