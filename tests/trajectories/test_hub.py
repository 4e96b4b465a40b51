"""The Hub's reader on folders in the Hub's layout and on streams made here: no network in tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from srl.errors import DataError
from srl.trajectories.hub import HubDataset, find_hub_dataset, read_hub_dataset, read_stream
from srl.trajectories.rows import list_units

DATASET = HubDataset("owner/experts", "train")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "experts"
    (path / "data").mkdir(parents=True)
    for shard in range(2):
        rows = [{"problem": f"P{shard}", "nested": [{"a": row}]} for row in range(3)]
        pq.write_table(pa.Table.from_pylist(rows), path / "data" / f"train-0000{shard}-of-00002.parquet")
    pq.write_table(
        pa.Table.from_pylist([{"problem": "T", "nested": []}]), path / "data" / "test-00000-of-00001.parquet"
    )
    return path


def test_a_dataset_in_the_hubs_layout(folder: Path) -> None:
    rows = list(read_hub_dataset(HubDataset(str(folder), "train")))
    assert [(row.row, row.line) for row in rows] == [(number, 0) for number in range(6)]
    expected = [{"problem": f"P{shard}", "nested": [{"a": row}]} for shard in range(2) for row in range(3)]
    assert [row.value for row in rows] == expected
    assert [row.value for row in read_hub_dataset(HubDataset(str(folder), "test"))] == [{"problem": "T", "nested": []}]


def test_an_unknown_split(folder: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read split 'dev' of the dataset .*experts: .*dev"):
        list(read_hub_dataset(HubDataset(str(folder), "dev")))


def test_a_shard_that_is_damaged(folder: Path) -> None:
    (folder / "data" / "train-00001-of-00002.parquet").write_bytes(b"PAR1 and an end of the connection")
    with pytest.raises(DataError, match="cannot read split 'train'"):
        list(read_hub_dataset(HubDataset(str(folder), "train")))


@pytest.mark.parametrize("error", [ConnectionError("gone"), RuntimeError("closed"), EOFError(), KeyError("column")])
def test_a_stream_that_breaks(error: Exception) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield {"a": 1}
        yield {"a": 2}
        raise error

    stream = read_stream(rows(), DATASET)
    assert [next(stream).value, next(stream).value] == [{"a": 1}, {"a": 2}]
    message = f"split 'train' of the dataset owner/experts after 2 rows: {type(error).__name__}"
    with pytest.raises(DataError, match=message):
        next(stream)
    with pytest.raises(DataError, match=message):
        list(read_stream(datasets.IterableDataset.from_generator(rows), DATASET))


def test_rows_that_are_no_objects() -> None:
    found = list(read_stream([{"a": 1}, None, [1], {"a": 2}], DATASET))
    assert [str(row.value) for row in found] == [
        "{'a': 1}",
        "not_an_object: found NoneType",
        "not_an_object: found list",
        "{'a': 2}",
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("owner/name", HubDataset("owner/name", "train")),
        ("simplescaling/s1K-1.1:test", HubDataset("simplescaling/s1K-1.1", "test")),
        ("owner/name:", None),
        ("name", None),
        ("a/b/c", None),
        ("./x/y", None),
        ("öwner/name", None),
    ],
)
def test_names_of_datasets(source: str, expected: HubDataset | None) -> None:
    assert find_hub_dataset(source) == expected


def test_a_dataset_is_one_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (unit,) = list_units("owner/s1K-1.1:test")
    assert (unit.kind, unit.file) == ("hub", "owner/s1K-1.1:test")
