"""The loop, the step, optimizers, evaluation and run state."""
