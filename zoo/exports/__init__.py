"""Writes, verifies, finds and loads SavedModels."""
