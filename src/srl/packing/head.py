"""Hidden states -> log-probabilities of given tokens, without the logits of all of them at once.

A vocabulary of 152,000 makes the logits of a micro-batch by far its largest tensor: 8,192 tokens take 5 GB in float32,
and log-softmax and its gradient as much again each. Here they are made for as many tokens at a time as fit into
``MAX_LOGITS`` numbers, and made again in the backward pass. A micro-batch that fits as a whole keeps them.

The decision a reader would question: the output layer is replaced for the call, so that the model returns
log-probabilities where it would return logits. Only inside the model's own forward are the weights there under FSDP,
and gradients travel under DDP.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

MAX_LOGITS = 2**25
"""Logits held at a time: 128 MiB in float32."""


@contextmanager
def logprobs_for_logits(head: nn.Linear, targets: Tensor, *, temperature: float) -> Iterator[None]:
    """Within it ``head`` turns hidden states [..., size] into float32 log-probabilities [..., 1] of ``targets``.

    ``targets`` has one token id for each hidden state; the distribution is softmax(logits / temperature).
    """

    def forward(input: Tensor) -> Tensor:  # the name that nn.Linear has
        flat = input.reshape(-1, input.shape[-1])
        return token_logprobs(flat, head.weight, head.bias, targets, temperature).view(*input.shape[:-1], 1)

    own = head.__dict__.get("forward")
    head.forward = forward
    try:
        yield
    finally:
        if own is None:
            del head.forward
        else:
            head.forward = own


def token_logprobs(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    temperature: float,
    max_logits: int = MAX_LOGITS,
) -> Tensor:
    """Logarithm of softmax((hidden weight^T + bias) / temperature) at ``targets``, differentiable.

    hidden [tokens, size], weight [vocabulary, size], bias [vocabulary], targets [tokens] -> [tokens] float32.
    """
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    return cast("Tensor", _TokenLogprobs.apply(hidden, weight, bias, targets, temperature, max_logits, dtype))


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        temperature: float,
        max_logits: int,
        dtype: torch.dtype,
    ) -> Tensor:
        ctx.temperature, ctx.dtype, ctx.kept = temperature, dtype, None
        ctx.chunk = max(1, max_logits // weight.shape[0])
        states, matrix = hidden.to(dtype), weight.to(dtype)
        lse, chosen = [], []
        for start in range(0, len(hidden), ctx.chunk):
            logits = _logits(states[start : start + ctx.chunk], matrix, bias, temperature)
            lse.append(logits.logsumexp(-1))
            chosen.append(logits.gather(-1, targets[start : start + ctx.chunk, None]).squeeze(-1))
            if len(hidden) <= ctx.chunk and any(ctx.needs_input_grad):
                ctx.kept = logits
            del logits  # else two chunks would be held at a time
        ctx.save_for_backward(hidden, weight, bias, targets, torch.cat(lse))
        return torch.cat(chosen) - torch.cat(lse)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        hidden, weight, bias, targets, lse = ctx.saved_tensors
        states, matrix = hidden.to(ctx.dtype), weight.to(ctx.dtype)
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        grad_bias = torch.zeros_like(bias) if bias is not None and ctx.needs_input_grad[2] else None
        for start in range(0, len(hidden), ctx.chunk):
            part = slice(start, start + ctx.chunk)
            logits = ctx.kept if ctx.kept is not None else _logits(states[part], matrix, bias, ctx.temperature)
            # d logprob / d logits = one-hot - softmax
            scale = grad_output[part, None] / ctx.temperature
            grad = (logits - lse[part, None]).exp_().mul_(-scale)
            grad.scatter_add_(-1, targets[part, None], scale)
            if grad_bias is not None:
                grad_bias += grad.sum(0)
            grad = grad.to(ctx.dtype)
            if grad_hidden is not None:
                grad_hidden[part] = grad @ matrix
            if grad_weight is not None and grad_weight.dtype == grad.dtype:
                grad_weight.addmm_(grad.T, states[part])
            elif grad_weight is not None:
                grad_weight += grad.T @ states[part]
            del logits, grad
        ctx.kept = None  # the loss, and with it this object, may live until the next micro-batch's
        return grad_hidden, grad_weight, grad_bias, None, None, None, None


def _logits(states: Tensor, matrix: Tensor, bias: Tensor | None, temperature: float) -> Tensor:
    """float32 (float64 stays), tempered."""
    logits = torch.nn.functional.linear(states, matrix, None if bias is None else bias.to(matrix.dtype))
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return logits if temperature == 1.0 else logits.div_(temperature)
