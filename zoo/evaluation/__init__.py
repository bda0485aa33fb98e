"""Computes, compares and verifies scores of models. Each score contains its protocol."""
