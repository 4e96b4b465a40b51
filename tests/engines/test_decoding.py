"""Continuous batching: whatever runs beside a completion, in whatever order, the completion is the same."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine_transformers import GREEDY, MIXED, SAMPLED, next_token_logits, peaked_policy, prompt_of, tokens_of
from transformers import GenerationConfig, MambaConfig, MambaForCausalLM, MistralConfig, MistralForCausalLM

from srl.engines.kv_store import fill_holes
from srl.engines.plain_generation import generate_rows
from srl.engines.sampling import choose_tokens
from srl.engines.stops import StopTexts
from srl.engines.transformers import TransformersEngine, end_token_ids, render
from srl.types import SamplingParams

CHAIN = [prompt_of("seven times six is forty two plus nine " * 2 + tail) for tail in ("", "is", "is two", "six?")]
"""Prompts that begin alike."""


def ending_policy():
    """Completions end at every length: the end token is likely, not certain."""
    model, tokenizer = peaked_policy()
    model.lm_head.weight.data[tokenizer.eos_token_id] *= 2.0
    return model, tokenizer


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 16, 64])
def test_the_number_of_slots_changes_nothing(batch_size):
    model, tokenizer = ending_policy()
    prompts = [*MIXED, *CHAIN, MIXED[1]]
    whole = TransformersEngine(model, tokenizer, batch_size=64)
    expected = whole.generate(prompts, num_samples=5, sampling=SAMPLED, seed=3)
    lengths = {len(row) for rows in tokens_of(expected) for row in rows}
    assert len(lengths) > 3  # rows leave at different times
    engine = TransformersEngine(model, tokenizer, batch_size=batch_size)
    found = engine.generate(prompts, num_samples=5, sampling=SAMPLED, seed=3)
    assert tokens_of(found) == tokens_of(expected)
    for one, other in zip(found, expected, strict=True):
        for mine, theirs in zip(one.completions, other.completions, strict=True):
            assert mine.logprobs == pytest.approx(theirs.logprobs, abs=2e-4)


@pytest.mark.parametrize("batch_size", [3, 64])
def test_greedy_is_token_for_token_what_generate_writes(batch_size):
    model, tokenizer = ending_policy()
    prompts = [*MIXED, *CHAIN]
    engine = TransformersEngine(model, tokenizer, batch_size=batch_size)
    found = tokens_of(engine.generate(prompts, num_samples=2, sampling=GREEDY, seed=0))
    ids = [engine.tokenize(render(prompt, tokenizer)) for prompt in prompts]
    theirs = generate_rows(
        model, tokenizer, ids, GREEDY, seed=0, end_token_ids=end_token_ids(model, tokenizer),
        stops=StopTexts((), tokenizer), precision="float32",
    )  # fmt: skip
    assert found == [[row, row] for row in theirs]


def test_logprobs_are_those_of_the_tempered_softmax():
    model, tokenizer = ending_policy()
    sampling = SamplingParams(temperature=0.7, max_completion_tokens=8, top_p=0.9)
    for generation in TransformersEngine(model, tokenizer, batch_size=3).generate(
        [*MIXED, *CHAIN], num_samples=3, sampling=sampling, seed=1
    ):
        for completion in generation.completions:
            ids = list(generation.prompt_token_ids)
            for token, logprob in zip(completion.token_ids, completion.logprobs, strict=True):
                expected = torch.log_softmax(next_token_logits(model, ids) / 0.7, dim=-1)[token].item()
                assert logprob == pytest.approx(expected, abs=2e-4)
                ids.append(token)


def test_every_prompt_is_prefilled_once_and_steps_follow_the_tokens_written():
    """Counts what goes through the model: the packed prompts, and one token for each that is written but the last."""
    model, tokenizer = ending_policy()
    seen = []
    hook = model.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    engine = TransformersEngine(model, tokenizer, batch_size=8)
    seen.clear()  # what the engine tried out
    generations = engine.generate(CHAIN, num_samples=8, sampling=SAMPLED, seed=0)
    hook.remove()
    prompts = [generation.prompt_token_ids for generation in generations]
    written = sum(len(row) - 1 for rows in tokens_of(generations) for row in rows)
    assert sum(seen) <= sum(map(len, prompts)) + written
    assert sum(seen) >= max(map(len, prompts)) + written
    wide = TransformersEngine(model, tokenizer, batch_size=64)
    hook = model.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    seen.clear()
    wide.generate(CHAIN, num_samples=8, sampling=SAMPLED, seed=0)
    hook.remove()
    common = len(prompts[0]) - 30
    assert seen[0] < sum(map(len, prompts)) - 2 * common  # four prompts, what they share once


def test_a_feed_that_has_nothing_at_the_moment_is_asked_again():
    model, tokenizer = ending_policy()
    engine = TransformersEngine(model, tokenizer, batch_size=4)
    handed = []
    waits = []

    def feed():
        yield CHAIN[0]
        while not handed:  # nothing more until the first is there
            waits.append(len(handed))
            yield None
        yield CHAIN[1]
        yield None
        yield CHAIN[2]

    for part in engine.stream(feed(), num_samples=3, sampling=SAMPLED, seed=2):
        handed.extend(part)
    assert sorted(handed) == [0, 1, 2]
    assert waits


def test_an_idle_engine_hands_over_nothing_so_that_others_catch_up():
    model, tokenizer = ending_policy()
    engine = TransformersEngine(model, tokenizer, batch_size=4)
    parts = list(engine.stream(iter([None, CHAIN[0], None, None, CHAIN[1]]), num_samples=2, sampling=GREEDY, seed=0))
    assert parts[0] == {}
    assert [place for part in parts for place in part] == [0, 1]


def test_closing_a_stream_leaves_the_model_as_it_was():
    model, tokenizer = ending_policy()
    model.train()
    own = model.config._attn_implementation
    stream = TransformersEngine(model, tokenizer, batch_size=2).stream(
        iter(MIXED), num_samples=2, sampling=SAMPLED, seed=1
    )
    next(stream)
    stream.close()
    assert model.training
    assert model.config._attn_implementation == own
    assert not any(weight.grad is not None for weight in model.parameters())


@pytest.mark.parametrize("packs", [True, False])
def test_stop_texts_end_a_completion_whatever_tokens_spell_them(packs):
    model, tokenizer = peaked_policy()
    engine = TransformersEngine(model, tokenizer, batch_size=4)
    if not packs:
        engine._support = type(engine._support)(head=None, packs=False, tried=True, max_length=None)
    (free,) = engine.generate(MIXED[1:2], num_samples=1, sampling=GREEDY, seed=0)
    spelled = [tokenizer.decode([token]) for token in free.completions[0].token_ids]
    stop = next(text for text in spelled if len(text) > 2 and text.isascii())[1:]  # begins within a token
    sampling = SamplingParams(temperature=0.0, max_completion_tokens=12, stop=(stop,))
    (generation,) = engine.generate(MIXED[1:2], num_samples=1, sampling=sampling, seed=0)
    (completion,) = generation.completions
    assert stop in completion.text
    assert completion.finish_reason == "stop"
    assert stop not in tokenizer.decode(completion.token_ids[:-1], skip_special_tokens=True)
    assert free.completions[0].token_ids[: len(completion.token_ids)] == completion.token_ids


@pytest.mark.parametrize(("stop", "place"), [("ty tw", 4), ("two", 4), ("</think>", None), ("fort", 1)])
def test_stop_texts_are_found_across_tokens(stop, place):
    _, tokenizer = peaked_policy()
    ids = tokenizer("forty two")["input_ids"]
    assert [tokenizer.decode([token]) for token in ids] == ["fo", "rt", "y", " t", "wo"]
    stops = StopTexts((stop,), tokenizer)
    found = [stops.are_complete([ids[: length + 1]])[0] for length in range(len(ids))]
    assert found == [length == place for length in range(len(ids))]


def test_a_model_that_cannot_share_is_sampled_by_generate_with_one_warning(caplog):
    _, tokenizer = peaked_policy()
    torch.manual_seed(0)
    model = MambaForCausalLM(MambaConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, state_size=4))
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    with caplog.at_level(logging.WARNING, logger="srl"):
        engine = TransformersEngine(model, tokenizer, batch_size=4)
        generations = engine.generate(MIXED, num_samples=3, sampling=SAMPLED, seed=0)
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "srl"]
    assert "MambaForCausalLM" in warning
    assert [len(generation.completions) for generation in generations] == [3] * 4
    assert all(completion.logprobs is None for generation in generations for completion in generation.completions)


def test_sequences_beyond_a_sliding_window_are_sampled_by_generate_and_are_right():
    _, tokenizer = peaked_policy()
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, sliding_window=40, max_position_embeddings=512, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    model = MistralForCausalLM(config).eval()
    for weight in model.parameters():
        if weight.ndim == 2:
            weight.data.mul_(15.0)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    engine = TransformersEngine(model, tokenizer, batch_size=4)
    generations = engine.generate(MIXED, num_samples=1, sampling=GREEDY, seed=0)
    assert {len(generation.prompt_token_ids) + 12 > 40 for generation in generations} == {True, False}
    for generation in generations:
        ids = list(generation.prompt_token_ids)
        for token in generation.completions[0].token_ids:
            assert token == int(next_token_logits(model, ids).argmax())
            ids.append(token)


@given(st.integers(1, 30), st.data())
def test_fill_holes_leaves_a_dense_row(num, data):
    holes = data.draw(st.lists(st.integers(0, num - 1), unique=True))
    items: list[int] = list(range(num))
    for source, target in zip(*fill_holes(num, holes), strict=True):
        assert target < source
        items[target] = items[source]
    assert sorted(items[: num - len(holes)]) == sorted(set(range(num)) - set(holes))


@settings(deadline=None)
@given(st.integers(2, 60), st.floats(0.3, 2.0), st.integers(0, 70), st.floats(0.1, 1.0), st.integers(0, 10**6))
def test_choose_tokens_inverts_the_cumulative_distribution(vocabulary, temperature, top_k, top_p, seed):
    """Against a walk through the probabilities in Python, top-k first and the nucleus of what it leaves after it."""
    random = np.random.default_rng(seed)
    logits = torch.from_numpy(random.normal(scale=2.0, size=(1, vocabulary)))
    sampling = SamplingParams(temperature=temperature, max_completion_tokens=1, top_k=top_k, top_p=top_p)
    weights = (logits[0] / temperature).softmax(-1).tolist()
    order = sorted(range(vocabulary), key=lambda token: -weights[token])
    kept = order[:top_k] if 0 < top_k < vocabulary else order
    mass, nucleus = 0.0, []
    for token in kept:
        if mass / sum(weights[t] for t in kept) >= top_p:
            break
        nucleus.append(token)
        mass += weights[token]
    uniform = random.random()
    token, logprob = choose_tokens(logits, sampling, torch.tensor([uniform], dtype=torch.float64))
    assert int(token) in nucleus
    assert logprob.item() == pytest.approx(np.log(weights[int(token)]), abs=1e-4)
    below = sum(weights[t] for t in nucleus if t < int(token))
    assert below - 1e-5 <= uniform * mass <= below + weights[int(token)] + 1e-5
