"""Examples -> JSON Lines or Parquet, in one file or in shards, whole or not at all.

Everything is written beside its place and renamed at the end; what a killed run left there, the next one to the same
place removes. A folder of shards can be given to ``srl train`` and to ``datasets.load_dataset`` as it is; both read it
without loading it whole.
"""

from __future__ import annotations

import glob
import io
import os
import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Literal

from srl.errors import DataError

ShardFormat = Literal["jsonl", "parquet"]
FILE_FORMATS: dict[str, ShardFormat] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
DETAILS = ".srl"
"""Folder among the shards for what is no example; hidden, so that whoever reads the folder reads examples only."""
SHARD_BYTES = 2**28
"""A shard is closed when its examples reach this size before compression."""
ROW_GROUP_BYTES = 2**24
"""Examples collected for one row group of a Parquet file."""


def example_schema() -> Any:
    """The Arrow schema of step examples."""
    arrow: Any = import_module("pyarrow")  # heavy, and only Parquet needs it
    text, texts, number = arrow.string(), arrow.list_(arrow.string()), arrow.int64()
    return arrow.schema(
        {
            "trajectory_id": text,
            "step_index": number,
            "num_steps": number,
            "problem": text,
            "context": texts,
            "title": text,
            "target_action": text,
            "target_body": text,
            "answer": text,
            "source": arrow.struct({"file": text, "row": number}),
            "kind": text,
            "observations": texts,
            "target_thought": text,
        }
    )


def is_single_file(output: Path) -> bool:
    """Whether examples go to one file of this name; every other name is a folder of shards."""
    return output.suffix.lower() in FILE_FORMATS


class ExampleWriter:
    """Writes examples to a file (named .jsonl or .parquet) or to a folder of shards; see ``open``."""

    def __init__(self, partial: Path, output: Path, shard_format: ShardFormat, shard_bytes: int) -> None:
        self._partial, self._output = partial / "new", output
        self._format: ShardFormat = shard_format
        self._limit = 0 if is_single_file(output) else shard_bytes
        self._shards: list[Path] = []
        self._shard: _JsonShard | _ParquetShard | None = None

    @classmethod
    @contextmanager
    def open(cls, output: Path, shard_format: ShardFormat, shard_bytes: int) -> Generator[ExampleWriter]:
        """A writer to ``output``, where a link leads; what was not published at the end is removed.

        A write that fails is a DataError.
        """
        output = output.resolve()
        partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
        try:
            _remove_leftovers(output)
            partial.mkdir()
            (partial / "new" / DETAILS).mkdir(parents=True)
        except OSError as error:
            raise DataError(f"cannot write {output}: {error.strerror}; does its folder exist?") from error
        writer = cls(partial, output, shard_format, shard_bytes)
        try:
            yield writer
        except OSError as error:
            raise DataError(f"cannot write {output}: {error.strerror or error}; nothing was left there") from error
        finally:
            with suppress(OSError, ValueError):  # a full disk refuses the last bytes once more (ValueError: Arrow)
                writer._close_shard()
            shutil.rmtree(partial, ignore_errors=True)

    @property
    def folder(self) -> Path:
        """Where files that are to be published with a folder of shards can be written."""
        return self._partial

    def write(self, examples: Sequence[bytes]) -> None:
        """Add the examples of one trajectory, which stay together in one shard."""
        if self._shard is None:
            path = self._partial / f"examples-{len(self._shards):05d}.{self._format}"
            self._shard = _JsonShard(path) if self._format == "jsonl" else _ParquetShard(path)
            self._shards.append(path)
        self._shard.write(examples)
        if self._limit and self._shard.num_bytes >= self._limit:
            self._close_shard()

    def publish(self, extra: Mapping[str, str]) -> None:
        """Put everything in its place; a folder also gets the texts in ``extra`` as files of these names."""
        self._close_shard()
        if is_single_file(self._output):
            self._shards[0].replace(self._output)
            return
        for name, text in extra.items():
            (self._partial / name).write_text(text, "utf-8")
        if self._output.exists():  # renamed, because removing it takes long enough to be killed in
            self._output.rename(self._partial.with_name("old"))
        self._partial.rename(self._output)

    def _close_shard(self) -> None:
        if self._shard is not None:
            self._shard.close()
            self._shard = None


def _remove_leftovers(output: Path) -> None:
    """Remove what killed runs to the same place left: their processes are gone, or their ids are this one's now."""
    for path in output.parent.glob(f".{glob.escape(output.name)}.*.partial"):
        process = path.name.split(".")[-2]
        if path.is_dir() and process.isdecimal() and (int(process) == os.getpid() or not _is_running(int(process))):
            shutil.rmtree(path)


def _is_running(process: int) -> bool:
    if os.name != "posix":  # signal 0 would end it there
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


class _JsonShard:
    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb", buffering=2**20)
        self.num_bytes = 0

    def write(self, examples: Sequence[bytes]) -> None:
        for line in examples:
            self._file.write(line)
            self.num_bytes += len(line)

    def close(self) -> None:
        self._file.close()


class _ParquetShard:
    def __init__(self, path: Path) -> None:
        parquet: Any = import_module("pyarrow.parquet")
        self._arrow: Any = import_module("pyarrow")
        self._writer = parquet.ParquetWriter(path, example_schema(), compression="zstd")
        self._batches: list[Any] = []
        self._waiting = 0
        self.num_bytes = 0

    def write(self, examples: Sequence[bytes]) -> None:
        for stream in examples:
            self._batches += self._arrow.ipc.open_stream(io.BytesIO(stream)).read_all().to_batches()
            self._waiting += len(stream)
            self.num_bytes += len(stream)
        if self._waiting >= ROW_GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._batches:
            self._writer.write_table(self._arrow.Table.from_batches(self._batches).combine_chunks())
            self._batches, self._waiting = [], 0
