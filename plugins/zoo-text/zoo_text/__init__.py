"""Models of text for zoo: CharRNN and CharGPT, and the text of tiny Shakespeare."""
