"""Diffusion models for zoo: DDPM."""
