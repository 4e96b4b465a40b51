"""A dataset on the Hugging Face Hub -> its rows, streamed.

The decision a reader would question: a failure in the middle is an error and not a drop. A folder says how much it
holds; a broken connection does not, and part of a dataset must not pass for the whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple, cast

from srl.errors import DataError
from srl.trajectories.json_lines import Element
from srl.trajectories.reasons import DropReason, RowError

_HUB_ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?::(?P<split>[\w.-]+))?", re.ASCII)


class HubDataset(NamedTuple):
    """A split of a dataset."""

    name: str
    """Its id "owner/name", or a local folder in the Hub's layout."""
    split: str
    """The split, "train" unless named."""


def find_hub_dataset(source: str) -> HubDataset | None:
    """What "owner/name" or "owner/name:split" means, None if ``source`` is neither."""
    found = _HUB_ID.fullmatch(source)
    return HubDataset(found["name"], found["split"] or "train") if found else None


def read_hub_dataset(dataset: HubDataset) -> Iterator[Element]:
    """The rows of a dataset that ``datasets`` can load, streamed. No code is ever taken from the Hub.

    Images and audio stay as they are stored: decoding them takes libraries that nobody needs here. Raises DataError.
    """
    datasets: Any = import_module("datasets")  # takes a second, and only Hub datasets need it
    try:
        stream = datasets.load_dataset(dataset.name, split=dataset.split, streaming=True).decode(False)
    except Exception as error:  # any library below, on the way to any server
        raise _cannot_read(dataset, error) from error
    return read_stream(stream, dataset)


def read_stream(stream: Iterable[object], dataset: HubDataset) -> Iterator[Element]:
    """The rows of an open stream. Raises DataError where it breaks, however many rows came before."""
    rows = iter(stream)
    row = 0
    while True:
        try:
            value = next(rows)
        except StopIteration:
            return
        except Exception as error:
            raise _cannot_read(dataset, error, f" after {row} rows") from error
        is_object = isinstance(value, Mapping)
        refused = RowError(DropReason.NOT_AN_OBJECT, f"found {type(value).__name__}")
        yield Element(row, 0, dict(cast("Mapping[str, object]", value)) if is_object else refused)
        row += 1


def _cannot_read(dataset: HubDataset, error: Exception, place: str = "") -> DataError:
    detail = f"{type(error).__name__}: {error}"
    looked_for = "" if place else "; there is no file or folder of this name, so it was looked for on the Hub"
    return DataError(f"cannot read split {dataset.split!r} of the dataset {dataset.name}{place}: {detail}{looked_for}")
