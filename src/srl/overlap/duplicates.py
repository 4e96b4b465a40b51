"""Problems one after the other -> for each the earlier one that it repeats, if any; one pass, nothing read twice.

Two problems are near-duplicates if they are the same after normalisation, or if they have the same *frame* and the
Jaccard similarity |A∩B| / |A∪B| of their three-word runs is at least 0.8. The frame is the sequence of all numbers,
signs and deciding words ("largest", "even", "not"): "What is 3+4" and "What is 3+5" are two problems however much else
they share.

Candidates come from MinHash signatures (datasketch) with the frame mixed in, so that problems with different frames
never meet, and are compared in full. The decision a reader would question: the tables of bands are our own and not
datasketch's MinHashLSH, which keeps a set object per band and problem and needs 2.8 KB where all of this needs 1 KB.
"""

from __future__ import annotations

import hashlib
import zlib
from array import array
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from srl.errors import DataError
from srl.overlap.index import SHORT_GRAM, OverlapKind
from srl.overlap.text import NormalProblem, grams, normalise

DUPLICATE_THRESHOLD = 0.8
"""Jaccard similarity from which two problems of the same frame are one."""
_NUM_BANDS = 8
"""Bands of two values each: a pair of similarity 0.8 becomes a candidate with probability 1 - (1 - 0.64)^8 = 0.9997,
one of similarity 0.1 with 0.08."""
_MIN_WORDS = 8
"""Shorter problems are near-duplicates only if they are the same, or have the same content words."""

# Words of which another one makes another problem, in a text that is otherwise the same.
_DECIDING = frozenset(
    {
        "maximum", "minimum", "largest", "smallest", "greatest", "least", "most", "fewest", "longest",
        "shortest", "maximize", "minimize", "more", "less", "fewer", "larger", "smaller", "greater", "sum",
        "product", "difference", "quotient", "ratio", "even", "odd", "prime", "composite", "positive",
        "negative", "area", "perimeter", "circumference", "volume", "surface", "radius", "diameter", "inside",
        "outside", "increasing", "decreasing", "increases", "decreases", "not", "no", "never", "without",
        "except", "distinct", "indistinguishable", "first", "second", "third", "last", "before", "after",
        "above", "below", "left", "right", "sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "mean",
        "median", "mode", "range", "numerator", "denominator", "lcm", "gcd", "row", "column", "horizontal",
        "vertical", "real", "imaginary", "magnitude", "length", "width", "height",
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class NearDuplicate:
    """That a problem repeats an earlier one."""

    earlier_id: str
    """The id that the earlier one was checked under."""
    kind: OverlapKind
    """Exact or fuzzy."""
    similarity: float
    """Jaccard similarity of the three-word runs; 1 for exact ones."""


class NearDuplicates:
    """What has been seen so far; about 950 bytes for each different problem of 300 characters.

    >>> seen = NearDuplicates()
    >>> seen.check("a", "What is $3+4$?"), seen.check("b", "What is $3+5$?"), seen.check("c", "Compute 3 + 4.")
    (None, None, 'a')
    """

    def __init__(self, *, threshold: float = DUPLICATE_THRESHOLD) -> None:
        if not 0.5 <= threshold <= 1:
            raise DataError(f"threshold {threshold} is not in [0.5, 1]; below, candidates would be missed")
        self._threshold = threshold
        self._ids: list[str] = []
        self._texts: list[bytes] = []
        self._by_key: dict[int, int] = {}
        self._bands: dict[int, int | array[int]] = {}
        self._datasketch: Any = import_module("datasketch")  # brings scipy, half a second
        self._permutations: Any = self._datasketch.MinHash(num_perm=2 * _NUM_BANDS).permutations

    def __len__(self) -> int:
        """Number of different problems."""
        return len(self._ids)

    def check(self, trajectory_id: str, problem: str) -> str | None:
        """The id of the earlier problem that this one repeats; None, and it is remembered, if it is new."""
        found = self.look_up(trajectory_id, problem)
        return None if found is None else found.earlier_id

    def look_up(self, trajectory_id: str, problem: str) -> NearDuplicate | None:
        """The same as ``check``, with kind and similarity. A text without a single word repeats nothing."""
        form = normalise(problem)
        if not form.words:
            return None
        keys = [_hash64(b"=" + form.key.encode())]
        if form.content:
            keys.append(_hash64(b"?" + form.content.encode()))
        for key, kind in zip(keys, (OverlapKind.EXACT, OverlapKind.FUZZY), strict=False):
            if key in self._by_key:
                return NearDuplicate(earlier_id=self._ids[self._by_key[key]], kind=kind, similarity=1.0)
        bands = self._bands_of(form)
        found = self._most_similar(form, bands)
        if found is None:
            self._remember(trajectory_id, form, keys, bands)
        return found

    def _most_similar(self, form: NormalProblem, bands: list[int]) -> NearDuplicate | None:
        best: tuple[float, int] | None = None
        own, frame = grams(form.words, SHORT_GRAM), _frame(form.words)
        for number in sorted(self._candidates(bands)):
            words = tuple(self._texts[number].decode().split(" "))
            if _frame(words) != frame:
                continue
            theirs = grams(words, SHORT_GRAM)
            similarity = len(own & theirs) / len(own | theirs)
            if similarity >= self._threshold and (best is None or similarity > best[0]):
                best = (similarity, number)
        if best is None:
            return None
        return NearDuplicate(earlier_id=self._ids[best[1]], kind=OverlapKind.FUZZY, similarity=best[0])

    def _candidates(self, bands: list[int]) -> set[int]:
        found = set[int]()
        for band in bands:
            numbers = self._bands.get(band)
            if isinstance(numbers, int):
                found.add(numbers)
            elif numbers is not None:
                found.update(numbers)
        return found

    def _remember(self, trajectory_id: str, form: NormalProblem, keys: list[int], bands: list[int]) -> None:
        number = len(self._ids)
        self._ids.append(trajectory_id)
        self._texts.append(" ".join(form.words).encode())
        for key in keys:
            self._by_key[key] = number
        for band in bands:
            there = self._bands.get(band)
            if there is None:
                self._bands[band] = number
            elif isinstance(there, int):
                self._bands[band] = array("L", (there, number))
            else:
                there.append(number)

    def _bands_of(self, form: NormalProblem) -> list[int]:
        """One key per band; none for problems too short to be compared by similarity."""
        if len(form.words) < _MIN_WORDS:
            return []
        start = zlib.crc32(" ".join(_frame(form.words)).encode())
        hashes = [zlib.crc32(" ".join(gram).encode(), start) for gram in grams(form.words, SHORT_GRAM)]
        sketch = self._datasketch.MinHash(
            num_perm=2 * _NUM_BANDS, permutations=self._permutations, scheme="affine32", hashfunc=int
        )
        sketch.update_batch(hashes)
        values: list[int] = sketch.hashvalues.view("u8").tolist()  # two neighbouring values are one band
        return [hash((band, value)) for band, value in enumerate(values)]


def _frame(words: tuple[str, ...]) -> tuple[str, ...]:
    """The numbers, signs and deciding words in order: what must not differ.

    >>> _frame(("the", "largest", "x", "<", "3"))
    ('largest', '<', '3')
    """
    return tuple(word for word in words if not word[0].isalpha() or word in _DECIDING)


def _hash64(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
