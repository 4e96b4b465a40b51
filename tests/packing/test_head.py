"""Log-probabilities without the logits: against log-softmax, and how many logits there are at a time."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from srl.packing.head import logprobs_for_logits, token_logprobs

TOKENS, SIZE, VOCABULARY = 23, 6, 50
CHUNKS = {"one row": 1, "several rows": 4 * VOCABULARY + 7, "all but one": (TOKENS - 1) * VOCABULARY, "all": 2**25}


def tensors(dtype=torch.float64, bias=True, num_tokens=TOKENS, vocabulary=VOCABULARY):
    torch.manual_seed(0)
    hidden = torch.randn(num_tokens, SIZE, dtype=dtype, requires_grad=True)
    weight = (2 * torch.randn(vocabulary, SIZE, dtype=dtype)).requires_grad_()
    offset = torch.randn(vocabulary, dtype=dtype, requires_grad=True) if bias else None
    targets = torch.randint(vocabulary, (num_tokens,))
    targets[:3] = targets[0]  # a token that is a target more than once
    return hidden, weight, offset, targets


def naive(hidden, weight, bias, targets, temperature):
    logits = torch.nn.functional.linear(hidden, weight, bias) / temperature
    return torch.log_softmax(logits, dim=-1).gather(-1, targets[:, None]).squeeze(-1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("temperature", [1.0, 0.6, 1.5])
@pytest.mark.parametrize("chunk", CHUNKS)
def test_against_log_softmax(chunk, temperature, bias):
    hidden, weight, offset, targets = tensors(bias=bias)
    inputs = [tensor for tensor in (hidden, weight, offset) if tensor is not None]
    upstream = torch.randn(TOKENS, dtype=torch.float64)
    found = token_logprobs(hidden, weight, offset, targets, temperature, CHUNKS[chunk])
    expected = naive(hidden, weight, offset, targets, temperature)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    grads = zip(
        torch.autograd.grad(found, inputs, upstream), torch.autograd.grad(expected, inputs, upstream), strict=True
    )
    for ours, theirs in grads:
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("frozen", ["hidden", "weight", "bias", "weight and bias"])
def test_what_is_frozen_gets_no_gradient_and_changes_no_other(frozen):
    hidden, weight, bias, targets = tensors()
    named = {"hidden": hidden, "weight": weight, "bias": bias}
    naive(hidden, weight, bias, targets, 0.7).sum().backward()
    expected = {name: tensor.grad for name, tensor in named.items()}
    for name, tensor in named.items():
        tensor.grad = None
        tensor.requires_grad_(name not in frozen.split(" and "))
    token_logprobs(hidden, weight, bias, targets, 0.7, 5 * VOCABULARY).sum().backward()
    for name, tensor in named.items():
        if name in frozen.split(" and "):
            assert tensor.grad is None
        else:
            torch.testing.assert_close(tensor.grad, expected[name], rtol=1e-11, atol=1e-12)


def test_without_a_gradient():
    hidden, weight, bias, targets = tensors()
    with torch.no_grad():
        found = token_logprobs(hidden, weight, bias, targets, 0.7, 3 * VOCABULARY)
    assert not found.requires_grad
    torch.testing.assert_close(found, naive(hidden, weight, bias, targets, 0.7).detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("chunk", ["several rows", "all"])
def test_bfloat16_by_autocast_keeps_float32_weights_and_log_softmax(chunk):
    hidden, weight, bias, targets = tensors(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = token_logprobs(hidden, weight, bias, targets, 0.7, CHUNKS[chunk])
        logits = torch.nn.functional.linear(hidden, weight, bias)
    assert logits.dtype == torch.bfloat16
    expected = torch.log_softmax(logits.float() / 0.7, -1).gather(-1, targets[:, None]).squeeze(-1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    grads = zip(
        torch.autograd.grad(found.sum(), (hidden, weight, bias)),
        torch.autograd.grad(naive(hidden, weight, bias, targets, 0.7).sum(), (hidden, weight, bias)),
        strict=True,
    )
    for ours, theirs in grads:
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


class LogitsWatch(TorchDispatchMode):
    """Notes the largest tensor with a column for every token of the vocabulary, and the most of them at one time."""

    def __init__(self, vocabulary):
        super().__init__()
        self._vocabulary, self._alive = vocabulary, {}
        self.largest = self.most_at_a_time = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if not isinstance(tensor, torch.Tensor) or tensor.dim() < 2:
                continue
            if tensor.shape[-1] == self._vocabulary and tensor.shape[0] != SIZE:  # that is the weight, transposed
                self.largest = max(self.largest, tensor.numel())
                storage = tensor.untyped_storage()
                self._alive[storage._cdata] = (torch.multiprocessing.reductions.StorageWeakRef(storage), tensor.numel())
        self._alive = {key: entry for key, entry in self._alive.items() if not entry[0].expired()}
        self.most_at_a_time = max(self.most_at_a_time, sum(size for _, size in self._alive.values()))
        return result


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("rows", [1, 4, 100])
def test_there_are_never_more_logits_than_named(rows, temperature):
    hidden, weight, bias, targets = tensors(torch.float32, num_tokens=411, vocabulary=101)
    max_logits = rows * 101 + 50  # a part of a row more
    with LogitsWatch(101) as watch:
        logprobs = token_logprobs(hidden, weight, bias, targets, temperature, max_logits)
        assert 0 < watch.most_at_a_time <= max_logits
        logprobs.sum().backward()
    assert watch.largest <= max_logits
    assert watch.most_at_a_time <= 2 * max_logits  # the logits and their gradient
    with LogitsWatch(101) as watch:
        naive(hidden, weight, bias, targets, temperature).sum().backward()
    assert watch.largest == 411 * 101  # the watch sees what it should


def test_what_fits_is_computed_once_and_what_does_not_twice():
    """The matrix product of the logits, counted."""
    hidden, weight, bias, targets = tensors(torch.float32)
    for max_logits, expected in ((2**25, 1), (4 * VOCABULARY, 2 * 6)):
        with LogitsCount() as count:
            token_logprobs(hidden, weight, bias, targets, 1.0, max_logits).sum().backward()
        assert count.products == expected


class LogitsCount(TorchDispatchMode):
    """Counts the products that make logits."""

    products = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in ("addmm", "mm", "linear") and result.shape[-1] == VOCABULARY:
            self.products += 1
        return result


def test_the_output_layer_is_replaced_and_comes_back():
    hidden, weight, bias, targets = tensors(torch.float32)
    head = nn.Linear(SIZE, VOCABULARY)
    head.weight, head.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
    with logprobs_for_logits(head, targets, temperature=0.7):
        found = head(hidden[None])
    assert found.shape == (1, TOKENS, 1)
    torch.testing.assert_close(found[0, :, 0], naive(hidden, weight, bias, targets, 0.7))
    assert head(hidden).shape == (TOKENS, VOCABULARY)
    assert "forward" not in vars(head)


def test_a_replaced_forward_comes_back_even_after_an_error():
    head = nn.Linear(SIZE, VOCABULARY)

    def own(input):
        return input

    head.forward = own
    with pytest.raises(ZeroDivisionError), logprobs_for_logits(head, torch.zeros(1).long(), temperature=1.0):
        raise ZeroDivisionError
    assert head.forward is own
