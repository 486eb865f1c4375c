"""Workers, collectives and gradient reduction: the only place that imports torch.distributed for training."""
