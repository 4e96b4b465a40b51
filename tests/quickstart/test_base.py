"""The tokenizer, the model builder and the shipped base model."""

import random
import unicodedata

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from srl.parsing import parse_solution, parse_step
from srl.prompts import next_step_prompt, solve_prompt
from srl.quickstart.base import (
    BASE_MODEL_FOLDER,
    BASE_SOLVE_RATE,
    BASE_STEP_ACCURACY,
    BaseRecipe,
    encode,
    rebuild_base,
    write_documents,
)
from srl.quickstart.task import QUICKSTART_TEXTS, make_problems
from srl.quickstart.tiny_model import new_model, save, train_tokenizer


@pytest.fixture(scope="module")
def small_tokenizer():
    return train_tokenizer(["Add 12 to \\frac{1}{2}.\n\nThen stop.<|im_end|>\n<think>no</think>"] * 3, 300)


@pytest.fixture(scope="module")
def base():
    model = AutoModelForCausalLM.from_pretrained(BASE_MODEL_FOLDER, dtype=torch.float32, local_files_only=True).eval()
    return model, AutoTokenizer.from_pretrained(BASE_MODEL_FOLDER, local_files_only=True)


def render(tokenizer, prompt):
    messages = list(prompt.messages)
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) + prompt.assistant_prefix


def complete(base, prompts, max_new_tokens):
    """(text, finish reason) of the greedy completion of each prompt."""
    model, tokenizer = base
    inputs = tokenizer(
        [render(tokenizer, prompt) for prompt in prompts], add_special_tokens=False, padding=True, return_tensors="pt"
    )
    rows = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)[:, inputs["input_ids"].shape[1] :]
    texts = tokenizer.batch_decode(rows, skip_special_tokens=True)
    return [
        (text, "stop" if tokenizer.eos_token_id in row else "length")
        for text, row in zip(texts, rows.tolist(), strict=True)
    ]


@given(st.text())
def test_any_text_survives_the_tokenizer(small_tokenizer, text):
    token_ids = small_tokenizer.encode(text, add_special_tokens=False)
    assert small_tokenizer.decode(token_ids) == unicodedata.normalize("NFC", text)


@given(st.text())
def test_any_text_survives_the_shipped_tokenizer(base, text):
    token_ids = base[1].encode(text, add_special_tokens=False)
    assert base[1].decode(token_ids) == unicodedata.normalize("NFC", text)


def test_digits_and_tags_are_single_tokens(small_tokenizer, base):
    for tokenizer in (small_tokenizer, base[1]):
        assert tokenizer.tokenize("1203") == ["1", "2", "0", "3"]
        assert not [token for token in tokenizer.get_vocab() if len(token) > 1 and any(map(str.isdigit, token))]
        token_ids = tokenizer.encode("<think>7</think>8<|im_end|>", add_special_tokens=False)
        assert len(token_ids) == 5
        assert token_ids[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(token_ids, skip_special_tokens=True) == "<think>7</think>8"
        assert len(tokenizer) <= 400


def test_saved_folder_loads_as_it_was(small_tokenizer, tmp_path):
    sizes = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "max_positions": 64}
    before = torch.get_rng_state()
    model, same = (new_model(small_tokenizer, **sizes, seed=5) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    save(model, small_tokenizer, tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, same.state_dict()[name])
        assert torch.equal(weight, loaded.state_dict()[name])
    text = "1. **Add 7** 35+7=42.\n\n e\u0301 \\frac{1}{2}<think>"
    assert tokenizer.tokenize(text) == small_tokenizer.tokenize(text)
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered == "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n"
    assert loaded.generation_config.eos_token_id == tokenizer.eos_token_id


def test_corpus_tokens_are_those_of_the_whole_text(base):
    tokenizer = base[1]
    documents = write_documents(60, seed=3, rng=random.Random(3))
    for document, (token_ids, labels) in zip(documents, encode(tokenizer, documents), strict=True):
        completion = "".join(text for text, _ in document.segments)
        whole = render(tokenizer, document.prompt) + completion + "<|im_end|>"
        assert token_ids == tokenizer.encode(whole, add_special_tokens=False)
        learned = "".join(text for text, is_learned in document.segments if is_learned)
        assert tokenizer.decode([label for label in labels if label >= 0]) == learned + "<|im_end|>"


def test_a_tiny_base_is_built_and_reproducible(tmp_path):
    recipe = BaseRecipe(num_updates=3, tokens_per_update=1024, hidden_size=16, num_layers=1, num_heads=2)
    for name in ("a", "b"):
        rebuild_base(tmp_path / name, recipe)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(path.name for path in BASE_MODEL_FOLDER.iterdir())
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_shipped_base_is_small_and_what_the_recipe_says(base):
    model, tokenizer = base
    assert sum(path.stat().st_size for path in BASE_MODEL_FOLDER.iterdir()) <= 3_000_000
    recipe = BaseRecipe()
    fresh = new_model(
        tokenizer,
        hidden_size=recipe.hidden_size,
        num_layers=recipe.num_layers,
        num_heads=recipe.num_heads,
        max_positions=recipe.max_positions,
    )
    assert {name: weight.shape for name, weight in fresh.state_dict().items()} == {
        name: weight.shape for name, weight in model.state_dict().items()
    }


@pytest.mark.parametrize("context_in", ["user", "assistant"])
def test_shipped_base_gets_about_half_of_the_steps_right(base, context_in):
    wanted, prompts = [], []
    for item in make_problems("test", 24, seed=0):
        for index, step in enumerate(item.steps):
            wanted.append(step)
            prompts.append(
                next_step_prompt(item.problem, item.steps[:index], context_in=context_in, texts=QUICKSTART_TEXTS)
            )
    parsed = [parse_step(text, reason) for text, reason in complete(base, prompts, max_new_tokens=64)]
    assert sum(item.status == "ok" for item in parsed) >= 0.98 * len(parsed)
    right = [item.action == step for item, step in zip(parsed, wanted, strict=True)]
    low, high = BASE_STEP_ACCURACY
    assert low <= sum(right) / len(right) <= high


def test_shipped_base_solves_few_problems(base):
    problems = make_problems("test", 64, seed=0)
    prompts = [solve_prompt(item.problem, texts=QUICKSTART_TEXTS) for item in problems]
    parsed = [parse_solution(text, reason) for text, reason in complete(base, prompts, max_new_tokens=320)]
    assert sum(item.status == "ok" for item in parsed) >= 0.95 * len(parsed)
    right = [
        item.action.endswith(f"The answer is \\boxed{{{problem.answer}}}.")
        for item, problem in zip(parsed, problems, strict=True)
    ]
    low, high = BASE_SOLVE_RATE
    assert low <= sum(right) / len(right) <= high
