"""Attention over a packed row on a GPU, through torch's FlexAttention.

Token j of a packed row is seen by the tokens j <= i < visible_until[j]. That one comparison is the whole mask: the
kernel evaluates it within a tile of 128 x 128 tokens, and skips tiles in which nothing is seen. Which tiles these are
follows from the smallest and the largest ``visible_until`` of 128 keys, so no mask of N x N tokens is ever made.

The decision a reader would question: the kernel is compiled for any length (``dynamic``) and must compile whole. When
torch has compiled a function too often it goes on without compiling, and FlexAttention then holds N x N scores for
every head; an error is better than that. Rows are padded to whole tiles, two at least, because lengths of another kind
would each be compiled again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.nn.functional import pad

from srl.packing.tree import Ids, PackedRows

TILE = 128
"""Tokens of a tile's side; FlexAttention's own default."""
MAX_COMPILED = 64
"""Kinds of calls that may be compiled in one process."""


class FlexTreeAttention:
    """Exact causal attention of every sequence of a packed row, in one kernel; differentiable on a GPU.

    Elsewhere it runs without compiling: slow, N x N scores, no gradient from torch. Tests use it so.
    """

    def __init__(self, rows: PackedRows, device: torch.device) -> None:
        self._num_tokens = rows.num_tokens
        self._mask = tile_mask(rows.visible_until, device)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """See PackedAttention.attend."""
        del layer
        padding = (0, 0, 0, self._mask.seq_lengths[0] - self._num_tokens)
        attention = _compiled() if query.is_cuda else flex_attention
        output = attention(
            pad(query, padding),
            pad(key, padding),
            pad(value, padding),
            block_mask=self._mask,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return output[:, :, : self._num_tokens]


@cache
def _compiled() -> Callable[..., Any]:
    """FlexAttention for a GPU; compiled at its first call, in every process once for each kind of pass."""
    # One model takes about six: with and without gradient, sampling, both number formats. The limit of 8 is for all
    # models of the process together.
    torch.compiler.config.recompile_limit = max(MAX_COMPILED, torch.compiler.config.recompile_limit)
    return torch.compile(flex_attention, dynamic=True, fullgraph=True)


def tile_mask(visible_until: Ids, device: torch.device) -> BlockMask:
    """The mask of [N] ``visible_until`` for FlexAttention, for N rounded up to whole tiles, two at least.

    What was added sees nothing but itself.
    """
    num_tiles = max(2, -(-len(visible_until) // TILE))
    until = np.arange(1, num_tiles * TILE + 1)
    until[: len(visible_until)] = visible_until
    start = TILE * np.arange(num_tiles)[:, None]  # of the queries' tile
    by_key = until.reshape(num_tiles, TILE)
    seen = np.tri(num_tiles, dtype=bool) & (by_key.max(axis=1) > start)
    whole = np.tri(num_tiles, k=-1, dtype=bool) & (by_key.min(axis=1) >= start + TILE)
    limits = torch.from_numpy(until).to(device=device, dtype=torch.int32)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        del batch, head
        return (key <= query) & (query < limits[key])

    return BlockMask.from_kv_blocks(
        *_listed(seen & ~whole, device), *_listed(whole, device), BLOCK_SIZE=TILE, mask_mod=sees
    )


def _listed(tiles: np.ndarray[Any, np.dtype[np.bool_]], device: torch.device) -> tuple[Tensor, Tensor]:
    """[query tiles, key tiles] -> how many of each row are True [1, 1, query tiles], and which, these first."""
    which = np.argsort(~tiles, axis=1, kind="stable")
    num = tiles.sum(axis=1)
    return tuple(torch.from_numpy(array)[None, None].to(device=device, dtype=torch.int32) for array in (num, which))  # pyright: ignore
