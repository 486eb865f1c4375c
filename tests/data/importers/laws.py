"""What every input promises, checked on one of them."""

import pickle

import pyarrow as pa

from distmtl.data.importers import ImportOptions, RawInput, open_inputs
from distmtl.data.importers.base import BATCH_BYTES, BATCH_ROWS


def opened(path: object, **options: object) -> RawInput:
    """The one input at a path."""
    (raw,) = open_inputs([str(path)], ImportOptions(**options))  # type: ignore[arg-type]
    return raw


def table_of(raw: RawInput) -> pa.Table:
    """All rows, after it is checked that each pass gives them in batches of the promised form."""
    batches = list(raw.batches())
    assert batches
    for batch in batches:
        assert batch.schema.equals(raw.schema)
        assert 0 < batch.num_rows <= BATCH_ROWS
        assert batch.nbytes <= BATCH_BYTES or batch.num_rows == 1
        batch.validate(full=True)
    table = pa.Table.from_batches(batches)
    copy = pickle.loads(pickle.dumps(raw))
    assert pa.Table.from_batches(copy.batches()).equals(table)
    assert copy.fingerprint() == raw.fingerprint()
    assert len(raw.fingerprint()) == 16
    return table


def rows_of(raw: RawInput) -> list[dict[str, object]]:
    """All rows as dicts, checked so, too."""
    return table_of(raw).to_pylist()
