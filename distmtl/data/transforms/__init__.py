"""What happens to the rows of a source between their blocks and the trunk: tokenising, decoding, augmenting.

A chain of transforms runs on the gathered rows of a step, batch by batch and never row by row, in the loader's thread
or in processes of its own. NumPy and Arrow only: a process that transforms loads no torch.
"""
