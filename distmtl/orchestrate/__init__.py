"""Wires the parts together and starts workers: in this process, by torchrun, or by Ray (imported here alone)."""
