"""A small language model from nothing: a byte-level tokenizer and a Llama-type network.

Used by the quickstart's base and by recipes that need a model of their own. What ``save`` writes is an ordinary
transformers folder: ``AutoModelForCausalLM`` and ``AutoTokenizer`` read it offline.

Why Llama and not Qwen2, which differs by three biases per layer only: transformers 5 reads the tokenizer of *any* folder
whose model type is "qwen2" as Qwen2's own, whatever ``tokenizer.json`` says. Its Unicode normalisation loses characters
and its word pattern undoes ours. For a Llama it takes the file at its word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from srl.parsing import THINK_CLOSE, THINK_OPEN

TURN_START, TURN_END, PADDING = "<|im_start|>", "<|im_end|>", "<|endoftext|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML without default texts: what is in the messages is in the prompt, nothing else."""

# A digit stands alone, and a piece ends with a line break. Unlike the usual pattern this one does not cut at spaces:
# a set phrase (". **Multiply by ") may become one token, which on a CPU is as good as a model twice as fast.
_PIECE = r"\d|\n+|[^\d\n]+\n*"
_MARKS = re.compile("|".join(map(re.escape, (TURN_START, TURN_END, PADDING, THINK_OPEN, THINK_CLOSE))))


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: any text survives ``decode(encode(text))``, every digit is one token.

    ``texts`` may be rendered chats: the marks of the chat template are left out of the training. ``vocab_size``
    includes the 256 bytes and the 5 marks. ``<think>`` and ``</think>`` are single tokens but not special, so that
    decoding with ``skip_special_tokens=True`` keeps them.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECE), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    tags = [AddedToken(tag, special=False, normalized=False) for tag in (THINK_OPEN, THINK_CLOSE)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(tags),
        special_tokens=[PADDING, TURN_START, TURN_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_pieces_between_marks(texts), trainer)
    core.add_tokens(tags)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=TURN_END,
        pad_token=PADDING,
        additional_special_tokens=[TURN_START],
        clean_up_tokenization_spaces=False,
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
    )


def new_model(
    tokenizer: PreTrainedTokenizerFast,
    *,
    hidden_size: int,
    num_layers: int,
    num_heads: int,
    max_positions: int,
    seed: int = 0,
) -> LlamaForCausalLM:
    """A freshly initialised float32 model; the weights depend on the sizes and ``seed`` only.

    The global random state is left as it was.
    """
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=3 * hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        num_key_value_heads=num_heads,
        max_position_embeddings=max_positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return model


def save(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    folder: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write model and tokenizer as one folder that transformers loads; ``model`` itself keeps its number format."""
    stored = LlamaForCausalLM(model.config)
    stored.load_state_dict(model.state_dict())
    stored.generation_config = model.generation_config
    stored.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _pieces_between_marks(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from filter(None, _MARKS.split(text))
