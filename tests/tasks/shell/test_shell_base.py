"""The shipped base of the shell task: what it can do, and that its recipe builds such a one."""

import random
import sys
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from srl.engines.transformers import TransformersEngine
from srl.sandbox import detect_protection
from srl.tasks.pretraining import encode
from srl.tasks.shell.base import SHELL_RECIPE, rebuild_shell_base
from srl.tasks.shell.corpus import SHELL_TEXTS, shell_prompt, simulate, write_documents
from srl.tasks.shell.environment import EpisodeOutcome, run_episodes
from srl.tasks.shell.evaluation import MAX_ACTION_TOKENS, evaluate_shell
from srl.tasks.shell.expert import BASE_FOLDER
from srl.tasks.shell.problems import make_problems
from srl.tasks.shell.scripts import Work
from srl.tasks.tiny_model import new_model
from srl.types import SamplingParams

REQUIRED = ("network", "filesystem") if sys.platform == "linux" and detect_protection().filesystem else ()
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")


@pytest.fixture(scope="module")
def engine():
    return TransformersEngine.from_pretrained(str(BASE_FOLDER), batch_size=128)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(BASE_FOLDER, local_files_only=True)


def test_it_is_small_and_of_the_sizes_of_its_recipe(tokenizer):
    assert sum(path.stat().st_size for path in BASE_FOLDER.iterdir()) <= 3_000_000
    model = AutoModelForCausalLM.from_pretrained(BASE_FOLDER, dtype=torch.float32, local_files_only=True)
    fresh = new_model(
        tokenizer,
        hidden_size=SHELL_RECIPE.hidden_size,
        num_layers=SHELL_RECIPE.num_layers,
        num_heads=SHELL_RECIPE.num_heads,
        max_positions=SHELL_RECIPE.max_positions,
    )
    shapes = {name: weight.shape for name, weight in model.state_dict().items()}
    assert {name: weight.shape for name, weight in fresh.state_dict().items()} == shapes


def test_the_recipe_builds_such_a_folder(tmp_path):
    rebuild_shell_base(tmp_path / "base", replace(SHELL_RECIPE, num_updates=2, tokens_per_update=1024))
    names = sorted(path.name for path in BASE_FOLDER.iterdir())
    assert sorted(path.name for path in (tmp_path / "base").iterdir()) == names
    shipped, built = ((folder / "tokenizer.json").read_text("utf-8") for folder in (BASE_FOLDER, tmp_path / "base"))
    assert built == shipped, "the corpus of the shipped base is not that of its recipe any more"


def test_corpus_tokens_are_those_of_the_whole_text(tokenizer):
    documents = write_documents(80, seed=3, rng=random.Random(3))
    for document, (token_ids, labels) in zip(documents, encode(tokenizer, documents), strict=True):
        completion = "".join(text for text, _ in document.segments)
        messages = list(document.prompt.messages)
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert token_ids == tokenizer.encode(prompt + completion + "<|im_end|>", add_special_tokens=False)
        learned = "".join(text for text, is_learned in document.segments if is_learned)
        assert tokenizer.decode([label for label in labels if label >= 0]) == learned + "<|im_end|>"


def test_prompts_and_careful_actions_are_short(tokenizer):
    for problem in make_problems("test", 120, seed=0):
        rounds = []
        for thought, action, observation in simulate(problem, Work()):
            messages = list(shell_prompt(problem.problem, rounds, texts=SHELL_TEXTS).messages)
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            assert len(tokenizer.encode(text, add_special_tokens=False)) < 160
            completion = f"<think>{thought}</think>{action}<|im_end|>"
            assert len(tokenizer.encode(completion, add_special_tokens=False)) < MAX_ACTION_TOKENS
            rounds.append((action, observation))


@needs_linux
def test_it_gets_about_half_of_the_actions_right_and_solves_little(engine):
    problems = make_problems("test", 48, seed=0)
    outcomes = evaluate_shell(engine, problems, num_samples=2, needs_think=True, seed=0, required=REQUIRED)
    rates = {
        name: sum(sum(values) for values in by_problem.values()) / sum(len(values) for values in by_problem.values())
        for name, by_problem in outcomes.items()
    }
    assert 0.40 <= rates["actions/greedy"] <= 0.70
    assert rates["environment/greedy"] <= 0.15
    assert 0.0 < rates["environment/avg@2"] <= 0.15


@needs_linux
def test_it_keeps_the_format(engine):
    records = run_episodes(
        engine,
        make_problems("test", 24, seed=1),
        num_samples=2,
        sampling=SamplingParams(temperature=1.0, max_completion_tokens=MAX_ACTION_TOKENS),
        seed=0,
        needs_think=True,
        required=REQUIRED,
    )
    broken = [record for record in records if record.outcome is EpisodeOutcome.FORMAT_ERROR]
    assert len(broken) <= 0.1 * len(records)
    submitted = [record for record in records if record.outcome is EpisodeOutcome.SUBMITTED]
    assert len(submitted) >= 0.6 * len(records)
