"""The VAE: the shared conformance checks, and its mathematics against independent numbers."""

import zoo
from zoo.models.vae import VAE

test_conformance = zoo.testing.conformance(VAE, filters=4, latent_dim=4)
