"""Whole models: packed rows, padded rows and one sequence at a time give the same numbers and gradients."""

from __future__ import annotations

import logging
import random
from dataclasses import replace

import pytest
import torch
from test_logprobs import one_by_one
from tiny_models import VOCABULARY, add_low_rank, branching_pairs, build

from srl.logprobs import completion_logprobs, pack_batch, packed_logprobs, pad_batch
from srl.model_support import examine
from srl.packing.attention import packed
from srl.policy import autocast

PACK = [
    "Qwen2ForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM", "GemmaForCausalLM", "CohereForCausalLM",
    "GraniteForCausalLM", "GPT2LMHeadModel", "OPTForCausalLM",
]  # fmt: skip
LIMITED = ["Gemma3ForCausalLM", "MistralForCausalLM", "Llama4ForCausalLM"]
"""They pack sequences of up to 64 tokens."""
FALL_BACK = ["Gemma2ForCausalLM", "GptOssForCausalLM", "MambaForCausalLM"]
TEMPERATURE = 0.8


def padded_numbers(model, pairs, head):
    batch = pad_batch(pairs, pad_token_id=3)
    logprobs = completion_logprobs(model, batch, temperature=TEMPERATURE, head=head)
    return logprobs.masked_select(batch.completion_mask)


def packed_numbers(model, pairs, head, across_prompts=True):
    batch = pack_batch(pairs, across_prompts=across_prompts)
    logprobs = packed_logprobs(model, batch, temperature=TEMPERATURE, head=head)
    assert torch.equal(logprobs != 0, batch.completion_mask)
    return logprobs.masked_select(batch.completion_mask)


def single_numbers(model, pairs):
    return torch.cat([one_by_one(model, *pair, TEMPERATURE) for pair in pairs])


def gradient(model, logprobs):
    """Of a sum with weights of either sign, [all trained weights]."""
    torch.manual_seed(1)
    weights = torch.randn(len(logprobs), dtype=torch.float64)
    model.zero_grad()
    (logprobs.double() * weights).sum().backward()
    grads = [weight.grad for weight in model.parameters() if weight.requires_grad]
    return torch.cat([grad.flatten() for grad in grads if grad is not None])


def assert_equal_numbers(found, expected):
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=2e-4)


def assert_equal_gradient(found, expected):
    assert (found - expected).norm() < 2e-5 * expected.norm()


def check_all_ways(model, pairs, head):
    """Packed, packed within groups and padded against single sequences."""
    alone = single_numbers(model, pairs)
    alone_gradient = gradient(model, alone)
    for across_prompts in (True, False):
        with packed(model):
            found = packed_numbers(model, pairs, head, across_prompts)
            found_gradient = gradient(model, found)
        assert_equal_numbers(found, alone)
        assert_equal_gradient(found_gradient, alone_gradient)
    padded = padded_numbers(model, pairs, head)
    assert_equal_numbers(padded, alone)
    assert_equal_gradient(gradient(model, padded), alone_gradient)


def short(pairs):
    return [pair for pair in pairs if len(pair[0]) + len(pair[1]) <= 64]


@pytest.mark.parametrize("name", PACK)
def test_all_ways_agree(name):
    model = build(name).eval()
    support = examine(model)
    assert support.packs
    assert support.max_length is None
    check_all_ways(model, branching_pairs(), support.head)
    check_all_ways(model, branching_pairs(1)[:5], None)  # through the logits


@pytest.mark.parametrize("name", [*PACK, *LIMITED])
def test_the_attention_of_these_models_matters(name):
    """Otherwise a wrong mask would not be seen: the order of far tokens changes the numbers by much more than error."""
    model = build(name).eval()
    prompt, completion = list(range(5, 35)), [40, 41, 42]
    other = prompt.copy()
    random.Random(0).shuffle(other)
    other[-1] = prompt[-1]
    with torch.no_grad():
        change = one_by_one(model, prompt, completion, 1.0) - one_by_one(model, other, completion, 1.0)
    assert change.abs().max() > 0.01


@pytest.mark.parametrize("name", LIMITED)
def test_up_to_the_window_and_not_beyond(name):
    model = build(name).eval()
    support = examine(model)
    assert support.packs
    assert support.max_length == 64
    pairs = short(branching_pairs(2))
    longest = (list(range(5, 55)), list(range(55, 69)))
    assert len(longest[0]) + len(longest[1]) == support.max_length
    check_all_ways(model, [*pairs, longest], support.head)
    with torch.no_grad():
        beyond = [(list(range(5, 75)), list(range(75, 90)))]
        alone = single_numbers(model, beyond)
        assert_equal_numbers(padded_numbers(model, beyond, support.head), alone)
        with packed(model):
            assert (packed_numbers(model, beyond, support.head) - alone).abs().max() > 0.01  # hence the limit


@pytest.mark.parametrize("changes", [
    {"use_sliding_window": False, "sliding_window": 40},
    {"use_sliding_window": True, "sliding_window": 40, "max_window_layers": 2},
])  # fmt: skip
def test_a_window_that_no_layer_has_is_no_limit(changes):
    assert examine(build("Qwen2ForCausalLM", **changes)).max_length is None


@pytest.mark.parametrize("name", FALL_BACK)
def test_others_fall_back_with_one_warning(name, caplog):
    model = build(name).eval()
    with caplog.at_level(logging.WARNING, logger="srl"):
        supports = [examine(model) for _ in range(2)]
    assert [record.message.split()[0] for record in caplog.records if record.name == "srl"] == [name]
    assert not supports[0].packs
    assert supports[0] is supports[1]
    pairs = branching_pairs()
    with torch.no_grad():
        assert_equal_numbers(padded_numbers(model, pairs, supports[0].head), single_numbers(model, pairs))


def test_without_trying_there_is_no_warning(caplog):
    model = build("Gemma2ForCausalLM")
    with caplog.at_level(logging.DEBUG, logger="srl"):
        support = examine(model, tries_packing=False)
    assert not caplog.records
    assert not support.tried
    assert examine(model).tried


def test_trying_leaves_the_model_as_it_was():
    model = build("Qwen2ForCausalLM").train()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    own = model.config._attn_implementation
    examine(model)
    assert model.training
    assert model.config._attn_implementation == own
    assert all(weight.grad is None for weight in model.parameters())
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())


@pytest.mark.parametrize("name", ["GraniteForCausalLM", "Gemma2ForCausalLM", "CohereForCausalLM"])
def test_an_output_layer_with_something_after_it_is_not_replaced(name):
    assert examine(build(name)).head is None


LAYERS = {"attention": ("q_proj", "v_proj"), "output, too": ("q_proj", "k_proj", "down_proj", "lm_head")}


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("name", ["Qwen2ForCausalLM", "GemmaForCausalLM"])
def test_low_rank_terms_on_frozen_weights(name, layers):
    model = build(name, tie_word_embeddings=False).eval()
    add_low_rank(model, LAYERS[layers])
    support = examine(model)
    assert support.packs
    assert (support.head is None) == ("lm_head" in LAYERS[layers])
    check_all_ways(model, branching_pairs(), support.head)
    assert all(weight.grad is None for weight in model.parameters() if not weight.requires_grad)


def test_low_rank_terms_of_peft():
    peft = pytest.importorskip("peft")
    settings = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    model = peft.get_peft_model(build("Qwen2ForCausalLM"), settings).eval()
    support = examine(model)
    assert support.packs
    assert support.head is not None
    check_all_ways(model, branching_pairs(), support.head)


@pytest.mark.parametrize("name", ["Qwen2ForCausalLM", "GemmaForCausalLM", "Qwen3ForCausalLM"])
def test_bfloat16_is_no_further_off_than_with_padding(name):
    """From the float32 numbers and gradient; over several seeds, because one is a matter of luck."""
    off = {"packed": 0.0, "padded": 0.0}
    gradient_off = {"packed": 0.0, "padded": 0.0}
    for seed in range(4):
        model = build(name, seed=seed, scale=4.0).eval()
        head = examine(model).head
        pairs = branching_pairs(seed)
        exact = padded_numbers(model, pairs, head)
        exact_gradient = gradient(model, exact)
        for layout, numbers in (("packed", packed_numbers), ("padded", padded_numbers)):
            context = packed(model) if layout == "packed" else autocast(torch.device("cpu"), "float32")
            with context:
                with autocast(torch.device("cpu"), "bfloat16"):
                    found = numbers(model, pairs, head)
                assert found.dtype == torch.float32
                grad = gradient(model, found)
            assert grad.dtype == torch.float32
            off[layout] += float((found - exact).detach().norm() / exact.detach().norm())
            gradient_off[layout] += float((grad - exact_gradient).norm() / exact_gradient.norm())
    assert off["padded"] > 1e-3  # bfloat16 it is
    assert off["packed"] <= 1.5 * off["padded"]
    assert gradient_off["packed"] <= 1.5 * gradient_off["padded"]


class Noting:
    """An attention of packed rows that remembers what it was asked."""

    def __init__(self, attention):
        self._attention, self.asked = attention, []

    def attend(self, layer, query, key, value, scaling):
        self.asked.append((layer, query.dtype, key.dtype, value.dtype, scaling))
        return self._attention.attend(layer, query, key, value, scaling)


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
@pytest.mark.parametrize("name", ["Qwen2ForCausalLM", "Qwen3ForCausalLM", "GemmaForCausalLM"])
def test_attention_is_asked_layer_by_layer_in_the_number_format_of_the_pass(name, precision, dtype):
    model = build(name).eval()
    batch = pack_batch(branching_pairs())
    noting = Noting(batch.attention)
    with packed(model), autocast(torch.device("cpu"), precision), torch.no_grad():
        packed_logprobs(model, replace(batch, attention=noting), temperature=1.0, head=None)
    assert noting.asked == [(layer, dtype, dtype, dtype, pytest.approx(8**-0.5)) for layer in (0, 1)]


@pytest.mark.parametrize("name", ["Qwen2ForCausalLM", "LlamaForCausalLM", "GemmaForCausalLM"])
def test_recomputing_activations_changes_nothing(name):
    model = build(name).train()
    head, pairs = examine(model).head, branching_pairs()
    with packed(model):
        plain = packed_numbers(model, pairs, head)
        plain_gradient = gradient(model, plain)
        model.gradient_checkpointing_enable()
        again = packed_numbers(model, pairs, head)
        assert torch.equal(plain, again)
        assert_equal_gradient(gradient(model, again), plain_gradient)


@pytest.mark.parametrize("seed", range(6))
def test_any_mix_of_lengths(seed):
    rng = random.Random(seed)
    model = build("Qwen2ForCausalLM").eval()
    trunk = [rng.randrange(3, VOCABULARY) for _ in range(80)]
    pairs = [
        (
            trunk[: rng.randint(0, 80)] + [rng.randrange(3, VOCABULARY) for _ in range(rng.randint(1, 20))],
            [rng.randrange(3, VOCABULARY) for _ in range(rng.choice([1, 2, 30]))],
        )
        for _ in range(rng.randint(1, 7))
    ]
    pairs += rng.choices(pairs, k=2)  # equal prompts and equal completions
    check_all_ways(model, pairs, examine(model).head)


def test_what_is_shared_is_computed_once():
    """The model sees as many tokens as the packed row has, and as many outputs as completions have tokens."""
    model = build("Qwen2ForCausalLM").eval()
    pairs = branching_pairs()
    counted = []
    model.model.register_forward_pre_hook(
        lambda module, args, kwargs: counted.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    model.lm_head.register_forward_pre_hook(lambda module, args: counted.append(args[0].shape))
    with packed(model), torch.no_grad():
        batch = pack_batch(pairs)
        packed_logprobs(model, batch, temperature=1.0, head=None)
    num_outputs = sum(len(completion) for _, completion in pairs)
    assert counted == [(1, batch.input_ids.shape[1]), (1, num_outputs, 32)]
    assert batch.input_ids.shape[1] < sum(len(prompt) + len(completion) for prompt, completion in pairs) / 2
