"""The stages of packing: scan the inputs, place their rows, convert and spill them, write shards.

Each stage holds a bounded part of the rows in memory. The first two are passes over the inputs, the last one over what
was spilled; :mod:`distmtl.data.packing` strings them together.
"""
