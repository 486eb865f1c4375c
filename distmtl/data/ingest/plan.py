"""What is known before any row is read: the inputs, their columns, how the rows are split, and the name of it all."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import xxhash

from distmtl import __version__
from distmtl.data.gather import Inputs, Note, inputs_by_split
from distmtl.data.importers import RawInput
from distmtl.data.infer import TypingOptions, check_options, nearest
from distmtl.data.ingest.append import known_typing
from distmtl.data.ingest.parallel import choose_threads, in_order
from distmtl.data.ingest.place import (
    ByGroup,
    ByInput,
    ControlCounts,
    SplitRule,
    by_column,
    by_fraction,
    check_fractions,
    group_cuts,
    rows_of_cuts,
)
from distmtl.data.ingest.scan import Scan, ScanOptions
from distmtl.data.manifest import TRAIN
from distmtl.data.merge import merge_schemas
from distmtl.data.options import PackOptions
from distmtl.data.source import Source
from distmtl.data.splits import DEFAULT_FRACTIONS
from distmtl.errors import SourceError


@dataclass(frozen=True)
class Plan:
    """Everything that the stages of packing follow.

    Attributes:
        inputs: The inputs, in the order of their rows.
        splits: The split of each input, or () where the rows are still to be split.
        schema: The columns that all inputs share, those that only decide the split included.
        columns: Names of the columns that are packed, in order.
        typing: What is known about columns.
        options: What the caller asked for.
        base: The source that is appended to, or None.
        threads: Threads at work.
    """

    inputs: tuple[RawInput, ...]
    splits: tuple[str, ...]
    schema: pa.Schema
    columns: tuple[str, ...]
    typing: TypingOptions
    options: PackOptions
    base: Source | None
    threads: int

    @property
    def text(self) -> bool:
        """Whether the inputs are text files."""
        return self.inputs[0].text

    @property
    def nulls(self) -> tuple[str, ...] | None:
        """What the column that decides the splits may hold for null."""
        return self.typing.nulls if self.text else None

    def scan_options(self) -> ScanOptions:
        """What the scan looks for."""
        options = self.options
        grouped = options.group_by is not None
        control = partial(ControlCounts, options.group_by or options.split_column, grouped, self.nulls, options.seed)
        return ScanOptions(self.schema, self.columns, self.text, self.typing, options.max_vocabulary, control)

    def identity(self) -> str:
        """A name that follows from every byte that goes in, and from everything that decides what comes out."""
        prints = in_order(lambda raw, _: raw.fingerprint(), self.inputs, self.threads)
        before = None if self.base is None else self.base.manifest.digest
        parts = (__version__, pa.__version__, self.options.of_bytes, self.splits, self.schema, before, list(prints))
        return xxhash.xxh3_64_hexdigest("\n".join(map(str, parts)).encode())


def plan_pack(inputs: Inputs, options: PackOptions, base: Source | None, note: Note) -> Plan:
    """Open the inputs and check the options against their columns.

    Raises:
        SourceError: The inputs or the options are wrong.
    """
    groups = inputs_by_split(inputs, options, note)
    every = tuple(raw for group in groups.values() for raw in group)
    for raw in every:
        for remark in raw.notes:
            note(f"{raw.path}: {remark}")
    if options.fractions is not None:
        check_fractions(options.fractions)
    schema, columns = _columns(every, options)
    typing = options.typing
    if base is not None:
        shared = pa.schema([schema.field(name) for name in columns])
        typing = known_typing(base.manifest, shared, typing, base.uri)
        columns = tuple(column.name for column in base.manifest.columns)
        options = replace(options, block_rows=base.manifest.block_rows)
    splits = tuple(name for name, group in groups.items() for _ in group if name is not None)
    return Plan(every, splits, schema, columns, typing, options, base, choose_threads(options.threads))


def _columns(inputs: tuple[RawInput, ...], options: PackOptions) -> tuple[pa.Schema, tuple[str, ...]]:
    """The columns that are read, and the names of those that are packed."""
    typing = options.typing
    check_options(typing, [*dict.fromkeys(name for raw in inputs for name in raw.schema.names)])
    control = options.group_by or options.split_column
    schema = merge_schemas(inputs, [name for name in typing.drop if name != control])
    if control is not None and control not in schema.names:
        kind = "split column" if options.group_by is None else "column of groups"
        raise SourceError(f"there is no {kind} '{control}'.", remedy=nearest(control, schema.names))
    left_out = {options.split_column, *typing.drop}
    columns = tuple(name for name in schema.names if name not in left_out)
    if not columns:
        raise SourceError("no column is left beside the split column.", inputs[0].path, "Give files with more columns.")
    return schema, columns


def split_rule(plan: Plan, scan: Scan, note: Note) -> tuple[SplitRule, list[int], str]:
    """What decides the split of each row, the rows of each split, and that in words.

    Raises:
        SourceError: No row is of train.
    """
    options = plan.options
    rule: SplitRule
    if plan.splits:
        names = tuple(dict.fromkeys(plan.splits))
        counts = [sum(n for n, of in zip(scan.rows, plan.splits, strict=True) if of == name) for name in names]
        return ByInput(names, tuple(names.index(name) for name in plan.splits)), counts, "files"
    if options.split_column is not None:
        rule, counts = by_column(options.split_column, scan.control.words, plan.nulls)
        said = f"split column '{options.split_column}'"
        _check_train(plan, rule.names, counts, said)
        return rule, counts, f"column {options.split_column}"
    fractions = check_fractions(options.fractions or DEFAULT_FRACTIONS)
    shown = ", ".join(f"{split} {share:.3g}" for split, share in fractions.items())
    if options.fractions is None:
        note(f"the rows are split at random: {shown}; choose with --split, --split-column or --fractions")
    rows = sum(scan.rows)
    if options.group_by is not None:
        cuts = _cuts(plan, scan, fractions)
        rule = ByGroup(tuple(fractions), options.group_by, plan.nulls, options.seed, cuts)
        counts = rows_of_cuts(scan.control.bins, cuts)
        said = f"groups of {options.group_by}, fractions {shown}"
    else:
        rule, counts = by_fraction(rows, fractions, options.seed)
        said = f"fractions {shown}"
    _check_train(plan, rule.names, counts, "the fractions")
    for split, count in zip(rule.names, counts, strict=True):
        if not count:
            note(f"split '{split}' is left out: {rows} rows are too few for a share of {fractions[split]:g}")
    return rule, counts, said


def _cuts(plan: Plan, scan: Scan, fractions: Mapping[str, float]) -> tuple[int, ...]:
    """Where the splits of groups end; a source that was split by the same groups keeps its cuts."""
    before = {} if plan.base is None else plan.base.manifest.packed.get("groups", {})
    mine = [plan.options.group_by, plan.options.seed, list(fractions)]
    if before and [before["column"], before["seed"], before["splits"]] == mine:
        return tuple(before["cuts"])
    return group_cuts(np.asarray(scan.control.bins), fractions)


def _check_train(plan: Plan, names: tuple[str, ...], counts: list[int], where: str) -> None:
    if plan.base is None and not dict(zip(names, counts, strict=True)).get(TRAIN):
        raise SourceError(
            f"no row is of split 'train' by {where}; there are: {', '.join(names)}.", remedy="Give it rows."
        )
