from __future__ import annotations

import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from srl.errors import DataError
from srl.trajectories.rows import Row, list_units, read_rows, read_unit
from srl.types import DroppedRow


def outcomes(source: str | Path) -> list[object]:
    return [item.reason if isinstance(item, DroppedRow) else item.value for item in read_rows(str(source))]


def write_groups(path: Path, num_rows: int, group_rows: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [{"id": row, "text": f"{row} " * 50} for row in range(num_rows)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=group_rows, compression="none")
    return rows


def test_rows_of_all_row_groups(tmp_path: Path) -> None:
    rows = write_groups(tmp_path / "x.parquet", 1000, 300)
    items = list(read_rows(str(tmp_path / "x.parquet")))
    assert [item.value for item in items if isinstance(item, Row)] == rows
    assert [(item.source.row, item.line) for item in items] == [(row, 0) for row in range(1000)]


@pytest.mark.parametrize(("unit_bytes", "first_rows"), [(1, [0, 300, 600, 900]), (100_000, [0, 600]), (10**9, [0])])
def test_units_are_row_groups(tmp_path: Path, unit_bytes: int, first_rows: list[int]) -> None:
    write_groups(tmp_path / "x.parquet", 1000, 300)
    units = list(list_units(str(tmp_path / "x.parquet"), unit_bytes=unit_bytes))
    assert [unit.first_row for unit in units] == first_rows
    assert [item for unit in units for item in read_unit(unit)] == list(read_rows(str(tmp_path / "x.parquet")))


def test_a_damaged_row_group_costs_its_own_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_groups(path, 900, 300)
    column = pq.ParquetFile(path).metadata.row_group(1).column(1)
    start = column.dictionary_page_offset or column.data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 200] = b"\xff" * 200
    path.write_bytes(content)
    items = list(read_rows(str(path)))
    (dropped,) = [item for item in items if isinstance(item, DroppedRow)]
    assert (dropped.reason, dropped.source.row) == ("corrupt", 300)
    assert dropped.detail.startswith("300 rows from here on cannot be read: ")
    assert [item.source.row for item in items if isinstance(item, Row)] == [*range(300), *range(600, 900)]
    assert [item for unit in list_units(str(path), unit_bytes=1) for item in read_unit(unit)] == items


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(pa.string(), 2, [*pa.array(["ab", "cd"]).buffers()[:2], pa.py_buffer(b"\xff\xffcd")])
    pq.write_table(pa.table({"a": broken}), tmp_path / "x.parquet")
    assert outcomes(tmp_path / "x.parquet") == ["not_utf8", {"a": "cd"}]


def test_values_that_python_does_not_have(tmp_path: Path) -> None:
    dates = pa.array([0, 2**62], type=pa.timestamp("us"))
    pq.write_table(pa.table({"a": dates}), tmp_path / "x.parquet")
    assert outcomes(tmp_path / "x.parquet") == [{"a": datetime.datetime(1970, 1, 1)}, "wrong_type"]  # noqa: DTZ001


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="has two columns with the name 'a'; rename one of them"):
        outcomes(tmp_path / "x.parquet")


def test_a_table_without_rows(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([], type=pa.string())}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="holds no row"):
        outcomes(tmp_path / "x.parquet")


def test_wide_rows_come_in_small_batches(tmp_path: Path) -> None:
    """20 rows of 2 MB: the batches follow from the size that the file itself gives."""
    rows = [{"text": str(row % 10) * 2_000_000} for row in range(20)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet", use_dictionary=False, write_batch_size=1)
    before = pa.total_allocated_bytes()
    highest = 0
    for item in read_rows(str(tmp_path / "x.parquet")):
        assert isinstance(item, Row)
        highest = max(highest, pa.total_allocated_bytes() - before)
    assert highest < 25_000_000
