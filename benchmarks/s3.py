"""How fast blocks come from an S3 server through distmtl, against plain ranged reads of the same bytes.

A source is packed onto a real server, Ceph's, that runs on this machine. By turns, as many threads as the loader has
readers get every block of it: with Python's own http.client over connections that stay open, with boto3, with obstore,
and as distmtl reads it: fetched, compared with its hash, and decoded to Arrow columns. The target is relative to the
fastest of the plain ones. Then two processes read it over one node's block cache, and the server's requests are
counted.

    python benchmarks/s3.py [--check] [--quick]
"""

import argparse
import http.client
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.services.ceph import CephServer, Endpoint
from tests.services.fault_proxy import FaultProxy

TARGET = 0.8
"""Least rate of distmtl's reader over the fastest plain one's."""
REQUESTS = 1.0
"""Most requests per block that two processes of a node make together."""
BUCKET = "benchmark"
COLUMNS = 32
THREADS = 4
"""As many as the loader has readers."""
BYTES = {"quick": 256 * 2**20, "full": 512 * 2**20}
ROUNDS = {"quick": 6, "full": 20}


class Block(NamedTuple):
    """A block's place: object, first byte, bytes."""

    key: str
    offset: int
    length: int


Reader = Callable[[int], int]
"""Gets a block by its number; returns its bytes."""


def main() -> int:
    """Measure, print a table and one JSON object; returns the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true", help="exit 1 below the target")
    arguments.add_argument("--quick", action="store_true", help="fewer bytes and rounds, under 60 s")
    options = arguments.parse_args()
    size = "quick" if options.quick else "full"
    with CephServer() as server, tempfile.TemporaryDirectory() as folder:
        server.endpoint.create_bucket(BUCKET)
        os.environ.update(server.endpoint.environment())
        uri = f"s3://{BUCKET}/source"
        _pack(folder, uri, BYTES[size])
        results = _measure(server.endpoint, uri, ROUNDS[size])
        results["node"] = _count_requests(server.endpoint, uri, folder)
    print(json.dumps(results))
    missed = results["ratio"] < TARGET or results["node"]["requests_per_block"] > REQUESTS
    return 1 if options.check and missed else 0


def _pack(folder: str, uri: str, size: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from distmtl.data import pack

    generator = np.random.default_rng(0)
    rows = size // (4 * COLUMNS)
    table = pa.table({f"x{i}": generator.standard_normal(rows, dtype=np.float32) for i in range(COLUMNS)})
    pq.write_table(table, f"{folder}/train.parquet", compression="none")
    pack({"train": [f"{folder}/train.parquet"]}, uri)
    Path(f"{folder}/train.parquet").unlink()


def _measure(endpoint: Endpoint, uri: str, rounds: int) -> dict[str, Any]:
    """Rates of all readers by turns."""
    from distmtl.data import open_source

    split = open_source(uri).split("train")
    places = [
        Block(f"source/{split.shard(i).key}", split.table["offset"][i].as_py(), split.table["length"][i].as_py())
        for i in range(split.blocks)
    ]
    columns = [column.name for column in split.source.manifest.columns]

    def read(number: int) -> int:
        split.read_block(number, columns)
        return places[number].length

    plain: dict[str, Reader] = {"http.client": _http(endpoint, places), "obstore": _obstore(endpoint, places)}
    plain |= _boto3(places)
    readers = {**plain, "distmtl": read}
    turns: dict[str, list[tuple[float, float]]] = {name: [] for name in readers}
    for number in range(-1, rounds):  # the first warms connections and the server
        for name in random.Random(number).sample(list(readers), len(readers)):
            turn = _turn(readers[name], len(places), THREADS)
            if number >= 0:
                turns[name].append(turn)
    total = sum(place.length for place in places)
    fastest = max(plain, key=lambda name: statistics.median(1 / wall for wall, _ in turns[name]))
    base = [wall for wall, _ in turns[fastest]]
    print(f"{split.blocks} blocks of {total / split.blocks / 2**20:.1f} MiB, {THREADS} threads, {rounds} rounds")
    print(f"{'reader':14} {'MB/s':>8} {'CPU s/GB':>9} {'of ' + fastest:>15} {'95 % interval':>16}")
    results: dict[str, Any] = {"fastest_plain": fastest, "blocks": split.blocks, "bytes": total}
    for name, values in turns.items():
        ratios = sorted(plain_wall / wall for plain_wall, (wall, _) in zip(base, values, strict=True))
        rate = statistics.median(total / wall / 1e6 for wall, _ in values)
        cpu = statistics.median(cpu / total * 1e9 for _, cpu in values)
        middle, low, high = statistics.median(ratios), *_interval(ratios)
        print(f"{name:14} {rate:8.0f} {cpu:9.2f} {middle:15.3f} {f'{low:.3f} to {high:.3f}':>16}")
        results[name] = {"mb_per_s": rate, "cpu_s_per_gb": cpu, "ratio": middle, "low": low, "high": high}
    results["ratio"] = results["distmtl"]["ratio"]
    print(f"target: distmtl at {TARGET} of the fastest plain reader or more")
    return results


def _turn(read: Reader, blocks: int, threads: int) -> tuple[float, float]:
    """Wall and CPU seconds of reading every block once."""
    started, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(read, range(blocks)):
            pass
    return time.perf_counter() - started, time.process_time() - cpu


def _http(endpoint: Endpoint, places: Sequence[Block]) -> Reader:
    urls = {place.key: urlsplit(endpoint.signed("GET", BUCKET, place.key)) for place in places}
    here = threading.local()

    def read(number: int) -> int:
        key, offset, length = places[number]
        if not hasattr(here, "connection"):
            here.connection = http.client.HTTPConnection(urls[key].netloc)
        path = f"{urls[key].path}?{urls[key].query}"
        here.connection.request("GET", path, headers={"Range": f"bytes={offset}-{offset + length - 1}"})
        with here.connection.getresponse() as answer:
            return len(answer.read())

    return read


def _obstore(endpoint: Endpoint, places: Sequence[Block]) -> Reader:
    import obstore
    from obstore.store import S3Store

    store = S3Store(BUCKET, endpoint=endpoint.url, client_options={"allow_http": True})

    def read(number: int) -> int:
        key, offset, length = places[number]
        return len(obstore.get_range(store, key, start=offset, length=length))

    return read


def _boto3(places: Sequence[Block]) -> dict[str, Reader]:
    try:
        import boto3
        import botocore.config
    except ImportError:
        return {}
    client = boto3.client("s3", config=botocore.config.Config(max_pool_connections=64))

    def read(number: int) -> int:
        key, offset, length = places[number]
        answer = client.get_object(Bucket=BUCKET, Key=key, Range=f"bytes={offset}-{offset + length - 1}")
        return len(answer["Body"].read())

    return {"boto3": read}


def _interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Order statistics around the median that hold it with 95 % (normal approximation of the binomial)."""
    count = len(ratios)
    reach = 0.98 * count**0.5
    return ratios[max(0, int(count / 2 - reach))], ratios[min(count - 1, int(count / 2 + reach))]


def _count_requests(endpoint: Endpoint, uri: str, folder: str) -> dict[str, float]:
    """What two processes of a node ask the server for while both read every block."""
    from distmtl.data import open_source

    blocks = open_source(uri).split("train").blocks
    with FaultProxy(endpoint) as proxy:
        os.environ.update(proxy.endpoint.environment())
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=_read_all, args=(uri, f"{folder}/cache", worker)) for worker in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if any(worker.exitcode for worker in workers):
            raise RuntimeError("a reading process failed")
        counts = Counter((request.key, request.range) for request in proxy.requests if request.range)
    per_block = sum(counts.values()) / blocks
    print(f"two processes on one node: {sum(counts.values())} requests for {blocks} blocks, {per_block:.2f} each")
    return {"requests_per_block": per_block, "most": max(counts.values())}


def _read_all(uri: str, cache: str, worker: int) -> None:
    from distmtl.data import open_source
    from distmtl.data.node_cache import NodeCache

    split = open_source(uri, cache=NodeCache(cache)).split("train")
    columns = [column.name for column in split.source.manifest.columns]
    order = range(split.blocks) if worker else reversed(range(split.blocks))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: split.read_block(number, columns), order))


if __name__ == "__main__":
    sys.exit(main())
