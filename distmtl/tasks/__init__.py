"""What is predicted: kinds, losses, imbalance, metrics."""
