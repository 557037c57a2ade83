"""Training: the loop, what a step changes, losses, progress, checkpoints."""
