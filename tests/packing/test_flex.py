"""The GPU's attention of packed rows, run uncompiled on the CPU: it must agree with the CPU's and with padded batches.

torch has no gradient of FlexAttention for a CPU but by its own reference implementation, which it forbids there; the
tests of gradients lift that ban.
"""

from __future__ import annotations

import logging
import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import flex_attention as torch_flex
from transformers import Qwen2Config, Qwen2ForCausalLM

from srl.engines.kv_store import PrefillAttention
from srl.logprobs import completion_logprobs, pack_batch, packed_logprobs, pad_batch
from srl.packing import attention as packed_attention
from srl.packing.attention import TreeAttention, attention_for, packed
from srl.packing.flex import FlexTreeAttention, tile_mask
from srl.packing.tree import pack
from srl.policy import autocast

CPU = torch.device("cpu")
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


@pytest.fixture
def gradients(monkeypatch):
    """Lets FlexAttention have a gradient on the CPU."""
    monkeypatch.setattr(torch_flex, "_validate_device", lambda *_: None)


def random_pairs(seed, *, num_prompts, length):
    """Prompts that branch off one text at random places, each with some completions."""
    rng = random.Random(seed)

    def tokens(most):
        return [rng.randrange(5, 90) for _ in range(rng.randint(1, most))]

    trunk = [rng.randrange(5, 90) for _ in range(length)]
    prompts = [trunk[: rng.randint(0, length)] + tokens(length // 4) for _ in range(num_prompts)]
    return [(prompt, tokens(length // 2)) for prompt in prompts for _ in range(rng.randint(1, 4))]


def projections(num_tokens, *, dtype, heads=4, key_heads=2):
    torch.manual_seed(num_tokens)
    return [torch.randn(1, count, num_tokens, 16, dtype=dtype) for count in (heads, key_heads, key_heads)]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), num_prompts=st.integers(1, 9), length=st.integers(4, 300))
def test_the_tiles_are_those_that_torch_finds_in_the_whole_mask(seed, num_prompts, length):
    rows = pack(random_pairs(seed, num_prompts=num_prompts, length=length))
    mask = tile_mask(rows.visible_until, CPU)
    expected = torch_flex.create_block_mask(mask.mask_mod, None, None, *mask.seq_lengths, device="cpu")
    for name in ("kv", "full_kv", "q", "full_q"):
        for what in ("num_blocks", "indices"):
            assert torch.equal(getattr(mask, f"{name}_{what}"), getattr(expected, f"{name}_{what}")), name
    whole = torch_flex.create_mask(mask.mask_mod, None, None, *mask.seq_lengths, device="cpu")[0, 0].numpy()
    for query in range(rows.num_tokens):
        visible = (rows.visible_until > query).nonzero()[0]
        assert whole[query].nonzero()[0].tolist() == visible[visible <= query].tolist()


@pytest.mark.parametrize("heads", [(4, 2), (2, 2), (6, 1)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-12)])
def test_output_and_gradients_are_those_of_the_blocks(gradients, dtype, tolerance, heads):
    for seed in range(4):
        rows = pack(random_pairs(seed, num_prompts=1 + 2 * seed, length=40 + 50 * seed))
        inputs = projections(rows.num_tokens, dtype=dtype, heads=heads[0], key_heads=heads[1])
        upstream = torch.randn_like(inputs[0])
        results = []
        for attention in (FlexTreeAttention(rows, CPU), TreeAttention(rows, CPU)):
            own = [tensor.clone().requires_grad_() for tensor in inputs]
            output = attention.attend(0, *own, 0.3)
            results.append([output, *torch.autograd.grad(output, own, upstream)])
        for found, expected in zip(*results, strict=True):
            assert found.dtype == dtype
            torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


def tiny_qwen():
    """Two layers, two query heads for each key head."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=96, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512,
    )  # fmt: skip
    return Qwen2ForCausalLM(config)


def flex_batch(pairs):
    return replace(pack_batch(pairs), attention=FlexTreeAttention(pack(pairs), CPU))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_whole_model_gives_the_numbers_of_padded_rows(gradients, checkpointing):
    model = tiny_qwen().train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    pairs = random_pairs(5, num_prompts=5, length=90)
    padded = pad_batch(pairs, pad_token_id=0)
    weights = torch.randn(padded.completion_mask.shape) * padded.completion_mask
    expected = completion_logprobs(model, padded, temperature=0.8)
    parameters = list(model.parameters())
    expected_grads = torch.autograd.grad((expected * weights).sum(), parameters)
    with packed(model):
        found = packed_logprobs(model, flex_batch(pairs), temperature=0.8, head=model.lm_head)
        (found * weights).sum().backward()
    torch.testing.assert_close(found * weights, expected * weights, atol=1e-4, rtol=0)
    for parameter, grad in zip(parameters, expected_grads, strict=True):
        torch.testing.assert_close(parameter.grad, grad, atol=2e-4, rtol=1e-3)


def test_a_whole_model_in_bfloat16(gradients):
    """The same within bfloat16's few digits, and gradients of the weights' own number format."""
    model = tiny_qwen().train()
    model.gradient_checkpointing_enable()
    pairs = random_pairs(5, num_prompts=5, length=90)
    own = pack_batch(pairs)
    grads = []
    for batch in (own, flex_batch(pairs)):
        model.zero_grad()
        with packed(model):
            with autocast(CPU, "bfloat16"):
                logprobs = packed_logprobs(model, batch, temperature=1.0, head=model.lm_head)
            logprobs.sum().backward()
        grads.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert grads[1].dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(*grads, dim=0) > 0.999
    assert grads[1].norm() / grads[0].norm() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("kind", [TreeAttention, FlexTreeAttention])
def test_a_prefill_remembers_the_keys_and_values_of_every_layer(kind):
    rows = pack([(prompt, ()) for prompt, _ in random_pairs(2, num_prompts=4, length=60)])
    prefill = PrefillAttention(kind(rows, CPU))
    for layer in (0, 1):
        query, key, value = (tensor + layer for tensor in projections(rows.num_tokens, dtype=torch.float32))
        output = prefill.attend(layer, query, key, value, 0.5)
        torch.testing.assert_close(output, TreeAttention(rows, CPU).attend(layer, query, key, value, 0.5))
        assert torch.equal(prefill.layers[layer][0], key[0])
        assert torch.equal(prefill.layers[layer][1], value[0])
    assert list(prefill.layers) == [0, 1]


def test_the_device_decides_and_says_so_once(caplog):
    rows = pack([([5, 6, 7], [8, 9])])
    packed_attention._say_once.cache_clear()
    with caplog.at_level(logging.INFO, logger="srl"):
        assert type(attention_for(rows, CPU)) is TreeAttention
        assert type(attention_for(rows, CPU)) is TreeAttention
    assert [record.message.split(":")[0] for record in caplog.records] == ["attention of packed rows on the CPU"]
    with pytest.raises(NotImplementedError, match="meta"):
        attention_for(rows, torch.device("meta"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_compiled_on_a_gpu():
    device = torch.device("cuda")
    for seed in range(6):  # of many lengths, in one process
        rows = pack(random_pairs(seed, num_prompts=1 + 2 * seed, length=40 + 70 * seed))
        attention = attention_for(rows, device)
        assert type(attention) is FlexTreeAttention
        inputs = projections(rows.num_tokens, dtype=torch.float32)
        upstream = torch.randn_like(inputs[0])
        results = []
        for computes, where in ((attention, device), (TreeAttention(rows, CPU), CPU)):
            own = [tensor.detach().to(where).requires_grad_() for tensor in inputs]
            output = computes.attend(0, *own, 0.3)
            results.append([output, *torch.autograd.grad(output, own, upstream.to(where))])
        for found, expected in zip(*results, strict=True):
            torch.testing.assert_close(found.cpu(), expected, atol=1e-3, rtol=1e-3)
