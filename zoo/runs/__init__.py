"""A training run: its folder, checkpoints and the training itself."""
