"""Generative adversarial networks for zoo: WGAN-GP and LSGAN."""
