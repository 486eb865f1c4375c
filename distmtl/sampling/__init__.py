"""Which source next: one file per sampler. NumPy only."""
