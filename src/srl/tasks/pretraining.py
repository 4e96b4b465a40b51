"""The recipe of the shipped base models: ``rebuild_base(task, folder)`` trains one from nothing on a CPU.

A base is pre-trained on documents by writers who are careful only sometimes (the corpus module of its task), with the
loss on what they write and not on what they are asked. It reads each prompt that is used later: the next step with
the context in the user's or in the assistant's turn, and the whole solution. ``adjust_base`` makes a base of another
quality from a shipped one, by more of the same with writers of other habits.

``python -m srl.tasks.pretraining TASK -o FOLDER`` does the former.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal, cast

import torch
import tyro
from torch.nn import functional
from transformers import Qwen2ForCausalLM, Qwen2Tokenizer

from srl.engines.transformers import render
from srl.errors import ConfigError, DataError
from srl.policy import load_policy
from srl.seeds import derive_seed
from srl.tasks import TASKS
from srl.tasks.task import Document, TextTask, WriteDocuments
from srl.tasks.tiny_model import TURN_END, new_model, save, train_tokenizer

_IGNORED = -100
_LENGTH_UNIT = 32
_BATCHES_SORTED_TOGETHER = 32
Encoded = tuple[list[int], list[int]]
"""(token ids, labels) of one document; labels are -100 wherever there is no loss."""


@dataclass(frozen=True, kw_only=True)
class BaseRecipe:
    """Everything that a shipped base depends on, beside its task."""

    seed: int = 0
    """Seed of corpus, initial weights and order."""
    num_updates: int = 1500
    """Optimizer updates."""
    tokens_per_update: int = 4096
    """Tokens of one batch, padding included."""
    learning_rate: float = 3e-3
    """AdamW's peak rate, for embedding and norms. Rates rise linearly over the warm-up."""
    warmup_updates: int = 50
    """Updates of the warm-up."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """After the warm-up: rates fall to a twentieth along half a cosine, or stay."""
    matrix_learning_rate: float = 0.02
    """Muon's peak rate, for the weight matrices: it needs half as many tokens as AdamW."""
    vocab_size: int = 320
    """Tokens in the vocabulary, the set phrases included."""
    hidden_size: int = 128
    """Width."""
    num_layers: int = 4
    """Layers."""
    num_heads: int = 4
    """Attention heads."""
    max_positions: int = 1024
    """Longest prompt and completion together."""


_ADJUSTMENT = BaseRecipe(
    learning_rate=6e-4, matrix_learning_rate=4e-3, warmup_updates=10, schedule="constant"
)  # a fifth of the peak rates: enough to change a habit in a hundred updates


def rebuild_base(task: TextTask, folder: str | Path, recipe: BaseRecipe = BaseRecipe(), *, log_every: int = 0) -> None:
    """Train a base of ``task`` and write it to ``folder``. Equal recipes give equal weights on the same machine.

    ``log_every`` prints the loss every so many updates; 0 prints nothing.
    """
    rng = random.Random(recipe.seed)
    sample = task.write_documents(2000, seed=recipe.seed, rng=rng)
    texts = (text for document in sample for text in _texts(document))
    tokenizer = train_tokenizer(texts, recipe.vocab_size, phrases=task.set_phrases)
    model = new_model(
        tokenizer,
        hidden_size=recipe.hidden_size,
        num_layers=recipe.num_layers,
        num_heads=recipe.num_heads,
        max_positions=recipe.max_positions,
        seed=recipe.seed,
    )
    train(model, tokenizer, recipe, rng, task.write_documents, log_every=log_every)
    save(model, tokenizer, folder, dtype=torch.bfloat16)


def adjust_base(
    source: Path,
    output: Path,
    *,
    task: TextTask,
    careless: float,
    num_updates: int = 150,
    seed: int = 0,
    log_every: int = 0,
) -> None:
    """Make a base of another quality: continue the pre-training of ``source`` with writers of other habits.

    ``careless`` is the share of steps that they write in the head, the same for every operation: 0.95 is a base that
    hardly ever thinks, 0.4 one that often does. What it can do stays about the same. A minute or two on one core.
    """
    if not 0 <= careless <= 1:
        raise ConfigError(f"careless is {careless}; it is a share of steps and must lie between 0 and 1")
    model, tokenizer = load_policy(source)
    if not isinstance(model, Qwen2ForCausalLM) or not isinstance(tokenizer, Qwen2Tokenizer):
        raise DataError(f"{source} holds a {type(model).__name__}; give a base of a task, such as {task.base_folder}")
    recipe = replace(_ADJUSTMENT, num_updates=num_updates, seed=seed)
    rng = random.Random(derive_seed(seed, "adjust"))
    train(model, tokenizer, recipe, rng, partial(task.write_documents, careless=careless), log_every=log_every)
    save(model, tokenizer, output, dtype=torch.bfloat16)


def train(
    model: Qwen2ForCausalLM,
    tokenizer: Qwen2Tokenizer,
    recipe: BaseRecipe,
    rng: random.Random,
    write_documents: WriteDocuments,
    *,
    log_every: int = 0,
) -> None:
    """Pre-train ``model`` in place on fresh documents: no document is seen twice on purpose."""
    matrices = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and "embed" not in name]
    others = [weight for name, weight in model.named_parameters() if weight.ndim != 2 or "embed" in name]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=recipe.matrix_learning_rate, weight_decay=0.0),
        torch.optim.AdamW(others, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda update: _learning_rate_factor(update, recipe))
        for optimizer in optimizers
    ]
    batches = _batches(tokenizer, recipe, rng, write_documents)
    model.set_attn_implementation("eager")  # on a CPU, at these lengths, twice as fast as the fused kernel
    model.train()
    for update in range(recipe.num_updates):
        token_ids, labels = next(batches)
        # No attention mask: padding is on the right, where a causal model cannot see it.
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(input_ids=token_ids).logits
        loss = functional.cross_entropy(
            logits[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten(), ignore_index=_IGNORED
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        if log_every and (update + 1) % log_every == 0:
            print(f"update {update + 1}: loss {loss.item():.4f}", flush=True)
    model.set_attn_implementation("sdpa")
    model.eval()


def encode(tokenizer: Qwen2Tokenizer, documents: list[Document]) -> list[Encoded]:
    """Token ids and labels of each document.

    Tokenizing piece by piece is tokenizing the whole: a piece ends with a line break or at a tag, and the
    tokenizer cuts there too.
    """
    texts: list[str] = []
    for document in documents:
        texts += [render(document.prompt, tokenizer), *(text for text, _ in document.segments)]
    pieces = iter(cast("list[list[int]]", tokenizer(texts, add_special_tokens=False)["input_ids"]))
    encoded: list[Encoded] = []
    for document in documents:
        token_ids = list(next(pieces))
        labels = [_IGNORED] * len(token_ids)
        for _, is_learned in document.segments:
            piece = next(pieces)
            token_ids += piece
            labels += piece if is_learned else [_IGNORED] * len(piece)
        end = cast("int", tokenizer.convert_tokens_to_ids(TURN_END))
        encoded.append(([*token_ids, end], [*labels, end]))
    return encoded


def _batches(
    tokenizer: Qwen2Tokenizer, recipe: BaseRecipe, rng: random.Random, write_documents: WriteDocuments
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless (token ids, labels) of shape [documents, tokens], each with documents of about the same length."""
    num_documents = recipe.tokens_per_update * _BATCHES_SORTED_TOGETHER // 128
    batches: list[list[Encoded]] = []
    left_over: dict[int, list[Encoded]] = {}
    while True:
        documents = write_documents(num_documents, seed=rng.randrange(2**32), rng=rng)
        encoded = sorted(encode(tokenizer, documents), key=lambda item: len(item[0]))
        for length, same_length in groupby(encoded, key=_padded_length):
            batch_size = recipe.tokens_per_update // length
            waiting = left_over.pop(length, []) + list(same_length)
            while len(waiting) >= batch_size:
                batches.append(waiting[:batch_size])
                del waiting[:batch_size]
            left_over[length] = waiting
        rng.shuffle(batches)
        while batches:
            batch = batches.pop()
            length = _padded_length(batch[0])
            padding = tokenizer.pad_token_id
            yield (
                torch.tensor([token_ids + [padding] * (length - len(token_ids)) for token_ids, _ in batch]),
                torch.tensor([labels + [_IGNORED] * (length - len(labels)) for _, labels in batch]),
            )


def _padded_length(item: Encoded) -> int:
    """Few different lengths make few different shapes: bfloat16 kernels are compiled anew for every shape."""
    return math.ceil(len(item[0]) / _LENGTH_UNIT) * _LENGTH_UNIT


def _texts(document: Document) -> Iterator[str]:
    """What the tokenizer learns from: every piece of the rendered chat."""
    for message in document.prompt.messages:
        yield f"{message['role']}\n"
        yield message["content"]
    yield "assistant\n"
    yield document.prompt.assistant_prefix
    yield from (text for text, _ in document.segments)


def _learning_rate_factor(update: int, recipe: BaseRecipe) -> float:
    warmup = min(1.0, (update + 1) / recipe.warmup_updates)
    if recipe.schedule == "constant":
        return warmup
    return warmup * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * update / recipe.num_updates)))


def main(
    task: tyro.conf.Positional[str],
    *,
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    log_every: int = 50,
) -> None:
    """Train the base of a task from nothing: ten to twenty minutes on one core.

    Args:
        task: Name of the task.
        output: Model folder to write.
        log_every: Updates between two lines of the log.
    """
    if task not in TASKS:
        raise ConfigError(f"there is no task {task!r}; the tasks are {', '.join(TASKS)}")
    rebuild_base(TASKS[task], output, log_every=log_every)


if __name__ == "__main__":
    tyro.cli(main)
