"""Attention in blocks against softmax under the dense mask, output and gradients."""

from __future__ import annotations

import random

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from srl.packing.attention import Bucket, TreeAttention, packed
from srl.packing.tree import pack

CPU = torch.device("cpu")


def random_rows(seed, *, num_prompts=4, length=30, group_size=3):
    """Prompts that branch off one another, completions from one token to many."""
    rng = random.Random(seed)

    def tokens(most):
        return [rng.randrange(90) for _ in range(rng.randint(1, most))]

    prompts = [tokens(length) + tokens(length)]
    while len(prompts) < num_prompts:
        trunk = rng.choice(prompts)
        prompts.append(trunk[: rng.randint(0, len(trunk))] + tokens(max(1, length // 3)))
    return pack([(prompt, tokens(length)) for prompt in prompts for _ in range(group_size)])


def dense(rows, query, key, value, scaling):
    """The definition; all in the inputs' number format."""
    places = torch.arange(rows.num_tokens)
    until = torch.from_numpy(rows.visible_until)
    mask = (places[None] <= places[:, None]) & (places[:, None] < until[None])
    repeat = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(repeat, 1), value.repeat_interleave(repeat, 1)
    scores = (query @ key.transpose(-1, -2) * scaling).masked_fill(~mask, -torch.inf)
    return scores.softmax(-1) @ value


def inputs(rows, heads, key_heads, size, dtype=torch.float64):
    torch.manual_seed(rows.num_tokens)
    shapes = [(1, count, rows.num_tokens, size) for count in (heads, key_heads, key_heads)]
    return [(2 * torch.randn(shape, dtype=torch.float64)).to(dtype).requires_grad_() for shape in shapes]


def with_gradients(run, tensors, upstream):
    output = run(*tensors)
    return [output, *torch.autograd.grad(output, tensors, upstream)]


SHAPES = {
    "one sequence": {"num_prompts": 1, "group_size": 1},
    "one group": {"num_prompts": 1, "group_size": 8},
    "one token each": {"num_prompts": 1, "length": 1, "group_size": 3},
    "branches": {"num_prompts": 6, "group_size": 3},
    "deep": {"num_prompts": 12, "length": 60, "group_size": 1},
    "long": {"num_prompts": 3, "length": 300, "group_size": 2},
}


@pytest.mark.parametrize(("heads", "key_heads", "size"), [(4, 2, 8), (3, 3, 16), (6, 1, 4), (1, 1, 40)])
@pytest.mark.parametrize("shape", SHAPES)
def test_against_the_dense_mask(shape, heads, key_heads, size):
    for seed in range(3):
        rows = random_rows(seed, **SHAPES[shape])
        tensors = inputs(rows, heads, key_heads, size)
        upstream = torch.randn(1, heads, rows.num_tokens, size, dtype=torch.float64)
        attention = TreeAttention(rows, CPU)
        found = with_gradients(lambda *x, a=attention: a.attend(0, *x, 0.3), tensors, upstream)
        expected = with_gradients(lambda *x, r=rows: dense(r, *x, 0.3), tensors, upstream)
        for ours, theirs in zip(found, expected, strict=True):
            assert theirs.abs().max() > 0.1
            torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)


def test_prefix_blocks_are_needed_where_the_prefix_has_the_larger_scores():
    """Scores in the hundreds: the blocks are joined without overflow."""
    rows = random_rows(1, num_prompts=4, group_size=3)
    tensors = [(20 * tensor).detach().requires_grad_() for tensor in inputs(rows, 2, 1, 8)]
    upstream = torch.randn(1, 2, rows.num_tokens, 8, dtype=torch.float64)
    found = with_gradients(lambda *x: TreeAttention(rows, CPU).attend(0, *x, 1.0), tensors, upstream)
    expected = with_gradients(lambda *x: dense(rows, *x, 1.0), tensors, upstream)
    for ours, theirs in zip(found, expected, strict=True):
        assert theirs.isfinite().all()
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9 * float(theirs.abs().max()))


@pytest.mark.parametrize("key_heads", [4, 2])
def test_in_bfloat16_it_is_as_near_as_dense_attention(key_heads):
    """Against float64 on the same rounded inputs; what joins blocks is float32."""
    ours_off = theirs_off = 0.0
    for seed in range(4):
        rows = random_rows(seed, num_prompts=5, length=60)
        tensors = inputs(rows, 4, key_heads, 16, torch.bfloat16)
        upstream = torch.randn(1, 4, rows.num_tokens, 16, dtype=torch.bfloat16)
        exact = with_gradients(lambda *x, r=rows: dense(r, *(t.double() for t in x), 0.25), tensors, upstream.double())
        attention = TreeAttention(rows, CPU)
        ours = with_gradients(lambda *x, a=attention: a.attend(0, *x, 0.25), tensors, upstream)
        theirs = with_gradients(lambda *x, r=rows: dense(r, *x, 0.25), tensors, upstream)
        assert all(tensor.dtype == torch.bfloat16 for tensor in ours)
        for one, other, truth in zip(ours, theirs, exact, strict=True):
            ours_off += float((one - truth).norm() / truth.norm())
            theirs_off += float((other - truth).norm() / truth.norm())
    assert ours_off <= 1.2 * theirs_off


def test_the_inputs_are_left_alone_and_two_backward_passes_add_up():
    rows = random_rows(2)
    tensors = inputs(rows, 4, 2, 8)
    copies = [tensor.detach().clone() for tensor in tensors]
    output = TreeAttention(rows, CPU).attend(0, *tensors, 0.3)
    output.sum().backward(retain_graph=True)
    once = [tensor.grad.clone() for tensor in tensors]
    output.sum().backward()
    for tensor, copy, grad in zip(tensors, copies, once, strict=True):
        assert torch.equal(tensor, copy)
        torch.testing.assert_close(tensor.grad, 2 * grad)


def test_a_bucket_repeats_heads_and_drops_padding():
    bucket = Bucket([(0, 3), (3, 4)], CPU)
    assert bucket.shape == (2, 3)
    tensor = torch.arange(8.0).view(1, 2, 4, 1)
    taken = bucket.gather(tensor, 4)
    assert taken[:, :, :, 0].tolist() == [
        [[0, 1, 2], [0, 1, 2], [4, 5, 6], [4, 5, 6]],
        [[3, 3, 3], [3, 3, 3], [7, 7, 7], [7, 7, 7]],
    ]
    assert bucket.flat(taken)[:, :, 0].tolist() == [[0, 1, 2, 3]] * 2 + [[4, 5, 6, 7]] * 2
    assert bucket.is_padding[:, 0, :, 0].tolist() == [[False] * 3, [False, True, True]]


def tiny_llama():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def test_within_packed_a_mask_or_no_attention_is_an_error_and_the_own_attention_comes_back():
    model = tiny_llama()
    own = model.config._attn_implementation
    ids = torch.tensor([[5, 6, 7]])
    with packed(model), pytest.raises(NotImplementedError, match="LlamaAttention needs"):
        model(ids)
    assert model.config._attn_implementation == own
    model(ids, attention_mask=torch.tensor([[0, 1, 1]]))
