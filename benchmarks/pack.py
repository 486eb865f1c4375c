"""What packing costs: rows per second, and the most memory, of ``distmtl pack`` in a process of its own.

Generates a table of numbers, names and texts in several Parquet files, packs it undisturbed, packs it again with kills
(SIGKILL) at random moments, and compares the bytes::

    python benchmarks/pack.py --rows 5000000 --kills 3 --check

``--check`` ends with 1 if the peak resident memory reached 1 GB or the bytes differ. The last line is JSON.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

LIMIT = 10**9
"""Bytes of resident memory that packing stays under, whatever the input."""

_CHUNK = 100_000


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--floats", type=int, default=16, help="numeric columns")
    parser.add_argument("--text-bytes", type=int, default=40, help="mean length of the text column")
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--format", choices=["parquet", "csv"], default="parquet")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the data and of the moments of the kills")
    parser.add_argument("--folder", default=None, help="where to work; a temporary folder if left out")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        found = run(Path(name), arguments)
    print(json.dumps(found))
    return 1 if arguments.check and (found["peak_bytes"] >= LIMIT or not found["same_bytes"]) else 0


def run(folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Generate, pack, pack with kills; returns the figures."""
    begun = time.monotonic()
    files, memory = generate(folder, arguments)
    size = sum(Path(file).stat().st_size for file in files)
    print(f"generated {arguments.rows:,} rows: {size / 1e9:.2f} GB in files, {memory / 1e9:.2f} GB in memory, "
          f"{time.monotonic() - begun:.0f} s", flush=True)  # fmt: skip
    begun = time.monotonic()
    peak = wait(start(files, folder / "calm"))
    seconds = time.monotonic() - begun
    packed = sum(path.stat().st_size for path in (folder / "calm").rglob("*") if path.is_file())
    print(f"packed in {seconds:.1f} s: {arguments.rows / seconds:,.0f} rows/s, {memory / seconds / 1e6:.0f} MB/s, "
          f"peak {peak / 1e6:.0f} MB, {packed / 1e9:.2f} GB", flush=True)  # fmt: skip
    chance = random.Random(arguments.seed)
    for _ in range(arguments.kills):
        peak = max(peak, kill(start(files, folder / "killed"), chance.uniform(0.1, 0.8) * seconds))
        if (folder / "killed" / "manifest.json").exists():
            break  # it had gone on from so far that it ended before the kill
    else:
        peak = max(peak, wait(start(files, folder / "killed")))
    same = digest(folder / "calm") == digest(folder / "killed")
    print(f"killed {arguments.kills} times and restarted: the bytes are {'the same' if same else 'OTHERS'}")
    return {
        "rows": arguments.rows,
        "memory_bytes": memory,
        "seconds": seconds,
        "rows_per_second": arguments.rows / seconds,
        "peak_bytes": peak,
        "kills": arguments.kills,
        "same_bytes": same,
    }


def generate(folder: Path, arguments: argparse.Namespace) -> tuple[list[str], int]:
    """Write the input files; returns them, and their bytes as Arrow."""
    generator = np.random.default_rng(arguments.seed)
    per_file = -(-arguments.rows // arguments.files)
    files, memory, left = [], 0, arguments.rows
    for number in range(arguments.files):
        path = folder / f"part-{number:03d}.{arguments.format}"
        writer = None
        for start in range(0, min(per_file, left), _CHUNK):
            table = chunk(generator, min(_CHUNK, min(per_file, left) - start), arguments)
            memory += table.nbytes
            if writer is None:
                kind = pq.ParquetWriter if arguments.format == "parquet" else pacsv.CSVWriter
                writer = kind(path, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()
            files.append(str(path))
        left -= per_file
    return files, memory


def chunk(generator: np.random.Generator, rows: int, arguments: argparse.Namespace) -> pa.Table:
    """Some rows: floats, integers, labels, names of few and of many values, text, missing values."""
    columns: dict[str, pa.Array] = {}
    for i in range(arguments.floats):
        missing = generator.random(rows) < 0.05 if i % 4 == 0 else None
        columns[f"f{i}"] = pa.array(generator.normal(i, 1 + i, rows), mask=missing)
    columns["id"] = pa.array(generator.integers(0, 2**40, rows))
    columns["label"] = pa.array(generator.integers(0, 2, rows))
    few = pa.array([f"name {i}" for i in range(50)])
    columns["few"] = pa.DictionaryArray.from_arrays(generator.integers(0, 50, rows), few).cast(pa.string())
    many = pa.array([f"user {i}" for i in range(100_000)])
    columns["many"] = pa.DictionaryArray.from_arrays(generator.integers(0, 100_000, rows), many).cast(pa.string())
    ends = np.cumsum(generator.integers(0, 2 * arguments.text_bytes + 1, rows)).astype(np.int32)
    letters = generator.integers(97, 123, int(ends[-1]), dtype=np.uint8)
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    columns["text"] = pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(letters))
    return pa.table(columns)


def start(files: Sequence[str], out: Path) -> "subprocess.Popen[bytes]":
    """Begin to pack."""
    command = [sys.executable, "-m", "distmtl", "pack", *files, "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)


def wait(process: "subprocess.Popen[bytes]") -> int:
    """Wait until a process ends well; returns the most memory that it had resident."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in {0, -signal.SIGKILL}:
        raise SystemExit(f"packing ended with {process.returncode}")
    return usage.ru_maxrss * 1024


def kill(process: "subprocess.Popen[bytes]", seconds: float) -> int:
    """Kill a process some time after its start."""
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)  # not process.send_signal, which takes the figures of one that has ended
    return wait(process)


def digest(folder: Path) -> dict[str, str]:
    """A hash of every file."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            found[str(path.relative_to(folder))] = hashlib.file_digest(file, "blake2b").hexdigest()
    return found


if __name__ == "__main__":
    raise SystemExit(main())
