"""The problems of benchmarks in memory -> which of them a training problem is.

Three ways to be found: *exact*, the same after normalisation; *fuzzy*, much of the same wording and the same numbers;
*variant*, the same wording with other numbers, which is another problem and is reported but not counted as overlap.

Similarity is the larger of two exact numbers in [0, 1]. Dice's coefficient of the sets of three-word runs,
2|A∩B| / (|A|+|B|), finds rewording; containment of the eight-word runs, |A∩B| / min(|A|, |B|), finds a problem inside a
longer text. The decision a reader would question: no MinHash here. Benchmarks are small, so an inverted index of all
their three-word runs fits into memory, is as fast, and missed none of the pairs that brute force finds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

from srl.errors import DataError
from srl.overlap.sources import SourceProblem, read_problems
from srl.overlap.text import Gram, NormalProblem, grams, normalise, numbers_agree
from srl.types import DroppedRow, Source

FUZZY_THRESHOLD = 0.5
"""Similarity from which two problems are the same. On the real files listed in docs/overlap.md, different problems
with the same numbers stay below 0.5 unless they share a long premise."""
SHORT_GRAM, LONG_GRAM = 3, 8
_WHOLE_BELOW = 16
"""Shorter problems must stand whole in the other text: half of their eight-word runs may be one common phrase."""
_CANDIDATE_SHARE = 0.75
"""Containment of the three-word runs, as a share of the threshold, from which a pair is compared in full."""


class OverlapKind(StrEnum):
    """How a training problem and a benchmark's problem resemble each other."""

    EXACT = "exact"
    """The same after normalisation."""
    FUZZY = "fuzzy"
    """Similarity at least the threshold, and all numbers of one stand in the other."""
    VARIANT = "variant"
    """Similarity at least the threshold, but other numbers: another problem of the same wording."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """A benchmark's problem that a training problem resembles."""

    kind: OverlapKind
    """How."""
    similarity: float
    """In [0, 1]; 1 for exact ones."""
    benchmark: str
    """The benchmark's source as it was named."""
    problem_id: str
    """The problem's id there."""
    source: Source
    """File and row there."""
    problem: str
    """The benchmark's problem as written."""


@dataclass(frozen=True, slots=True)
class _Entry:
    benchmark: str
    item: SourceProblem
    words: tuple[str, ...]
    telling_words: tuple[str, ...]
    num_short_grams: int


class ProblemIndex:
    """Benchmark problems that training problems are looked up in. Plain data inside, so worker processes can have it.

    >>> index = ProblemIndex()
    >>> bench = SourceProblem(problem_id="7", problem="What is $3+4$?", source=Source(file="bench.jsonl", row=0))
    >>> index.add("bench.jsonl", bench)
    >>> [index.find(problem) is not None for problem in ("Compute 3 + 4.", "What is 3+5?")]
    [True, False]
    """

    def __init__(self, *, threshold: float = FUZZY_THRESHOLD) -> None:
        if not 0 < threshold <= 1:
            raise DataError(f"threshold {threshold} is not in (0, 1]")
        self._threshold = threshold
        self._entries: list[_Entry] = []
        self._by_key: dict[str, list[int]] = {}
        self._by_content: dict[str, list[int]] = {}
        self._by_gram: dict[Gram, list[int]] = {}

    def __len__(self) -> int:
        """Number of benchmark problems."""
        return len(self._entries)

    @property
    def sizes(self) -> Mapping[str, int]:
        """Number of problems by benchmark."""
        return Counter(entry.benchmark for entry in self._entries)

    def add(self, benchmark: str, item: SourceProblem) -> None:
        """One more problem. A text without a single word or number matches nothing."""
        form = normalise(item.problem)
        number, words = len(self._entries), form.telling_words
        short = grams(words, SHORT_GRAM)
        self._entries.append(_Entry(benchmark, item, form.words, words, len(short)))
        if form.words:
            self._by_key.setdefault(form.key, []).append(number)
        if form.content:
            self._by_content.setdefault(form.content, []).append(number)
        if len(words) >= LONG_GRAM:
            for gram in short:
                self._by_gram.setdefault(gram, []).append(number)

    def find(self, problem: str) -> Overlap | None:
        """The benchmark problem that ``problem`` is, exact before fuzzy and then the most similar; never a variant."""
        best = next(iter(self.find_all(problem)), None)
        return None if best is None or best.kind is OverlapKind.VARIANT else best

    def find_all(self, problem: str) -> list[Overlap]:
        """Every benchmark problem that ``problem`` resembles: exact, fuzzy, variants, each by falling similarity."""
        form = normalise(problem)
        found = {number: (OverlapKind.EXACT, 1.0) for number in self._by_key.get(form.key, ()) if form.words}
        for number in self._by_content.get(form.content, ()) if form.content else ():
            found.setdefault(number, (OverlapKind.FUZZY, 1.0))
        for number, (kind, similarity) in self._fuzzy(form).items():
            found.setdefault(number, (kind, similarity))
        rank = {kind: place for place, kind in enumerate(OverlapKind)}
        ordered = sorted(found.items(), key=lambda hit: (rank[hit[1][0]], -hit[1][1], hit[0]))
        return [self._overlap(number, kind, similarity) for number, (kind, similarity) in ordered]

    def _fuzzy(self, form: NormalProblem) -> dict[int, tuple[OverlapKind, float]]:
        words = form.telling_words
        if len(words) < LONG_GRAM:
            return {}
        short = grams(words, SHORT_GRAM)
        shared = Counter(chain.from_iterable([self._by_gram[gram] for gram in short if gram in self._by_gram]))
        found: dict[int, tuple[OverlapKind, float]] = {}
        least = _CANDIDATE_SHARE * self._threshold
        for number, num_shared in shared.items():
            entry = self._entries[number]
            if num_shared < least * min(len(short), entry.num_short_grams):
                continue
            dice = 2 * num_shared / (len(short) + entry.num_short_grams)
            similarity = max(dice, containment(words, entry.telling_words))
            if similarity >= self._threshold:
                kind = OverlapKind.FUZZY if numbers_agree(form.words, entry.words) else OverlapKind.VARIANT
                found[number] = (kind, similarity)
        return found

    def _overlap(self, number: int, kind: OverlapKind, similarity: float) -> Overlap:
        entry = self._entries[number]
        return Overlap(
            kind=kind,
            similarity=similarity,
            benchmark=entry.benchmark,
            problem_id=entry.item.problem_id,
            source=entry.item.source,
            problem=entry.item.problem,
        )


def build_index(
    benchmarks: Iterable[str], *, threshold: float = FUZZY_THRESHOLD, problem_field: str = ""
) -> tuple[ProblemIndex, list[DroppedRow]]:
    """An index of all problems of the benchmarks, and their rows without one.

    Raises DataError if a benchmark cannot be read or has no problem at all.
    """
    index, dropped = ProblemIndex(threshold=threshold), list[DroppedRow]()
    for benchmark in benchmarks:
        before, dropped_before = len(index), len(dropped)
        for item in read_problems(benchmark, problem_field=problem_field):
            if isinstance(item, DroppedRow):
                dropped.append(item)
            else:
                index.add(benchmark, item)
        if len(index) == before:
            why = f"its first row: {dropped[dropped_before].detail}" if len(dropped) > dropped_before else "it is empty"
            raise DataError(f"{benchmark} has no problem to compare with ({why})")
    return index, dropped


def containment(one: tuple[str, ...], other: tuple[str, ...]) -> float:
    """Share of the eight-word runs of the shorter problem that stand in the other; below sixteen words all or none.

    >>> containment(("a",) * 8, ("b", *("a",) * 8)), containment(("a",) * 7, ("a",) * 9)
    (1.0, 0.0)
    """
    first, second = grams(one, LONG_GRAM), grams(other, LONG_GRAM)
    smaller = min(len(first), len(second))
    if not smaller:
        return 0.0
    share = len(first & second) / smaller
    return 0.0 if share < 1 and min(len(one), len(other)) < _WHOLE_BELOW else share
