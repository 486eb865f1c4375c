"""One reader per loader: ``READERS[name](folder)`` yields (rows, arrays) batch after batch, epoch after epoch.

Each writes the form of the rows that it wants beside them on first use, reads in the process itself (no worker
processes, so that CPU time is comparable), and gives each batch as NumPy views of what the loader handed out.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from loader_data import BATCH, MIX

Batches = Iterator[tuple[int, list[np.ndarray]]]

LEAST_ROWS = 2_000
"""Rows that a measurement reads at least, however slow the loader."""

SLOW = ("webdataset", "mosaic", "torch", "hf-iterable", "litdata")
"""Left out of the quick run."""


def parquet(folder: Path) -> Batches:
    """Row groups one after the other, each column a view of its buffer."""
    with pq.ParquetFile(folder / "rows.parquet") as file:
        while True:
            for number in range(file.num_row_groups):
                yield from _in_batches(file.read_row_group(number, use_threads=False), BATCH[folder.name])


def arrow_mmap(folder: Path) -> Batches:
    """Record batches of a memory-mapped file, copied."""
    while True:
        with pa.memory_map(str(folder / "rows.arrow")) as source:
            reader = pa.ipc.open_file(source)
            for number in range(reader.num_record_batches):
                table = pa.Table.from_batches([reader.get_batch(number)])
                for rows, arrays in _in_batches(table, BATCH[folder.name]):
                    yield rows, [array.copy() for array in arrays]  # a batch that the caller may keep and change


def distmtl(folder: Path) -> Batches:
    """All rows shuffled, from one source."""
    return _distmtl(folder, {"all": "source"})


def distmtl_mix(folder: Path) -> Batches:
    """Rows of four sources in every batch."""
    return _distmtl(folder, {f"part{number}": f"source{number}" for number in range(MIX)})


def _distmtl(folder: Path, sources: dict[str, str]) -> Batches:
    from distmtl.data import open_loader
    from distmtl.data.specs import BatchSpec, SourceSpec

    small = folder.name == "rows"
    inputs: dict[str, str | list[str]] = {"x": "x", "d": "d", "numbers": ["y2"]} if small else {"x": "x"}
    loader = open_loader(
        {name: SourceSpec(uri=str(folder / uri), inputs=inputs) for name, uri in sources.items()},
        {name: {"y": "binary"} for name in sources},
        BatchSpec(rows=BATCH[folder.name]),
    )
    with loader:
        for step in loader:
            arrays = []
            for part in step.sources:
                arrays += [tensor.numpy() for tensor in (*part.inputs.values(), *part.targets.values())]
            yield BATCH[folder.name], arrays


def torch_rows(folder: Path) -> Batches:
    """PyTorch's DataLoader over a map-style data set of memory-mapped rows, in random order."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    columns = _columns(folder)

    class Rows(Dataset[dict[str, Any]]):
        def __len__(self) -> int:
            return len(columns["y"])

        def __getitem__(self, row: int) -> dict[str, Any]:
            return {name: torch.from_numpy(values[row].copy()) if values.ndim > 1 else values[row]
                    for name, values in columns.items()}  # fmt: skip

    loader = DataLoader(Rows(), batch_size=BATCH[folder.name], shuffle=True, num_workers=0)
    while True:
        for batch in loader:
            yield len(batch["y"]), [tensor.numpy() for tensor in batch.values()]


def webdataset(folder: Path) -> Batches:
    """Tar files through a shuffle buffer of 5,000 rows."""
    import webdataset as wds

    target = folder / "webdataset"
    if not target.exists():
        target.mkdir()
        with wds.ShardWriter(str(target / "%05d.tar"), maxcount=20_000, verbose=0) as writer:
            for number, row in enumerate(_row_dicts(folder)):
                sample = {f"{name}.bin": np.asarray(value).tobytes() for name, value in row.items()}
                writer.write({"__key__": f"{number:09d}", **sample})
    names = list(_columns(folder))
    urls = sorted(map(str, target.glob("*.tar")))
    while True:
        data = wds.WebDataset(urls, shardshuffle=len(urls), seed=0).shuffle(min(5_000, 500_000_000 // 100_000))
        rows: list[dict[str, bytes]] = []
        for row in data:
            rows.append(row)
            if len(rows) == BATCH[folder.name]:
                yield len(rows), [_stack([row[f"{name}.bin"] for row in rows]) for name in names]
                rows = []


def hf_map(folder: Path) -> Batches:
    """Hugging Face datasets, map-style and shuffled, in batches of NumPy arrays."""
    data = _hf(folder).shuffle(seed=0).with_format("numpy")
    while True:
        for batch in data.iter(BATCH[folder.name]):
            yield _of_lists(batch)


def hf_iterable(folder: Path) -> Batches:
    """Hugging Face datasets, iterable with a shuffle buffer, rows as torch tensors."""
    data = _hf(folder).to_iterable_dataset(num_shards=8).shuffle(seed=0, buffer_size=5_000).with_format("torch")
    while True:
        for batch in data.iter(BATCH[folder.name]):
            yield _of_lists(batch)


def _hf(folder: Path) -> Any:
    import datasets

    datasets.disable_progress_bars()
    target = folder / "hf"
    if not target.exists():
        columns = _columns(folder)
        arrays: dict[str, Any] = {
            name: pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
            if values.ndim > 1 else pa.array(values)
            for name, values in columns.items()
        }  # fmt: skip
        datasets.Dataset(pa.table(arrays)).save_to_disk(str(target))
    return datasets.load_from_disk(str(target))


def grain(folder: Path) -> Batches:
    """Grain's map data set over the memory-mapped rows: global shuffle, exact resume."""
    import grain.python as pygrain

    columns = _columns(folder)

    class Rows:
        def __len__(self) -> int:
            return len(columns["y"])

        def __getitem__(self, row: int) -> dict[str, Any]:
            return {name: values[row] for name, values in columns.items()}

    data = pygrain.MapDataset.source(Rows()).shuffle(seed=0).repeat().batch(BATCH[folder.name])
    options = pygrain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
    for batch in data.to_iter_dataset(options):
        yield len(batch["y"]), list(batch.values())


def litdata(folder: Path) -> Batches:
    """Litdata's streaming data set, shuffled."""
    import litdata as ld

    target = folder / "litdata"
    if not target.exists():
        from litdata.streaming.writer import BinaryWriter

        target.mkdir()
        writer = BinaryWriter(str(target), chunk_bytes="64MB")
        for number, row in enumerate(_row_dicts(folder)):
            writer.add_item(number, {name: np.asarray(value) for name, value in row.items()})
        writer.done()
        writer.merge()
    data = ld.StreamingDataset(str(target), shuffle=True)
    loader = ld.StreamingDataLoader(data, batch_size=BATCH[folder.name], num_workers=0)
    while True:
        for batch in loader:
            yield len(batch["y"]), [np.asarray(value) for value in batch.values()]


def mosaic(folder: Path) -> Batches:
    """Mosaic's streaming data set, shuffled."""
    from streaming import MDSWriter, StreamingDataset
    from torch.utils.data import DataLoader

    target = folder / "mds"
    if not target.exists():
        columns = _columns(folder)
        kinds = {name: f"ndarray:{values.dtype}:{values.shape[1]}" if values.ndim > 1 else str(values.dtype)
                 for name, values in columns.items()}  # fmt: skip
        with MDSWriter(out=str(target), columns=kinds) as writer:
            for row in _row_dicts(folder):
                writer.write({name: np.asarray(value) if np.ndim(value) else value for name, value in row.items()})
    data = StreamingDataset(local=str(target), shuffle=True, batch_size=BATCH[folder.name], shuffle_seed=0)
    loader = DataLoader(data, batch_size=BATCH[folder.name], num_workers=0)
    while True:
        for batch in loader:
            yield len(batch["y"]), [tensor.numpy() for tensor in batch.values()]


READERS: dict[str, Callable[[Path], Batches]] = {
    "parquet": parquet,
    "arrow-mmap": arrow_mmap,
    "distmtl": distmtl,
    "distmtl-mix4": distmtl_mix,
    "torch": torch_rows,
    "webdataset": webdataset,
    "hf-map": hf_map,
    "hf-iterable": hf_iterable,
    "grain": grain,
    "litdata": litdata,
    "mosaic": mosaic,
}


def _in_batches(table: pa.Table, rows: int) -> Batches:
    """A table of one chunk per column in slices, each column a view of its buffer."""
    columns = []
    for column in table.columns:
        chunk, width = column.chunk(0), column.type.byte_width
        data = np.frombuffer(chunk.buffers()[1], np.uint8)
        columns.append(data[chunk.offset * width : (chunk.offset + len(chunk)) * width].reshape(len(chunk), width))
    for start in range(0, table.num_rows, rows):
        yield min(rows, table.num_rows - start), [values[start : start + rows] for values in columns]


def _columns(folder: Path) -> dict[str, np.ndarray]:
    """The rows as NumPy views of the memory-mapped file, one array a column."""
    table = pa.ipc.open_file(pa.memory_map(str(folder / "rows.arrow"))).read_all()
    path = folder / "columns"
    if not path.exists():
        path.mkdir()
        for field, column in zip(table.schema, table.columns, strict=True):
            np.save(path / f"{field.name}.npy", _numbers(field, column))
        (path / "names.json").write_text(json.dumps(table.schema.names))
    names = json.loads((path / "names.json").read_text())
    return {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in names}


def _numbers(field: pa.Field, column: pa.ChunkedArray) -> np.ndarray:
    if not pa.types.is_fixed_size_binary(field.type):
        return column.to_numpy()
    width = field.type.byte_width
    pieces = [chunk.buffers()[1].to_pybytes()[chunk.offset * width :][: len(chunk) * width] for chunk in column.chunks]
    return np.frombuffer(b"".join(pieces), field.metadata[b"dtype"].decode()).reshape(len(column), -1)


def _row_dicts(folder: Path) -> Iterator[dict[str, Any]]:
    columns = _columns(folder)
    for row in range(len(columns["y"])):
        yield {name: values[row] for name, values in columns.items()}


def _stack(cells: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(cells), np.uint8).copy()


def _of_lists(batch: dict[str, Any]) -> tuple[int, list[np.ndarray]]:
    arrays = [np.asarray(values) for values in batch.values()]
    return len(arrays[-1]), arrays
