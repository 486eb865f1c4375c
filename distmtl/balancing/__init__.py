"""How task losses and task gradients combine: one file per method. NumPy only."""
