"""A small language model from nothing: a byte-level tokenizer and a Qwen2-type network.

Used by the quickstart's base and by recipes that need a model of their own. What ``save`` writes is an ordinary
transformers folder: ``AutoModelForCausalLM`` and ``AutoTokenizer`` read it offline.

The tokenizer is Qwen2's class with a vocabulary of our own, and not a free combination of parts: transformers 5 reads
the tokenizer of any folder of model type "qwen2" as that class, whatever else ``tokenizer.json`` says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from srl.parsing import THINK_CLOSE, THINK_OPEN

TURN_START, TURN_END, PADDING = "<|im_start|>", "<|im_end|>", "<|endoftext|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML without default texts: what is in the messages is in the prompt, nothing else."""

_MARKS = re.compile("|".join(map(re.escape, (TURN_START, TURN_END, PADDING, THINK_OPEN, THINK_CLOSE))))


def train_tokenizer(texts: Iterable[str], vocab_size: int, *, phrases: Sequence[str] = ()) -> Qwen2Tokenizer:
    """A byte-level BPE tokenizer of Qwen2's kind: any text in normal form C survives, every digit is one token.

    ``texts`` may be rendered chats: the marks of the chat template are left out of the training. ``vocab_size``
    includes the 256 bytes, the 5 marks and the phrases. ``<think>`` and ``</think>`` are single tokens but not
    special, so that decoding with ``skip_special_tokens=True`` keeps them. Each of ``phrases`` becomes one token
    wherever it stands; among phrases that begin at the same place the longest one wins.
    """
    plain = [THINK_OPEN, THINK_CLOSE, *phrases]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(plain),
        special_tokens=[PADDING, TURN_START, TURN_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    kind = Qwen2Tokenizer().backend_tokenizer  # for its normaliser and its rule where words begin
    core = Tokenizer(models.BPE())
    core.normalizer, core.pre_tokenizer = kind.normalizer, kind.pre_tokenizer
    core.train_from_iterator(_pieces_between_marks(texts), trainer)
    learned = json.loads(core.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=learned["vocab"],
        merges=cast("Any", [tuple(merge) for merge in learned["merges"]]),
        eos_token=TURN_END,
        pad_token=PADDING,
        unk_token=cast("Any", None),  # there is nothing that bytes cannot spell
        additional_special_tokens=[TURN_START],
        clean_up_tokenization_spaces=False,
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
    )
    tokens: Any = [AddedToken(text, special=False, normalized=False) for text in plain]
    tokenizer.add_tokens(tokens)
    return tokenizer


def new_model(
    tokenizer: Qwen2Tokenizer,
    *,
    hidden_size: int,
    num_layers: int,
    num_heads: int,
    max_positions: int,
    seed: int = 0,
) -> Qwen2ForCausalLM:
    """A freshly initialised float32 model; the weights depend on the sizes and ``seed`` only.

    The global random state is left as it was.
    """
    end, padding = cast("int", tokenizer.eos_token_id), cast("int", tokenizer.pad_token_id)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=3 * hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        num_key_value_heads=num_heads,
        max_position_embeddings=max_positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=padding,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=padding)
    return model


def save(
    model: Qwen2ForCausalLM,
    tokenizer: Qwen2Tokenizer,
    folder: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write model and tokenizer as one folder that transformers loads; ``model`` itself keeps its number format."""
    stored = Qwen2ForCausalLM(model.config)
    stored.load_state_dict(model.state_dict())
    stored.generation_config = model.generation_config
    cast("torch.nn.Module", stored).to(dtype=dtype)
    stored.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _pieces_between_marks(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from filter(None, _MARKS.split(text))
