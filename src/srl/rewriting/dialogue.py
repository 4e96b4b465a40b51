"""An original solution -> what the LLM is asked, and the hash by which its answer is found again.

The hash covers everything that decides the answer: the model, the sampling settings and every message, and with them
prompt texts, problem and solution. The endpoint's address is not part of it: the same model on another machine is the
same model.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from srl.prompts import RewriteTexts
from srl.rewriting.originals import Original
from srl.rewriting.settings import RewriteConfig
from srl.types import Message

MAX_QUOTED_CHARS = 8000
"""A failed answer is quoted up to here: one that ran into the token limit would fill the model's context."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One question to the endpoint."""

    messages: tuple[Message, ...]
    """The whole conversation, the user's turn last."""
    key: str
    """Hash of everything that decides the answer."""


def first_request(original: Original, config: RewriteConfig) -> Request:
    """Instructions, two worked examples and the original."""
    texts = config.texts
    return _request(
        (
            {"role": "system", "content": texts.system},
            {"role": "user", "content": _question(texts, texts.first_problem, texts.first_solution)},
            {"role": "assistant", "content": texts.first_steps},
            {"role": "user", "content": _question(texts, texts.second_problem, texts.second_solution)},
            {"role": "assistant", "content": texts.second_steps},
            {"role": "user", "content": _question(texts, original.problem, original.solution)},
        ),
        config,
    )


def repair_request(request: Request, answer: str, reason: str, config: RewriteConfig) -> Request:
    """The same conversation, carried on with the answer that failed and the reason why."""
    answer = answer.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair cannot be sent
    if len(answer) > MAX_QUOTED_CHARS:
        answer = answer[:MAX_QUOTED_CHARS] + " [...]"
    return _request(
        (
            *request.messages,
            {"role": "assistant", "content": answer or "(nothing)"},  # many servers refuse an empty turn
            {"role": "user", "content": config.texts.repair.replace("{reason}", reason)},
        ),
        config,
    )


def _question(texts: RewriteTexts, problem: str, solution: str) -> str:
    # In one pass, so that a problem that itself contains "{solution}" stays as it is.
    values = {"{problem}": problem.strip(), "{solution}": solution.strip()}
    return re.sub(r"\{problem\}|\{solution\}", lambda mark: values[mark[0]], texts.question)


def _request(messages: tuple[Message, ...], config: RewriteConfig) -> Request:
    decisive = {
        "model": config.model,
        "temperature": config.temperature,
        "max_completion_tokens": config.max_completion_tokens,
        "messages": messages,
    }
    key = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode("ascii")).hexdigest()
    return Request(messages=messages, key=key)
