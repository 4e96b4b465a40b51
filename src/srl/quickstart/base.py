"""The recipe of the shipped base model: ``rebuild_base(folder)`` trains it from nothing on a CPU.

The base is pre-trained on documents by writers who are careful only sometimes (``srl.quickstart.corpus``), with the
loss on what they write and not on what they are asked. It reads each prompt that the quickstart uses: the next step
with the context in the user's or in the assistant's turn, and the whole solution.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import cast

import torch
from torch.nn import functional
from transformers import Qwen2ForCausalLM, Qwen2Tokenizer

from srl.engines.transformers import render
from srl.quickstart.corpus import SET_PHRASES, Document, write_document
from srl.quickstart.task import make_problems
from srl.quickstart.tiny_model import TURN_END, new_model, save, train_tokenizer

BASE_MODEL_FOLDER = Path(__file__).parent / "base_model"
"""The shipped checkpoint."""
BASE_STEP_ACCURACY = (0.30, 0.55)
"""Between these lies the shipped base's greedy accuracy on single steps, given the expert's context."""
BASE_SOLVE_RATE = (0.0, 0.12)
"""Between these lies its greedy rate of whole solutions that end with the right answer."""
CORPUS_LENGTHS = (1, 2, 2, 3, 3, 4, 5, 6)
"""Numbers of operations of the corpus problems; the short ones teach arithmetic at little cost."""
_IGNORED = -100
_LENGTH_UNIT = 32
_BATCHES_SORTED_TOGETHER = 32
Encoded = tuple[list[int], list[int]]
"""(token ids, labels) of one document; labels are -100 wherever there is no loss."""


@dataclass(frozen=True, kw_only=True)
class BaseRecipe:
    """Everything that the shipped base depends on."""

    seed: int = 0
    """Seed of corpus, initial weights and order."""
    num_updates: int = 1500
    """Optimizer updates."""
    tokens_per_update: int = 4096
    """Tokens of one batch, padding included."""
    learning_rate: float = 3e-3
    """AdamW's peak rate, for embedding and norms. Rates rise linearly over the warm-up and fall to a twentieth along \
half a cosine."""
    warmup_updates: int = 50
    """Updates of the warm-up."""
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


def rebuild_base(folder: str | Path, recipe: BaseRecipe = BaseRecipe(), *, log_every: int = 0) -> None:
    """Train a base and write it to ``folder``. Equal recipes give equal weights on the same machine.

    ``log_every`` prints the loss every so many updates; 0 prints nothing.
    """
    rng = random.Random(recipe.seed)
    sample = write_documents(2000, seed=recipe.seed, rng=rng)
    texts = (text for document in sample for text in _texts(document))
    tokenizer = train_tokenizer(texts, recipe.vocab_size, phrases=SET_PHRASES)
    model = new_model(
        tokenizer,
        hidden_size=recipe.hidden_size,
        num_layers=recipe.num_layers,
        num_heads=recipe.num_heads,
        max_positions=recipe.max_positions,
        seed=recipe.seed,
    )
    train(model, tokenizer, recipe, rng, log_every=log_every)
    save(model, tokenizer, folder, dtype=torch.bfloat16)


def train(
    model: Qwen2ForCausalLM,
    tokenizer: Qwen2Tokenizer,
    recipe: BaseRecipe,
    rng: random.Random,
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
    batches = _batches(tokenizer, recipe, rng)
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


def write_documents(num_documents: int, *, seed: int, rng: random.Random) -> list[Document]:
    """Fresh corpus documents; ``seed`` chooses the problems, ``rng`` the writers."""
    problems = make_problems("corpus", num_documents, seed, lengths=CORPUS_LENGTHS)
    return [write_document(problem, rng) for problem in problems]


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
    tokenizer: Qwen2Tokenizer, recipe: BaseRecipe, rng: random.Random
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
    return warmup * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * update / recipe.num_updates)))
