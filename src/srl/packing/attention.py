"""Attention over a packed row, in place of a model's own.

A model of transformers looks its attention up by name at every forward pass and hands on whatever keyword arguments
its own forward got. So a model becomes able to read a packed row without a changed line: ``with packed(model)`` puts a
name in its configuration, and ``model(..., packed=attention)`` brings the object that computes every layer's attention
for this very row.

The decision a reader would question: private kernels of torch. Attention in blocks needs each block's log-sum-exp to
join the blocks, and no public function of torch returns it on a CPU. Given the log-sum-exp and the output over *all*
keys, the flash backward of one block is that block's exact share of the gradient, so nothing has to be recomputed and
no key or value is copied G times.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PretrainedConfig

from srl.packing.flex import FlexTreeAttention
from srl.packing.tree import PackedRows

logger = logging.getLogger("srl")
NAME = "srl_packed"
MAX_BUCKET_RATIO = 1.25
"""Self blocks are computed together while the longest is at most so much longer than the shortest ..."""
MAX_BUCKET_EXCESS = 16
"""... or longer by at most so many tokens."""


class PackedAttention(Protocol):
    """Computes the attention of every layer for one packed row."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Of query [1, heads, N, size], key and value [1, key heads, N, size]; gives [1, heads, N, size]."""
        ...


def _interface(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **options: Any
) -> tuple[Tensor, None]:
    """What transformers calls; output [1, N, heads, size]."""
    attention: PackedAttention | None = options.get("packed")
    odd = [name for name in ("softcap", "s_aux", "position_bias") if options.get(name) is not None]
    odd += ["dropout"] if options.get("dropout") else []
    if attention is None or attention_mask is not None or odd:
        raise NotImplementedError(f"{type(module).__name__} needs {', '.join(odd) or 'a mask, or hands nothing on'}")
    kind = query.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype
    query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)  # as autocast does for a model's own attention
    scaling = options.get("scaling") or query.shape[-1] ** -0.5
    output = attention.attend(cast("Any", module).layer_idx, query, key, value, float(scaling))
    return output.transpose(1, 2), None


AttentionInterface.register(NAME, _interface)


@contextmanager
def packed(model: nn.Module) -> Iterator[None]:
    """Within it ``model(..., packed=attention)`` uses that attention; backward passes belong within it, too.

    (With gradient checkpointing the backward pass runs the layers again.)
    """
    configs: list[Any] = list({id(config): config for config in map(_config, model.modules()) if config}.values())
    own = [config._attn_implementation for config in configs]
    for config in configs:
        config._attn_implementation = NAME
    try:
        yield
    finally:
        for config, implementation in zip(configs, own, strict=True):
            config._attn_implementation = implementation


def _config(module: nn.Module) -> PretrainedConfig | None:
    config = getattr(module, "config", None)
    return config if isinstance(config, PretrainedConfig) else None


def attention_for(rows: PackedRows, device: torch.device) -> PackedAttention:
    """What computes the attention of a packed row on this device; NotImplementedError where nothing does.

    (FlexAttention knows more kinds of devices, but has no gradient there.)
    """
    if device.type not in ("cpu", "cuda"):
        raise NotImplementedError(f"no attention of packed rows on {device.type}")
    _say_once(device.type)
    return TreeAttention(rows, device) if device.type == "cpu" else FlexTreeAttention(rows, device)


@cache
def _say_once(kind: str) -> None:
    if kind == "cpu":
        logger.info(
            "attention of packed rows on the CPU: dense blocks through torch's flash kernels; docs/performance.md has "
            "the figures"
        )
    else:
        logger.info(
            "attention of packed rows on the GPU: torch's FlexAttention, because the kernels for blocks are the CPU's; "
            "its speed has not been measured yet, and the first batches wait until it is compiled"
        )


class TreeAttention:
    """Exact causal attention of every sequence of a packed row, in dense blocks; differentiable."""

    def __init__(self, rows: PackedRows, device: torch.device) -> None:
        self._prefix_blocks = rows.prefix_blocks
        self._buckets = [Bucket(blocks, device) for blocks in _alike(rows.self_blocks)]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """See PackedAttention.attend."""
        del layer
        return cast("Tensor", _BlockAttention.apply(query, key, value, self._buckets, self._prefix_blocks, scaling))


class Bucket:
    """Self blocks of similar length as one padded batch of R rows and T columns."""

    def __init__(self, blocks: Sequence[tuple[int, int]], device: torch.device) -> None:
        length = max(end - start for start, end in blocks)
        places = np.stack([np.minimum(np.arange(start, start + length), end - 1) for start, end in blocks])
        real = np.stack([np.arange(start, start + length) < end for start, end in blocks])
        self.shape = places.shape
        """(R, T)"""
        self.places = torch.from_numpy(places.ravel()).to(device)
        """[R * T] places in the row; a padded one repeats the block's last."""
        self.real = torch.from_numpy(np.flatnonzero(real.ravel())).to(device)
        """The elements of ``places`` that are no padding."""
        self.real_places = self.places[self.real]
        self.is_padding = torch.from_numpy(~real).to(device)[:, None, :, None]
        """[R, 1, T, 1]"""

    def gather(self, tensor: Tensor, num_heads: int) -> Tensor:
        """[1, h, N, d] -> [R, num_heads, T, d], each head repeated where there are fewer than ``num_heads``."""
        rows, length = self.shape
        heads = tensor.shape[1]
        taken = tensor[0].index_select(1, self.places).view(heads, 1, rows, length, -1)
        return (
            taken.expand(heads, num_heads // heads, rows, length, -1)
            .permute(2, 0, 1, 3, 4)
            .reshape(rows, num_heads, length, -1)
        )

    def flat(self, tensor: Tensor) -> Tensor:
        """[R, heads, T, ...] -> [heads, number of real tokens, ...]."""
        return tensor.transpose(0, 1).flatten(1, 2).index_select(1, self.real)


def _alike(blocks: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Blocks of similar length together, longest first."""
    buckets: list[list[tuple[int, int]]] = []
    for block in sorted(blocks, key=lambda block: block[0] - block[1]):
        length = block[1] - block[0]
        if buckets:
            longest = buckets[-1][0][1] - buckets[-1][0][0]
            if longest <= max(MAX_BUCKET_RATIO * length, length + MAX_BUCKET_EXCESS):
                buckets[-1].append(block)
                continue
        buckets.append([block])
    return buckets


class _BlockAttention(torch.autograd.Function):
    """query [1, H, N, d], key and value [1, K, N, d] -> [1, H, N, d]; H is a multiple of K."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        buckets: Sequence[Bucket],
        prefix_blocks: Sequence[tuple[int, int, int, int]],
        scaling: float,
    ) -> Tensor:
        heads, size = query.shape[1], value.shape[-1]
        output = query.new_empty(
            (*query.shape[1:3], size), dtype=torch.float32 if query.dtype.itemsize < 4 else query.dtype
        )
        lse = torch.empty(query.shape[1:3], dtype=output.dtype, device=query.device)  # [H, N]
        for bucket in buckets:
            part, part_lse = _attend(
                bucket.gather(query, heads), bucket.gather(key, heads), bucket.gather(value, heads), True, scaling
            )
            output[:, bucket.real_places] = bucket.flat(part).to(output.dtype)
            lse[:, bucket.real_places] = bucket.flat(part_lse)
        for start, end, key_start, key_end in prefix_blocks:
            part, part_lse = _attend(
                _fold(query[:, :, start:end], key.shape[1]),
                key[:, :, key_start:key_end],
                value[:, :, key_start:key_end],
                False,
                scaling,
            )
            part, part_lse = part.view(heads, end - start, size), part_lse.reshape(heads, end - start)
            before = lse[:, start:end]
            total = torch.logaddexp(before, part_lse)
            output[:, start:end] *= (before - total).exp().unsqueeze(-1)
            output[:, start:end] += part * (part_lse - total).exp().unsqueeze(-1)
            lse[:, start:end] = total
        result = output.to(query.dtype).unsqueeze(0)
        ctx.save_for_backward(query, key, value, result, lse)
        ctx.buckets, ctx.prefix_blocks, ctx.scaling = buckets, prefix_blocks, scaling
        return result

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        query, key, value, output, lse = ctx.saved_tensors
        heads, key_heads = query.shape[1], key.shape[1]
        grad_query, grad_key, grad_value = (torch.zeros_like(tensor[0]) for tensor in (query, key, value))
        for bucket in ctx.buckets:
            upstream = bucket.gather(grad_output, heads)
            upstream = upstream.masked_fill(bucket.is_padding, 0)  # it repeats a real token, which has its own share
            grads = _attend_backward(
                upstream,
                bucket.gather(query, heads),
                bucket.gather(key, heads),
                bucket.gather(value, heads),
                bucket.gather(output, heads),
                bucket.gather(lse[None, ..., None], heads).squeeze(-1),
                True,
                ctx.scaling,
            )
            for total, grad in zip((grad_query, grad_key, grad_value), grads, strict=True):
                flat = bucket.flat(grad)
                total[:, bucket.real_places] += flat.view(len(total), -1, *flat.shape[1:]).sum(1)
        for start, end, key_start, key_end in ctx.prefix_blocks:
            parts = (_fold(tensor[:, :, start:end], key_heads) for tensor in (grad_output, query, output))
            upstream, part_query, part_output = parts
            grads = _attend_backward(
                upstream,
                part_query,
                key[:, :, key_start:key_end],
                value[:, :, key_start:key_end],
                part_output,
                lse[:, start:end].reshape(1, key_heads, -1),
                False,
                ctx.scaling,
            )
            grad_query[:, start:end] += grads[0].reshape(heads, end - start, -1)
            grad_key[:, key_start:key_end] += grads[1][0]
            grad_value[:, key_start:key_end] += grads[2][0]
        return grad_query.unsqueeze(0), grad_key.unsqueeze(0), grad_value.unsqueeze(0), None, None, None


def _fold(tensor: Tensor, key_heads: int) -> Tensor:
    """[1, H, T, d] -> [1, K, H / K * T, d]: the query heads of one key head as more queries, so no key is copied."""
    return tensor.reshape(1, key_heads, -1, tensor.shape[-1])


def _attend(query: Tensor, key: Tensor, value: Tensor, is_causal: bool, scaling: float) -> tuple[Tensor, Tensor]:
    """[B, H, T, d] each -> output and log-sum-exp [B, H, T]."""
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, is_causal, scale=scaling)


def _attend_backward(
    upstream: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    lse: Tensor,
    is_causal: bool,
    scaling: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The shares of this block's keys in the gradients, given output and log-sum-exp over all keys."""
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        upstream, query, key, value, output, lse, 0.0, is_causal, scale=scaling
    )
