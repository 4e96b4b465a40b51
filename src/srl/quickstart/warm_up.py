"""``python -m srl.quickstart.warm_up STEPS.jsonl -o FOLDER``: a tiny model for a test drive on real step examples.

A tokenizer is learned from the examples' text, a small Qwen2-type model is built from its config, and a short
fine-tuning teaches it to write ``<think>next</think>`` and the beginning of the step, so that its completions follow
the format and their rewards differ. It knows nothing else; what is trained from it proves a path, not a method.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from srl.checkpoint import save_model
from srl.example_store import load_examples
from srl.examples import ExampleSettings
from srl.parsing import THINK_CLOSE, THINK_OPEN
from srl.prompts import DEFAULT_TEXTS, step_prompt
from srl.quickstart.sft import PromptCompletion, fine_tune
from srl.tasks.tiny_model import new_model, train_tokenizer
from srl.types import StepExample

LONGEST_PROMPT = 800
"""Characters of problem and context; longer examples are left to the training itself."""
ACTION_CHARACTERS = 60
"""How much of a step the warm-up teaches: enough to compare, little enough to be quick."""


def make_tiny_model(
    steps: tyro.conf.Positional[str],
    *,
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    vocab_size: int = 2000,
    hidden_size: int = 128,
    num_layers: int = 2,
    num_updates: int = 160,
    seed: int = 0,
) -> None:
    """Make a tiny model whose completions follow the step format.

    Args:
        steps: File of step examples, as written by `srl decompose`.
        output: Model folder to write.
        vocab_size: Tokens in the vocabulary.
        hidden_size: Width of the model.
        num_layers: Layers of the model.
        num_updates: Updates of the warm-up, 8 examples each.
        seed: Seed of weights and order.
    """
    examples = load_examples(steps, ExampleSettings(include_last_step=True)).store
    texts = [DEFAULT_TEXTS.step_system, *(example.problem + "\n" + example.target_action for example in examples)]
    tokenizer = train_tokenizer(texts, vocab_size)
    model = new_model(
        tokenizer, hidden_size=hidden_size, num_layers=num_layers, num_heads=4, max_positions=8192, seed=seed
    )
    fine_tune(
        model,
        tokenizer,
        [_pair(example) for example in examples if _length(example) <= LONGEST_PROMPT],
        num_examples=8 * num_updates,
        batch_size=8,
        learning_rate=2e-3,
        seed=seed,
    )
    save_model(output, model, tokenizer)
    Console().print(f"{sum(weight.numel() for weight in model.parameters()):,} weights in {output}", highlight=False)


def _length(example: StepExample) -> int:
    return len(example.problem) + sum(map(len, example.context))


def _pair(example: StepExample) -> PromptCompletion:
    prompt = step_prompt(example, context_in="user", title_in_prompt=False)
    return prompt, f"{THINK_OPEN}next{THINK_CLOSE}{example.target_action[:ACTION_CHARACTERS]}"


if __name__ == "__main__":
    tyro.cli(make_tiny_model)
