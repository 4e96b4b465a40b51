"""The shipped base of the shell task: ``python -m srl.tasks.shell.base FOLDER`` trains it on a CPU.

It is the base of the chains, trained further: that one can calculate already, and half of what an agent writes here is
calculation. What is said always in the same words becomes new tokens of its vocabulary. From nothing it would take
more than twice as long.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Annotated, Any, cast

import torch
import tyro
from tokenizers import AddedToken
from transformers import Qwen2ForCausalLM, Qwen2Tokenizer

from srl.policy import load_policy
from srl.seeds import derive_seed
from srl.tasks import CHAINS
from srl.tasks.pretraining import BaseRecipe, train
from srl.tasks.shell.corpus import SET_PHRASES, write_documents
from srl.tasks.tiny_model import save

SHELL_RECIPE = BaseRecipe(learning_rate=1.5e-3, matrix_learning_rate=0.01)
"""Half the peak rates of the base that it starts from. Sizes and vocabulary are that base's."""


def rebuild_shell_base(folder: Path, recipe: BaseRecipe = SHELL_RECIPE, *, log_every: int = 0) -> None:
    """Train the base and write it to ``folder``. Equal recipes give equal weights on the same machine.

    ``log_every`` prints the loss every so many updates; 0 prints nothing.
    """
    model, tokenizer = cast("tuple[Qwen2ForCausalLM, Qwen2Tokenizer]", load_policy(CHAINS.base_folder))
    phrases: Any = [AddedToken(text, special=False, normalized=False) for text in SET_PHRASES]
    tokenizer.add_tokens(phrases)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(recipe.seed, "shell"))
        model.resize_token_embeddings(len(tokenizer))
    train(model, tokenizer, recipe, random.Random(recipe.seed), write_documents, log_every=log_every)
    save(model, tokenizer, folder, dtype=torch.bfloat16)


def main(
    folder: tyro.conf.Positional[Path], *, log_every: Annotated[int, tyro.conf.arg(name="log-every")] = 50
) -> None:
    """Train the base of the shell task: ten to twenty minutes on one core.

    Args:
        folder: Where the model is written.
        log_every: Updates between two losses that are printed.
    """
    rebuild_shell_base(folder, log_every=log_every)


if __name__ == "__main__":
    tyro.cli(main)
