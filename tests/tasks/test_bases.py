"""The tokenizer, the model builder, and the shipped base model of every text task."""

import random
import unicodedata

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from srl.errors import ConfigError
from srl.parsing import parse_solution, parse_step
from srl.prompts import next_step_prompt, solve_prompt
from srl.tasks import CHAINS, TASKS
from srl.tasks.documents import IN_MY_HEAD
from srl.tasks.pretraining import BaseRecipe, adjust_base, encode, rebuild_base
from srl.tasks.task import TextTask
from srl.tasks.tiny_model import new_model, save, train_tokenizer

TEXT_TASKS = [task for task in TASKS.values() if isinstance(task, TextTask)]
TINY = BaseRecipe(num_updates=3, tokens_per_update=1024, hidden_size=16, num_layers=1, num_heads=2)


@pytest.fixture(scope="module")
def small_tokenizer():
    return train_tokenizer(["Add 12 to \\frac{1}{2}.\n\nThen stop.<|im_end|>\n<think>no</think>"] * 3, 300)


@pytest.fixture(scope="module", params=TEXT_TASKS, ids=lambda task: task.name)
def task(request):
    return request.param


def load(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    return model, AutoTokenizer.from_pretrained(folder, local_files_only=True)


@pytest.fixture(scope="module")
def base(task):
    return load(task.base_folder)


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


def test_corpus_tokens_are_those_of_the_whole_text(task, base):
    tokenizer = base[1]
    documents = task.write_documents(200, seed=3, rng=random.Random(3))
    for document, (token_ids, labels) in zip(documents, encode(tokenizer, documents), strict=True):
        completion = "".join(text for text, _ in document.segments)
        whole = render(tokenizer, document.prompt) + completion + "<|im_end|>"
        assert token_ids == tokenizer.encode(whole, add_special_tokens=False)
        learned = "".join(text for text, is_learned in document.segments if is_learned)
        assert tokenizer.decode([label for label in labels if label >= 0]) == learned + "<|im_end|>"


def test_careful_solutions_fit_into_the_limits_of_the_task(task, base):
    def length(text):
        return len(base[1].encode(text, add_special_tokens=False)) + 1  # and the end of the turn

    for item in task.make_problems("validation", 300, 1):
        assert length(item.trace) <= task.max_solution_tokens
        assert max(map(length, item.trace.split("\n\n"))) <= task.max_step_tokens
        assert len(item.steps) <= task.max_steps


def test_a_tiny_base_is_built_and_reproducible(task, tmp_path):
    for name in ("a", "b"):
        rebuild_base(task, tmp_path / name, TINY)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(path.name for path in task.base_folder.iterdir())
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    # The vocabulary is that of the shipped base: the recipe reads the same corpus today as it did then.
    assert (tmp_path / "a" / "tokenizer.json").read_bytes() == (task.base_folder / "tokenizer.json").read_bytes()


def test_shipped_base_is_small_and_what_the_recipe_says(task, base):
    model, tokenizer = base
    assert sum(path.stat().st_size for path in task.base_folder.iterdir()) <= 3_000_000
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
def test_shipped_base_gets_about_half_of_the_steps_right(task, base, context_in):
    wanted, prompts = [], []
    for item in task.make_problems("test", 32, 0):
        for index, step in enumerate(item.steps):
            wanted.append(step)
            prompts.append(next_step_prompt(item.problem, item.steps[:index], context_in=context_in, texts=task.texts))
    parsed = [parse_step(text, reason) for text, reason in complete(base, prompts, task.max_step_tokens)]
    assert sum(item.status == "ok" for item in parsed) >= 0.98 * len(parsed)
    right = [item.action == step for item, step in zip(parsed, wanted, strict=True)]
    low, high = task.base_step_accuracy
    assert low <= sum(right) / len(right) <= high


def test_shipped_base_solves_few_problems(task, base):
    problems = task.make_problems("test", 64, 0)
    prompts = [solve_prompt(item.problem, texts=task.texts) for item in problems]
    parsed = [parse_solution(text, reason) for text, reason in complete(base, prompts, task.max_solution_tokens)]
    assert sum(item.status == "ok" for item in parsed) >= 0.95 * len(parsed)
    right = [
        item.action.endswith(f"The answer is \\boxed{{{problem.answer}}}.")
        for item, problem in zip(parsed, problems, strict=True)
    ]
    low, high = task.base_solve_rate
    assert low <= sum(right) / len(right) <= high


@pytest.mark.slow
def test_another_base_has_another_habit(tmp_path):
    """A few updates with writers who always think: so does the base after them, and the format stays."""
    task = CHAINS
    adjust_base(task.base_folder, tmp_path, task=task, careless=0.0, num_updates=20)
    problems = task.make_problems("validation", 40, 0)
    prompts = [next_step_prompt(item.problem, (), context_in="user", texts=task.texts) for item in problems]

    def share_in_the_head(folder):
        completions = complete(load(folder), prompts, task.max_step_tokens)
        assert all(parse_step(text, reason).status == "ok" for text, reason in completions)
        return sum(text.startswith(f"<think>{IN_MY_HEAD}") for text, _ in completions) / len(completions)

    assert share_in_the_head(task.base_folder) >= 0.9
    assert share_in_the_head(tmp_path) <= 0.1


def test_an_adjusted_base_depends_on_its_seed_alone(task, tmp_path):
    rebuild_base(task, tmp_path / "base", TINY)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        adjust_base(tmp_path / "base", tmp_path / name, task=task, careless=0.5, num_updates=2, seed=seed)
    weights = {name: (tmp_path / name / "model.safetensors").read_bytes() for name in ("base", "a", "b", "c")}
    assert weights["a"] == weights["b"]
    assert len(set(weights.values())) == 3
    assert (tmp_path / "a/tokenizer.json").read_bytes() == (tmp_path / "base/tokenizer.json").read_bytes()


def test_a_share_outside_of_0_to_1_is_refused(task, tmp_path):
    with pytest.raises(ConfigError, match=r"careless is 1\.5.*between 0 and 1"):
        adjust_base(task.base_folder, tmp_path / "x", task=task, careless=1.5)
    assert not (tmp_path / "x").exists()
