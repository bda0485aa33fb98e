"""Models of text for zoo, CharRNN and CharGPT, and the tiny Shakespeare data set."""
