"""LSGAN: a convolutional generator and discriminator, trained with squared errors.

    z ~ Normal(0, I)                               [latent_dim]
    x = G(z), rounded to the levels of the data

The targets of the discriminator D are 1 for data and 0 for fakes. The losses are

    discriminator_loss = E (D(x) - 1)^2 / 2 + E D(G(z))^2 / 2
    generator_loss     = E (D(G(z)) - 1)^2 / 2

If D cannot distinguish them, it returns 1/2, and the losses are 1/4 and 1/8.

Family: generative adversarial network

Source: Mao, Li, Xie, Lau, Wang and Smolley, Least squares generative adversarial networks, ICCV
2017, https://arxiv.org/abs/1611.04076, equation 9 (a = 0, b = c = 1).

Differs from the source:

* D has no batch normalization, so that one forward and one backward pass through it train both
  networks with the same fakes;
* samples come from an EMA of the generator's weights (Karras, Aila, Laine and Lehtinen, Progressive
  growing of GANs, ICLR 2018);
* leaky ReLUs in G;
* a learning rate decay;
* z is normal;
* fakes are rounded to the levels of the data;
* the output of G is a sigmoid, because images are in [0, 1];
* conditional on the label by concatenation to z in G and by projection in D (Miyato and Koyama,
  cGANs with projection discriminator, ICLR 2018).
"""

import zoo
from zoo.adversarial import AdversarialModel
from zoo_gans import networks

__all__ = ["LSGAN"]

ZOO_API = 2


class LSGAN(AdversarialModel):
    """A convolutional GAN with squared errors.

    Args:
      spec: Spec of an image, with sides of 8 or more.
      condition: Spec of the label, or None for an unconditional model.
      latent_dim: number of latent dimensions.
      filters: channels at half resolution. Each halving of the sides doubles them, up to 8 times as
        many.
      learning_rate: initial learning rate of Adam, for both networks.

    Raises:
      ValueError: if an argument is invalid.
    """

    recipe = dict(data="mnist", epochs=30, batch_size=64)

    def __init__(
        self,
        spec: zoo.Spec,
        condition: zoo.Spec | None = None,
        latent_dim: int = 64,
        filters: int = 64,
        learning_rate: float = 4e-4,
    ):
        super().__init__(spec, condition, latent_dim, learning_rate)
        self.generator = networks.generator(self.shape, self.num_classes, latent_dim, filters)
        self.discriminator = networks.discriminator(
            self.shape, self.num_classes, filters, use_bias=True
        )
        self.build()

    def objectives(self, on_data, on_fakes):
        """Returns the losses of D and G, float32 [n] each, from the outputs for data and fakes."""
        return ((on_data - 1.0) ** 2 + on_fakes**2) / 2.0, (on_fakes - 1.0) ** 2 / 2.0

    def diagnose(self, log):
        """Returns None, because squared errors have gradients even if D is perfect."""
        return None
