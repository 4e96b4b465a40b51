"""Two arrays of symbols -> Ratcliff and Obershelp's matching blocks, as difflib finds them, compiled by numba.

The longest common run first, then the same to the left and to the right of it. Of runs of equal length the one that
begins first in ``a`` is taken, and of these the one that begins first in ``b``.

A longest run is found row by row: ``runs[d]`` is the length of the common run that ends in the current row ``i`` on
diagonal ``d``, so a row is ``runs = (runs + 1) * (a[i] == b)``, which the compiler does for 32 symbols at a time as
long as all of it stays in 16 bits. (Lengths do: from SPARSE_FROM on they are counted elsewhere.) Four things keep rows
from being looked at at all, and none of them changes what is found:

- No run in a part is longer than the longest of the whole, so a search ends when it meets that length. Without it,
  periodic texts would be quadratic for every block.
- A common beginning is a run that no equally long one can beat; a common end is a lower bound.
- A search ends when too few rows are left for a longer run.
- A run longer than ``best`` covers every ``best + 1``-th row. Once ``best`` is ``SPARSE_FROM``, only these are looked
  at.

The decision a reader would question: numba, and not C. It needs no compiler where it is installed, and compiles for the
processor it runs on. The first call on a machine takes some ten seconds, later processes read numba's cache. All of it
stands in one file, because numba does not notice a change in another one that its cache depends on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Symbols = NDArray[Any]
"""A text as numbers, uint16 or uint32; two symbols are equal when their numbers are."""

SPARSE_FROM = 24
"""From this length of the best run on, one row looked at symbol by symbol costs less than the rows that it replaces."""
LANES, LANES_SHIFT = 64, 6
"""Rows are computed in multiples of this many symbols."""
NO_SYMBOL, NO_ROW = -1, -2
"""Cast to the type of the symbols: its two largest numbers, which must stand in no text."""
AUTOJUNK_FROM = 200
"""difflib ignores popular symbols of ``b`` from this length of ``b`` on."""


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` for arrays of any one type, without the interpreter's lock; compiled anew where no cache can be."""
    options: dict[str, Any] = {"nogil": True, "boundscheck": False, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # neither this folder nor the user's is there to be written
        return njit(**options)(function)


@_compiled
def _common_beginning(a: Symbols, b: Symbols) -> int:
    size = 0
    while size < len(a) and size < len(b) and a[size] == b[size]:
        size += 1
    return size


@_compiled
def _longest_on_sparse_rows(
    a: Symbols, b: Symbols, alo: int, ahi: int, blo: int, bhi: int, row: int, best: int, best_i: int, best_j: int
) -> tuple[int, int, int]:
    """The longest run that is longer than ``best`` and covers ``row`` or begins after it; else what was given."""
    while row < ahi:
        symbol = a[row]
        found, found_i, found_j = best, best_i, best_j
        for j in range(blo, bhi):
            if b[j] != symbol:
                continue
            before = 0
            while row - before > alo and j - before > blo and a[row - before - 1] == b[j - before - 1]:
                before += 1
            after = 1
            while row + after < ahi and j + after < bhi and a[row + after] == b[j + after]:
                after += 1
            size, i = before + after, row - before
            # For equal sizes j grows with j - before unless i differs, so "first in b" needs no comparison of its own.
            if size > found or (size == found and found > best and i < found_i):
                found, found_i, found_j = size, i, j - before
        best, best_i, best_j = found, found_i, found_j
        row += best + 1
    return best, best_i, best_j


@_compiled
def _seen(symbols: Symbols) -> np.uint64:
    """A set of 64 bits: a symbol whose bit (its number modulo 64) is not in it is none of ``symbols``."""
    seen = np.uint64(0)
    for symbol in symbols:
        seen |= np.uint64(1) << np.uint64(symbol & 63)
    return seen


@_compiled
def _four_rows(
    window: Symbols, width: int, a0: int, a1: int, a2: int, a3: int, runs: Symbols
) -> tuple[int, int, int, int]:
    """Go four rows on in ``runs``, by the symbols a0 to a3; returns the longest run that ends in each of them.

    Place p of ``window`` is column p - 3 for the first row and column p for the last, so that a diagonal keeps its
    place. Four rows at a time, because loading and storing ``runs`` costs as much as computing it.
    """
    first, second, third, fourth = window[:width], window[1 : width + 1], window[2 : width + 2], window[3 : width + 3]
    one, zero = runs.dtype.type(1), runs.dtype.type(0)
    longest0, longest1, longest2, longest3 = zero, zero, zero, zero
    for place in range((width >> LANES_SHIFT) << LANES_SHIFT):  # a multiple of LANES, and the compiler knows it
        size = runs.dtype.type(runs[place] + one) if first[place] == a0 else zero
        longest0 = max(longest0, size)
        size = runs.dtype.type(size + one) if second[place] == a1 else zero
        longest1 = max(longest1, size)
        size = runs.dtype.type(size + one) if third[place] == a2 else zero
        longest2 = max(longest2, size)
        size = runs.dtype.type(size + one) if fourth[place] == a3 else zero
        longest3 = max(longest3, size)
        runs[place] = size
    return longest0, longest1, longest2, longest3


@_compiled
def _beginning_in_row(a: Symbols, b: Symbols, blo: int, bhi: int, row: int, size: int) -> int:
    """Where in ``b`` the first run of ``size`` begins that ends in ``row``; there must be one."""
    for j in range(blo, bhi - size):
        if b[j + size - 1] == a[row]:
            before = 1
            while before < size and b[j + size - 1 - before] == a[row - before]:
                before += 1
            if before == size:
                return j
    return bhi - size


@_compiled
def _any_seen(seen: np.uint64, symbols: Symbols) -> bool:
    return (seen & _seen(symbols)) != 0


@_compiled
def _longest_on_all_rows(
    a: Symbols, b: Symbols, alo: int, ahi: int, blo: int, bhi: int, most: int, best: int, runs: Symbols, window: Symbols
) -> tuple[int, int, int]:
    """Length of the longest run, the row where its first occurrence ends, and the next row to look at.

    The row is -1 if none is longer than ``best``. Ends early, with rows still to look at, from SPARSE_FROM on.
    """
    height, width = ahi - alo, bhi - blo
    # Padded with a symbol that no text has: without a rest, the inner loop is all vector instructions.
    padded = ((width + 3 + LANES - 1) >> LANES_SHIFT) << LANES_SHIFT
    window[: padded + 3] = b.dtype.type(NO_SYMBOL)
    window[3 : width + 3] = b[blo:bhi]
    runs[: height + 3 + padded] = 0
    seen = _seen(b[blo:bhi])
    four = np.empty(4, a.dtype)
    best_row, last = -1, 0
    for row in range(alo, ahi, 4):
        if best >= most or last + (ahi - row) <= best:
            break  # no run can be longer, or too few rows are left for one
        if best >= SPARSE_FROM:
            return best, best_row, row
        for index in range(4):
            four[index] = a[row + index] if row + index < ahi else a.dtype.type(NO_ROW)
        if last == 0 and not _any_seen(seen, four):
            continue  # these rows are all zeros, as the one before them is
        start = ((height - 1 - (row - alo)) >> 2) << 2
        longest = _four_rows(window, padded, four[0], four[1], four[2], four[3], runs[start : start + padded])
        last = int(longest[3])
        for index in range(4):
            if longest[index] > best:
                best, best_row = int(longest[index]), row + index
    return best, best_row, ahi


@_compiled
def _longest(
    a: Symbols, b: Symbols, alo: int, ahi: int, blo: int, bhi: int, most: int, runs: Symbols, window: Symbols
) -> tuple[int, int, int]:
    """Length and place of the longest common run, the first of equals. ``most``: no run is longer than this."""
    most = min(most, ahi - alo, bhi - blo)
    best, best_i, best_j = _common_beginning(a[alo:ahi], b[blo:bhi]), alo, blo
    if best >= most:
        return best, best_i, best_j
    end = _common_beginning(a[alo:ahi][::-1], b[blo:bhi][::-1])
    if end > best and end >= SPARSE_FROM:  # that long at least; where, and whether earlier, is still to be found
        return _longest_on_sparse_rows(a, b, alo, ahi, blo, bhi, alo + end - 1, end - 1, alo, blo)
    row = alo + best
    if best < SPARSE_FROM:
        best, last_row, row = _longest_on_all_rows(a, b, alo, ahi, blo, bhi, most, best, runs, window)
        if last_row >= 0:
            best_i, best_j = last_row - best + 1, _beginning_in_row(a, b, blo, bhi, last_row, best)
    if best < most:
        best, best_i, best_j = _longest_on_sparse_rows(a, b, alo, ahi, blo, bhi, row, best, best_i, best_j)
    return best, best_i, best_j


@_compiled
def _without_popular(b: Symbols) -> Symbols:
    """``b`` with NO_SYMBOL for every symbol that makes up more than 1 % of it, as difflib counts that (autojunk)."""
    if len(b) < AUTOJUNK_FROM:
        return b
    counts = np.zeros(int(b.max()) + 1, np.int32)
    for symbol in b:
        counts[symbol] += 1
    limit = len(b) // 100 + 1
    kept = b.copy()
    for place in range(len(kept)):
        if counts[kept[place]] > limit:
            kept[place] = b.dtype.type(NO_SYMBOL)
    return kept


@_compiled
def _find_blocks(
    a: Symbols, b: Symbols, unpopular: Symbols, runs: Symbols, window: Symbols, blocks: Symbols
) -> tuple[int, int]:
    """(number of symbols in matching blocks, number of blocks); writes the blocks as rows (i, j, size), in no order.

    ``unpopular``: ``b``, or with autojunk what is left of it. ``runs`` and ``window``: scratch for
    ``len(a) + len(b) + 2 * LANES`` and ``len(b) + 2 * LANES`` symbols. ``blocks``: room for min(len(a), len(b)) rows,
    or for none to have them counted only.
    """
    # Parts still to be searched: alo, ahi, blo, bhi and the length that no run in them can exceed.
    parts = [(0, len(a), 0, len(b), min(len(a), len(b)))]
    total = num_blocks = 0
    while len(parts) > 0:
        alo, ahi, blo, bhi, most = parts.pop()
        size, i, j = _longest(a, unpopular, alo, ahi, blo, bhi, most, runs, window)
        most = size
        # With autojunk a run grows over popular symbols, and begins with them where the part does. Without, it cannot.
        while size > 0 and i > alo and j > blo and a[i - 1] == b[j - 1]:
            i, j, size = i - 1, j - 1, size + 1
        while i + size < ahi and j + size < bhi and a[i + size] == b[j + size]:
            size += 1
        if size == 0:
            continue
        if len(blocks) > 0:
            blocks[num_blocks, 0], blocks[num_blocks, 1], blocks[num_blocks, 2] = i, j, size
        num_blocks += 1
        total += size
        if alo < i and blo < j:
            parts.append((alo, i, blo, j, most))
        if i + size < ahi and j + size < bhi:
            parts.append((i + size, ahi, j + size, bhi, most))
    return total, num_blocks


@_compiled
def find_blocks(a: Symbols, b: Symbols, autojunk: bool, blocks: Symbols) -> tuple[int, int]:
    """See ``_find_blocks``; without the scratch."""
    runs = np.empty(len(a) + len(b) + 2 * LANES, np.int16)
    window = np.empty(len(b) + 2 * LANES, b.dtype)
    return _find_blocks(a, b, _without_popular(b) if autojunk else b, runs, window, blocks)


@_compiled
def count_in_bytes(data: bytes, symbol_bytes: int, split: int, autojunk: bool) -> int:
    """Symbols in matching blocks of the first ``split`` symbols with the rest; -1 if a symbol is a reserved one.

    ``data``: both texts in ASCII (``symbol_bytes`` 1) or UTF-16-LE (2). For single short texts, where making arrays
    would cost more than comparing them.
    """
    symbols = np.empty(len(data) // symbol_bytes, np.uint16)
    for place in range(len(symbols)):
        symbol = int(data[place * symbol_bytes])
        if symbol_bytes == 2:
            symbol |= int(data[2 * place + 1]) << 8
        if symbol >= 0xFFFE:
            return -1
        symbols[place] = symbol
    blocks = np.empty((0, 3), np.int64)
    return find_blocks(symbols[:split], symbols[split:], autojunk, blocks)[0]


@_compiled
def count_matches(symbols: Symbols, places: Symbols, order: Symbols, autojunk: bool, totals: Symbols) -> None:
    """Write to ``totals[k]`` for every k of ``order`` how many symbols are in matching blocks.

    Text k is compared as ``symbols[places[k, 0] : places[k, 1]]`` with ``symbols[places[k, 2] : places[k, 3]]``. What
    autojunk leaves of a second text serves all pairs that follow each other with the same one.
    """
    widest = longest = 0
    for k in order:
        widest = max(widest, places[k, 3] - places[k, 2])
        longest = max(longest, places[k, 1] - places[k, 0] + places[k, 3] - places[k, 2])
    runs, window = np.empty(longest + 2 * LANES, np.int16), np.empty(widest + 2 * LANES, symbols.dtype)
    blocks = np.empty((0, 3), np.int64)
    unpopular, prepared = symbols[:0], -1
    for k in order:
        a, b = symbols[places[k, 0] : places[k, 1]], symbols[places[k, 2] : places[k, 3]]
        if not autojunk:
            unpopular = b
        elif prepared != places[k, 2]:
            unpopular, prepared = _without_popular(b), places[k, 2]
        totals[k] = _find_blocks(a, b, unpopular, runs, window, blocks)[0]
