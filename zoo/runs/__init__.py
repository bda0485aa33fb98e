"""Trains models in run folders with checkpoints."""
