"""The transformers engine by definition: what it samples is softmax(logits / temperature) and nothing else."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from tiny import example, tiny_policy
from tokenizers.processors import TemplateProcessing
from transformers import GenerationConfig

from srl.engines import StreamingEngine
from srl.engines.transformers import TransformersEngine, render
from srl.errors import DataError
from srl.parsing import parse_step
from srl.types import ChatPrompt, SamplingParams

GREEDY = SamplingParams(temperature=0.0, max_completion_tokens=12)
SAMPLED = SamplingParams(temperature=1.0, max_completion_tokens=12)
HOSTILE = {
    "do_sample": True,
    "top_k": 1,
    "top_p": 0.1,
    "temperature": 0.1,
    "repetition_penalty": 5.0,
    "no_repeat_ngram_size": 1,
    "suppress_tokens": list(range(20, 120)),
    "min_p": 0.9,
    "max_new_tokens": 1,
    "min_new_tokens": 11,
    "num_beams": 3,
}


def peaked_policy(seed=0):
    """The tiny policy with weights so large that temperature, penalties, padding and every earlier token show."""
    model, tokenizer = tiny_policy(seed)
    random = torch.Generator().manual_seed(seed)
    model.lm_head.weight = torch.nn.Parameter(torch.randn(len(tokenizer), 32, generator=random) * 0.4)
    for name, weight in model.model.named_parameters():
        if weight.ndim == 2:
            weight.data.mul_(50.0 if "embed" in name else 10.0)
    return model, tokenizer


def prompt_of(text):
    return ChatPrompt(messages=({"role": "user", "content": text},))


MIXED = [prompt_of("a"), prompt_of("seven times six is forty two, " * 5), prompt_of(""), prompt_of("nine plus two")]


def next_token_logits(model, ids):
    """[vocabulary], by one forward without padding and cache."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].double()


def decode_greedily(model, ids, end_ids, max_tokens):
    written = []
    while len(written) < max_tokens and not (written and written[-1] in end_ids):
        written.append(int(next_token_logits(model, [*ids, *written]).argmax()))
    return written


def tokens_of(generations):
    return [[list(completion.token_ids) for completion in generation.completions] for generation in generations]


def test_greedy_is_the_argmax_loop_for_prompts_of_mixed_lengths():
    model, tokenizer = peaked_policy()
    ids = [tokenizer(render(prompt, tokenizer), add_special_tokens=False)["input_ids"] for prompt in MIXED]
    free = [decode_greedily(model, prompt_ids, set(), 12) for prompt_ids in ids]
    end = free[1][4]  # a token that one of the completions reaches before the limit
    model.generation_config = GenerationConfig(eos_token_id=[end, tokenizer.eos_token_id])
    expected = [decode_greedily(model, prompt_ids, {end, tokenizer.eos_token_id}, 12) for prompt_ids in ids]
    assert len({len(row) for row in expected}) > 1
    engine = TransformersEngine(model, tokenizer, batch_size=3)
    generations = engine.generate(MIXED, num_samples=2, sampling=GREEDY, seed=0)
    assert tokens_of(generations) == [[row, row] for row in expected]
    assert [list(generation.prompt_token_ids) for generation in generations] == ids


def chi_square(observed, probabilities):
    """(statistic, degrees of freedom); tokens that are expected less than ten times are taken together."""
    total = sum(observed.values())
    rare = [token for token, p in enumerate(probabilities) if p * total < 10]
    bins = [(observed[token], p * total) for token, p in enumerate(probabilities) if p * total >= 10]
    bins.append((sum(observed[token] for token in rare), sum(probabilities[token] for token in rare) * total))
    bins = [(seen, expected) for seen, expected in bins if expected > 0]
    return sum((seen - expected) ** 2 / expected for seen, expected in bins), len(bins) - 1


def fits(observed, logits, temperature):
    """Whether the counts are a sample of softmax(logits / temperature): five standard deviations and not more."""
    statistic, freedom = chi_square(observed, torch.softmax(logits / temperature, dim=-1).tolist())
    return statistic < freedom + 5 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("temperature", [1.0, 0.6, 1.7])
def test_sampling_is_from_the_tempered_softmax(temperature):
    """First and second token, in a batch with a longer prompt: padding and cache change nothing."""
    model, tokenizer = peaked_policy()
    engine = TransformersEngine(model, tokenizer, batch_size=2000)
    sampling = SamplingParams(temperature=temperature, max_completion_tokens=2)
    short, long = engine.generate([MIXED[0], MIXED[3]], num_samples=4000, sampling=sampling, seed=3)
    for generation in (short, long):
        ids = list(generation.prompt_token_ids)
        first = Counter(completion.token_ids[0] for completion in generation.completions)
        logits = next_token_logits(model, ids)
        assert fits(first, logits, temperature)
        assert not fits(first, logits, temperature * 1.2)  # the test can tell
        assert sum(1 for count in first.values() if count) > 60  # no top_k = 50
        common = next(token for token, _ in first.most_common() if token != tokenizer.eos_token_id)
        second = Counter(item.token_ids[1] for item in generation.completions if item.token_ids[0] == common)
        assert sum(second.values()) > 150
        assert fits(second, next_token_logits(model, [*ids, common]), temperature)


def test_top_p_keeps_the_nucleus_only():
    model, tokenizer = peaked_policy()
    sampling = SamplingParams(temperature=1.0, max_completion_tokens=1, top_p=0.5)
    (generation,) = TransformersEngine(model, tokenizer, batch_size=2000).generate(
        MIXED[:1], num_samples=4000, sampling=sampling, seed=0
    )
    probabilities = torch.softmax(next_token_logits(model, generation.prompt_token_ids), dim=-1)
    ordered, tokens = probabilities.sort(descending=True)
    nucleus = tokens[(ordered.cumsum(0) - ordered) < 0.5]
    observed = Counter(completion.token_ids[0] for completion in generation.completions)
    assert set(observed) <= set(nucleus.tolist())
    assert len(nucleus) > 3
    logits = torch.full_like(probabilities, -torch.inf)
    logits[nucleus] = probabilities[nucleus].log()
    assert fits(observed, logits, 1.0)


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_the_checkpoints_generation_config_changes_nothing(sampling):
    model, tokenizer = peaked_policy()
    clean = TransformersEngine(model, tokenizer).generate(MIXED, num_samples=3, sampling=sampling, seed=1)
    hostile = GenerationConfig(**HOSTILE, eos_token_id=tokenizer.eos_token_id)
    model.generation_config = hostile
    engine = TransformersEngine(model, tokenizer)
    assert engine.generate(MIXED, num_samples=3, sampling=sampling, seed=1) == clean
    assert model.generation_config is hostile  # and a saved checkpoint still has it


def test_the_seed_decides_and_batches_differ():
    model, tokenizer = peaked_policy()
    engine = TransformersEngine(model, tokenizer, batch_size=4)
    torch.manual_seed(1)
    first = engine.generate(MIXED, num_samples=4, sampling=SAMPLED, seed=7)
    torch.manual_seed(2)  # whatever the global state is
    assert engine.generate(MIXED, num_samples=4, sampling=SAMPLED, seed=7) == first
    assert engine.generate(MIXED, num_samples=4, sampling=SAMPLED, seed=8) != first
    one, other = engine.generate([MIXED[0], MIXED[0]], num_samples=4, sampling=SAMPLED, seed=7)
    assert one.completions != other.completions
    assert len({completion.token_ids for completion in one.completions}) == 4


def test_the_global_random_state_is_untouched():
    model, tokenizer = peaked_policy()
    engine = TransformersEngine(model, tokenizer)
    before = torch.get_rng_state()
    engine.generate(MIXED, num_samples=2, sampling=SAMPLED, seed=0)
    engine.generate(MIXED, num_samples=2, sampling=GREEDY, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("training", [True, False])
def test_the_training_mode_comes_back_also_after_an_error(training):
    model, tokenizer = peaked_policy()
    engine = TransformersEngine(model, tokenizer)
    model.train(training)
    modes = []
    hook = model.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    engine.generate(MIXED[:1], num_samples=1, sampling=SAMPLED, seed=0)
    hook.remove()
    assert model.training == training
    assert not any(modes)  # dropout is off while sampling

    def fail(*_):
        raise RuntimeError("out of memory")

    before = torch.get_rng_state()
    own = model.generation_config
    hook = model.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        engine.generate(MIXED[:1], num_samples=1, sampling=SAMPLED, seed=0)
    hook.remove()
    assert model.training == training
    assert model.generation_config is own
    assert torch.equal(torch.get_rng_state(), before)


def test_no_gradient_is_recorded_and_new_weights_are_used_at_once():
    model, tokenizer = peaked_policy()
    engine = TransformersEngine(model, tokenizer)
    before = engine.generate(MIXED, num_samples=1, sampling=GREEDY, seed=0)
    assert all(weight.grad is None for weight in model.parameters())
    other, _ = peaked_policy(seed=1)
    model.load_state_dict(other.state_dict())
    after = engine.generate(MIXED, num_samples=1, sampling=GREEDY, seed=0)
    assert after != before
    assert after == TransformersEngine(other, tokenizer).generate(MIXED, num_samples=1, sampling=GREEDY, seed=0)


def test_finish_reason_and_text():
    """ "stop" ends with the end token, which the text does not show; "length" has exactly the limit's tokens."""
    model, tokenizer = peaked_policy()
    model.lm_head.weight.data[tokenizer.eos_token_id] *= 2.0  # ends now and then
    engine = TransformersEngine(model, tokenizer)
    generations = engine.generate(MIXED, num_samples=40, sampling=SAMPLED, seed=0)
    completions = [completion for generation in generations for completion in generation.completions]
    assert {completion.finish_reason for completion in completions} == {"stop", "length"}
    for completion in completions:
        ends = [token == tokenizer.eos_token_id for token in completion.token_ids]
        assert not any(ends[:-1])
        assert completion.finish_reason == ("stop" if ends[-1] else "length")
        assert completion.finish_reason == "stop" or len(ends) == SAMPLED.max_completion_tokens
        assert completion.text == tokenizer.decode(completion.token_ids, skip_special_tokens=True)
        assert tokenizer.eos_token not in completion.text
    assert any(c.finish_reason == "stop" and len(c.token_ids) < SAMPLED.max_completion_tokens for c in completions)


def test_the_end_tokens_of_the_generation_config_are_honoured():
    """Llama 3 and Qwen2.5 name several; each of them ends the turn, alone or beside the tokenizer's."""
    model, tokenizer = peaked_policy()
    ids = tokenizer(render(MIXED[0], tokenizer), add_special_tokens=False)["input_ids"]
    free = decode_greedily(model, ids, {tokenizer.eos_token_id}, 12)
    end = free[3]
    expected = free[: free.index(end) + 1]
    assert len(expected) < len(free)
    for configured in ([end], [tokenizer.pad_token_id, end], end):
        model.generation_config = GenerationConfig(eos_token_id=configured)
        engine = TransformersEngine(model, tokenizer)
        (generation,) = engine.generate(MIXED[:1], num_samples=1, sampling=GREEDY, seed=0)
        assert list(generation.completions[0].token_ids) == expected
        assert generation.completions[0].finish_reason == "stop"


def test_no_end_token_at_all_is_an_error():
    model, tokenizer = tiny_policy()
    model.generation_config = GenerationConfig()
    tokenizer.eos_token = None
    with pytest.raises(DataError, match="end-of-turn"):
        TransformersEngine(model, tokenizer)


def test_a_prompt_that_does_not_fit_is_an_error_and_one_that_just_fits_is_not():
    model, tokenizer = tiny_policy()  # a window of 512
    engine = TransformersEngine(model, tokenizer)
    head = len(engine.tokenize(render(prompt_of(""), tokenizer)))
    fitting = prompt_of("0" * (512 - head - 3))
    sampling = SamplingParams(temperature=1.0, max_completion_tokens=3)
    (generation,) = engine.generate([fitting], num_samples=1, sampling=sampling, seed=0)
    assert len(generation.prompt_token_ids) == 509
    with pytest.raises(DataError, match="window of 512"):
        engine.generate([MIXED[0], prompt_of("0" * (512 - head - 2))], num_samples=1, sampling=sampling, seed=0)


def test_nothing_asked_nothing_answered():
    model, tokenizer = tiny_policy()
    assert TransformersEngine(model, tokenizer).generate([], num_samples=2, sampling=SAMPLED, seed=0) == []


def test_a_think_tag_opened_by_the_template_belongs_to_the_completion():
    model, tokenizer = peaked_policy()
    tokenizer.chat_template = tokenizer.chat_template.replace("assistant\\n", "assistant\\n<think>\\n")
    engine = TransformersEngine(model, tokenizer)
    (generation,) = engine.generate(MIXED[:1], num_samples=4, sampling=SAMPLED, seed=0)
    assert tokenizer.decode(generation.prompt_token_ids).endswith("<|im_start|>assistant\n<think>\n")
    for completion in generation.completions:
        assert completion.text.startswith("<think>")
        plain = tokenizer.decode(completion.token_ids, skip_special_tokens=True)
        assert completion.text.removeprefix("<think>") == plain
        assert parse_step(completion.text + "</think>x = 1", "stop").action == "x = 1"


def test_a_tokenizer_without_chat_template():
    model, tokenizer = peaked_policy()
    tokenizer.chat_template = None
    system, user = {"role": "system", "content": "next"}, {"role": "user", "content": "6*7"}
    prompt = ChatPrompt(messages=(system, user), assistant_prefix="1. ")
    (generation,) = TransformersEngine(model, tokenizer).generate([prompt], num_samples=1, sampling=GREEDY, seed=0)
    assert tokenizer.decode(generation.prompt_token_ids) == "next\n\n6*7\n\n1. "
    expected = decode_greedily(model, list(generation.prompt_token_ids), {tokenizer.eos_token_id}, 12)
    assert list(generation.completions[0].token_ids) == expected


def test_the_assistant_prefix_stands_right_after_the_generation_prompt():
    model, tokenizer = peaked_policy()
    messages = example(3).prompt.messages
    prompt = ChatPrompt(messages=messages, assistant_prefix="1. **Add** 5\n\n")
    (generation,) = TransformersEngine(model, tokenizer).generate([prompt], num_samples=2, sampling=GREEDY, seed=0)
    opened = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    assert tokenizer.decode(generation.prompt_token_ids) == opened + "1. **Add** 5\n\n"
    for completion in generation.completions:  # the prefix is asked, not answered
        assert completion.text == tokenizer.decode(completion.token_ids, skip_special_tokens=True)
        expected = decode_greedily(model, list(generation.prompt_token_ids), {tokenizer.eos_token_id}, 12)
        assert list(completion.token_ids) == expected


def test_special_tokens_are_written_once():
    """By the chat template; a tokenizer that adds a beginning-of-text token must not add a second one."""
    model, tokenizer = peaked_policy()
    text = render(MIXED[0], tokenizer)
    plain = tokenizer(text)["input_ids"]
    start = tokenizer.convert_tokens_to_ids("<|im_start|>")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", start)]
    )
    assert tokenizer(text)["input_ids"] == [start, *plain]
    (generation,) = TransformersEngine(model, tokenizer).generate(MIXED[:1], num_samples=1, sampling=GREEDY, seed=0)
    assert list(generation.prompt_token_ids) == plain


def test_bfloat16_is_for_the_matrix_products_only():
    model, tokenizer = peaked_policy()
    engine = TransformersEngine(model, tokenizer, precision="bfloat16")
    formats = []
    hook = model.model.layers[0].mlp.register_forward_hook(lambda module, inputs, output: formats.append(output.dtype))
    generations = engine.generate(MIXED, num_samples=2, sampling=SAMPLED, seed=0)
    hook.remove()
    assert set(formats) == {torch.bfloat16}
    assert len(tokens_of(generations)) == len(MIXED)
    assert next(model.parameters()).dtype == torch.float32


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_streaming_hands_over_each_prompt_once_and_gives_what_generate_gives(batch_size):
    model, tokenizer = peaked_policy()
    engine = TransformersEngine(model, tokenizer, batch_size=batch_size)
    prompts = sorted(MIXED, key=engine.count_prompt_tokens, reverse=True)  # as generate takes them
    parts = list(engine.stream(iter(prompts), num_samples=2, sampling=SAMPLED, seed=5))
    handed = [index for part in parts for index in part]
    assert sorted(handed) == [0, 1, 2, 3]
    assert batch_size > 8 or len([part for part in parts if part]) > 1
    whole = engine.generate(prompts, num_samples=2, sampling=SAMPLED, seed=5)
    assert [whole[index] for index in handed] == [generation for part in parts for generation in part.values()]
    assert isinstance(engine, StreamingEngine)


def test_a_stream_leaves_mode_and_randomness_alone_while_others_use_the_model():
    """Between two parts a trainer might run: nothing of the engine's may be left in place."""
    model, tokenizer = peaked_policy()
    model.train()
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    for _ in TransformersEngine(model, tokenizer, batch_size=2).stream(
        iter(MIXED), num_samples=2, sampling=SAMPLED, seed=1
    ):
        assert model.training
        assert torch.equal(torch.random.get_rng_state(), state)
        assert torch.is_grad_enabled()
