"""Save and resume, exactly: weights, optimizer, random state, data position, best validation so far.

    checkpoints/<stage>/update-00010/   model and tokenizer, optimizer.safetensors, state.json
    checkpoints/<stage>/best-00008/     model and tokenizer of the best validation reward
    checkpoints/<stage>/final.json      which of them the stage hands on; written when the stage is done

A folder appears under its name only when it is whole (written beside it, then renamed), and an older one is removed
only when nothing refers to it any more, so a kill at any moment leaves something to resume from. Tensors are stored
as safetensors and the rest as JSON: nothing is pickled.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srl.collect import CollectorState
from srl.errors import RunDirError
from srl.run_dir import write_json


class Best(TypedDict):
    """The best validation so far."""

    update: int
    value: float


class TrainerState(TypedDict):
    """What a resumed stage needs besides tensors."""

    update: int
    num_rollouts: int
    num_sampled_tokens: int
    seconds: float
    before: list[float]  # of updates, rollouts, tokens and seconds: what was spent before the first update
    collector: CollectorState
    best: Best | None


def first_state(collector: CollectorState) -> TrainerState:
    """The state before the first update."""
    return {
        "update": 0,
        "num_rollouts": 0,
        "num_sampled_tokens": 0,
        "seconds": 0.0,
        "before": [0, 0, 0, 0.0],
        "collector": collector,
        "best": None,
    }


def save_model(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write model and tokenizer in the Hugging Face format, whole or not at all."""
    temporary = _temporary(folder)
    model.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    _replace(temporary, folder)


def save_checkpoint(
    stage_folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    optimizer: torch.optim.Optimizer,
    state: TrainerState,
) -> None:
    """Write the resumable checkpoint of ``state["update"]`` and remove what it makes superfluous."""
    folder = update_folder(stage_folder, state["update"])
    temporary = _temporary(folder)
    model.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    save_file(_optimizer_tensors(optimizer) | _random_tensors(), temporary / "optimizer.safetensors")
    write_json(temporary / "state.json", state)
    _replace(temporary, folder)
    keep = {folder.name, best_folder(stage_folder, state["best"]["update"]).name if state["best"] else ""}
    for other in stage_folder.iterdir():
        if other.is_dir() and other.name not in keep:
            shutil.rmtree(other)


def latest_checkpoint(stage_folder: Path) -> Path | None:
    """The newest whole checkpoint of a stage, None if there is none."""
    folders = [folder for folder in stage_folder.glob("update-*") if folder.name.removeprefix("update-").isdigit()]
    return max(folders, key=lambda folder: int(folder.name.removeprefix("update-")), default=None)


def load_state(checkpoint: Path) -> TrainerState:
    """The trainer's state of a checkpoint."""
    try:
        return json.loads((checkpoint / "state.json").read_text("utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise RunDirError(
            f"the checkpoint {checkpoint} cannot be read ({error}); remove it to resume before it"
        ) from error


def load_optimizer(checkpoint: Path, optimizer: torch.optim.Optimizer) -> None:
    """Restore the optimizer and the random state that ``save_checkpoint`` wrote."""
    tensors = load_file(checkpoint / "optimizer.safetensors")
    _restore_random(tensors)
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        kind, _, key = name.partition("/")
        if kind == "optimizer":
            index, _, field = key.partition(".")
            state.setdefault(int(index), {})[field] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def write_final(stage_folder: Path, model_folder: Path, state: TrainerState) -> None:
    """Record that the stage is done and which folder it hands on."""
    write_json(
        stage_folder / "final.json", {"model": model_folder.name, "update": state["update"], "best": state["best"]}
    )


def final_model(stage_folder: Path) -> Path | None:
    """The model that a finished stage hands on, None while it is not finished."""
    path = stage_folder / "final.json"
    if not path.is_file():
        return None
    folder = stage_folder / json.loads(path.read_text("utf-8"))["model"]
    if not folder.is_dir():
        raise RunDirError(f"{path} names {folder.name}, which is missing")
    return folder


def update_folder(stage_folder: Path, update: int) -> Path:
    """Folder of the resumable checkpoint after ``update``."""
    return stage_folder / f"update-{update:05d}"


def best_folder(stage_folder: Path, update: int) -> Path:
    """Folder of the best model when ``update`` made it."""
    return stage_folder / f"best-{update:05d}"


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return {
        f"optimizer/{index}.{name}": torch.as_tensor(value).contiguous()
        for index, values in state.items()
        for name, value in values.items()
    }


def _random_tensors() -> dict[str, Tensor]:
    tensors = {"random/cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["random/cuda"] = torch.cuda.get_rng_state()
    return tensors


def _restore_random(tensors: dict[str, Tensor]) -> None:
    torch.set_rng_state(tensors["random/cpu"])
    if "random/cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random/cuda"])


def _temporary(folder: Path) -> Path:
    temporary = folder.with_name(folder.name + ".tmp")
    if temporary.exists():  # left over from a kill
        shutil.rmtree(temporary)
    temporary.mkdir(parents=True)
    return temporary


def _replace(temporary: Path, folder: Path) -> None:
    if folder.exists():  # a resumed run writes the same update again
        shutil.rmtree(folder)
    temporary.rename(folder)
