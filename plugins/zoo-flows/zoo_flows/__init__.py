"""Normalizing flows for zoo: RealNVP and Glow."""
