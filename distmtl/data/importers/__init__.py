"""Inputs of packing: files, folders and objects of many formats, each a stream of Arrow batches."""

from distmtl.data.importers.base import ImportOptions, RawInput, TextOptions
from distmtl.data.importers.opening import Given, open_input, open_inputs
from distmtl.data.importers.recognise import expand_files, stem
from distmtl.data.importers.rows import RowsInput

__all__ = [
    "Given",
    "ImportOptions",
    "RawInput",
    "RowsInput",
    "TextOptions",
    "expand_files",
    "open_input",
    "open_inputs",
    "stem",
]
