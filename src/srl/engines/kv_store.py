"""Keys and values of running sequences: those of a prompt once, those of each completion in a row of its own.

Decoding is bound by reading keys and values, and the G completions of a prompt have most of theirs in common. So the
attention of a step is two dense products, over prompts (all completions of a prompt at once) and over rows, joined by
their maxima and sums as in a flash kernel.

Both stores are dense from 0: what is removed is filled with the last, so that a product never touches what is gone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srl.packing.attention import PackedAttention

GROWTH = 1.5
"""A store that is full grows by this factor: it is copied now and then, and never far larger than it must be."""

IntArray = np.ndarray[tuple[int], np.dtype[np.int64]]


class PrefillAttention:
    """Another attention, over packed prompts, that remembers every layer's keys and values, [K, N, d] each."""

    def __init__(self, attention: PackedAttention) -> None:
        self._attention = attention
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """See PackedAttention.attend."""
        self.layers[layer] = (key[0], value[0])
        return self._attention.attend(layer, query, key, value, scaling)


class KeyValueStore:
    """Keys and values by layer, [entries, K, length, d] each; grows in both, up to what there can be."""

    def __init__(self, *, max_num: int, max_length: int) -> None:
        self._max_num, self._max_length = max_num, max_length
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    def reserve(self, layer: int, like: tuple[Tensor, Tensor], *, num: int, length: int) -> tuple[Tensor, Tensor]:
        """The layer's keys and values with room for ``num`` entries of ``length``; ``like``: [K, any, d] each."""
        stored = self.layers.get(layer)
        old_num, old_length = (stored[0].shape[0], stored[0].shape[2]) if stored else (0, 0)
        if stored is None or old_num < num or old_length < length:
            num = _grown(old_num, num, self._max_num)
            length = _grown(old_length, length, self._max_length)
            new_keys, new_values = (tensor.new_zeros((num, len(tensor), length, tensor.shape[-1])) for tensor in like)
            if stored:
                new_keys[:old_num, :, :old_length], new_values[:old_num, :, :old_length] = stored
            self.layers[layer] = stored = (new_keys, new_values)
        return stored

    def move(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy entries; no target is a source, and each is before its source. What never got keys has none to move."""
        for pair in self.layers.values():
            moves = [(source, target) for source, target in zip(sources, targets, strict=True) if source < len(pair[0])]
            if moves:
                come, go = zip(*moves, strict=True)
                for tensor in pair:
                    tensor[list(go)] = tensor[list(come)]


def _grown(held: int, asked: int, most: int) -> int:
    return held if asked <= held else max(asked, min(math.ceil(GROWTH * held), most))


def fill_holes(num: int, holes: Sequence[int]) -> tuple[list[int], list[int]]:
    """(sources, targets) of the moves that make 0..num - 1 without ``holes`` dense again.

    >>> fill_holes(6, [1, 4])
    ([5], [1])
    """
    gone = set(holes)
    targets = sorted(hole for hole in gone if hole < num - len(gone))
    sources = [place for place in range(num - len(gone), num) if place not in gone]
    return sources, targets


class DecodeAttention:
    """Attention of one step: R rows of one token each, on their prompts and on what they have written themselves."""

    def __init__(self, prompts: KeyValueStore, rows: KeyValueStore, device: torch.device) -> None:
        self._prompts, self._rows, self._device = prompts, rows, device

    def seat(self, prompt_of: Sequence[int], prompt_lengths: Sequence[int]) -> None:
        """Who is there: ``prompt_of`` [R] the place of each row's prompt, ``prompt_lengths`` of every prompt.

        The rows of a prompt become its lanes: the grid of prompts and lanes is what reads the prompts' keys.
        """
        owners = np.asarray(prompt_of)
        counts = np.bincount(owners, minlength=len(prompt_lengths))
        order = np.argsort(owners, kind="stable")
        lanes = np.empty_like(owners)
        lanes[order] = np.arange(len(owners)) - (np.cumsum(counts) - counts)[owners[order]]
        self._grid = (len(prompt_lengths), int(counts.max()))
        self._cells = self._tensor(owners * self._grid[1] + lanes)
        self._prompt_mask = self._padding(np.asarray(prompt_lengths)[owners])

    def advance(self, lengths: Sequence[int]) -> None:
        """``lengths``: [R] tokens whose keys each row has already; the step adds one."""
        self._lengths = self._tensor(np.asarray(lengths))
        own = self._padding(np.asarray(lengths) + 1)
        self._length = own.shape[-1]
        self._mask = torch.cat([self._prompt_mask, own], dim=-1)
        self._everyone = torch.arange(len(lengths), device=self._device)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """See PackedAttention.attend; N is R."""
        num_rows, key_heads = query.shape[2], key.shape[1]
        query = (query[0] * scaling).transpose(0, 1).reshape(num_rows, key_heads, -1, query.shape[-1])  # [R, K, H/K, d]
        keys, values = self._append(layer, key[0], value[0])
        prompt_keys, prompt_values = self._of_prompts(layer)
        shared = self._to_rows(torch.matmul(self._to_grid(query), prompt_keys.transpose(-1, -2)))
        own = torch.matmul(query, keys.transpose(-1, -2))
        weights = (torch.cat([shared, own], dim=-1).float() + self._mask).softmax(dim=-1).to(value.dtype)
        length = shared.shape[-1]
        output = torch.matmul(weights[..., length:], values)
        output += self._to_rows(torch.matmul(self._to_grid(weights[..., :length]), prompt_values))
        return output.reshape(1, num_rows, -1, value.shape[-1]).transpose(1, 2)

    def _append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store the step's keys and values, [K, R, d] each; returns those of all rows, [R, K, T, d] each."""
        num_rows, length = key.shape[1], self._length
        keys, values = self._rows.reserve(layer, (key, value), num=num_rows, length=length)
        keys[self._everyone, :, self._lengths] = key.transpose(0, 1)
        values[self._everyone, :, self._lengths] = value.transpose(0, 1)
        return keys[:num_rows, :, :length], values[:num_rows, :, :length]

    def _of_prompts(self, layer: int) -> tuple[Tensor, Tensor]:
        keys, values = self._prompts.layers[layer]
        num, length = self._grid[0], self._prompt_mask.shape[-1]
        return keys[:num, :, :length], values[:num, :, :length]

    def _to_grid(self, rows: Tensor) -> Tensor:
        """[R, K, H/K, n] -> [prompts, K, lanes * H/K, n], 0 in lanes without a row."""
        (num, lanes), (_, key_heads, per_key, size) = self._grid, rows.shape
        grid = rows.new_zeros((num * lanes, key_heads, per_key, size)).index_copy_(0, self._cells, rows)
        return grid.view(num, lanes, key_heads, per_key, size).transpose(1, 2).reshape(num, key_heads, -1, size)

    def _to_rows(self, grid: Tensor) -> Tensor:
        """What ``_to_grid`` undoes."""
        (num, lanes), key_heads, size = self._grid, grid.shape[1], grid.shape[-1]
        spread = grid.view(num, key_heads, lanes, -1, size).transpose(1, 2)
        return spread.reshape(num * lanes, key_heads, -1, size).index_select(0, self._cells)

    def _padding(self, lengths: IntArray) -> Tensor:
        """[entries, 1, 1, longest] float32: 0 on what is there and minus infinity behind it."""
        mask = np.where(np.arange(lengths.max())[None] < lengths[:, None], np.float32(0), np.float32(-np.inf))
        return self._tensor(mask)[:, None, None]

    def _tensor(self, array: np.ndarray[Any, Any]) -> Tensor:
        return torch.from_numpy(array).to(self._device)
