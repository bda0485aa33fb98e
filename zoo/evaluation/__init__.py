"""How good a model is, each score with its protocol."""
