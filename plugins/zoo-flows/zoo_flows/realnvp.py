"""RealNVP: a normalizing flow of affine couplings.

    z = f(x + uniform noise of one level) ~ Normal(0, I)

A coupling keeps half of the values, a, and transforms the others, b:

    (a, b) -> (a, exp(log_scale(a)) b + shift(a))

Each scale has `num_couplings` couplings with alternating checkerboard masks. Then squares of 2 x 2
pixels become pixels with four times the channels, followed by `num_couplings` couplings with
alternating halves of the channels. Finally, half of the channels become latents, and the other half
continues to the next scale.

The loss is the mean of -log p of dequantized images in nats, an upper bound of -log P.
`zoo_flows.flow` contains the loss and the parts of f that flows share.

Family: normalizing flow

Source: Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, ICLR 2017,
https://arxiv.org/abs/1605.08803, equations 4 to 8, figures 3 and 4.

Differs from the source:

* `EndsToTails` instead of a logit;
* networks of three convolutions without residual connections and normalization. Their channels are
  squares of 2 x 2 pixels for checkerboard masks too;
* no batch normalization in f, because couplings start as the identity and the scale of the data is
  known;
* no additional couplings on the last scale;
* log scales without a learned factor;
* labels add a bias to the hidden layer of every network;
* learning rate warm-up, cosine decay and gradient clipping;
* an EMA of the weights.
"""

import zoo
from zoo_flows.flow import Coupling, FlowModel, network

__all__ = ["RealNVP"]

ZOO_API = 2

# Indices of the pixels of a 2 x 2 square, row by row, that a coupling keeps.
CHECKERBOARD = (0, 3), (1, 2)
CHANNELS = (0, 1), (2, 3)


class RealNVP(FlowModel):
    """A RealNVP model.

    Args:
      spec: Spec of an image with sides that are multiples of 2^num_scales.
      condition: Spec of the label, or None for an unconditional model.
      num_scales: number of scales. Each halves the sides.
      num_couplings: couplings per mask type and scale.
      filters: channels of the hidden layers on the first scale. Each further scale doubles them.
      learning_rate: peak learning rate of Adam, with a cosine decay.

    Raises:
      ValueError: if an argument is invalid.
    """

    recipe = dict(data="mnist", epochs=15, batch_size=128)

    def __init__(
        self,
        spec: zoo.Spec,
        condition: zoo.Spec | None = None,
        num_scales: int = 2,
        num_couplings: int = 3,
        filters: int = 64,
        learning_rate: float = 4e-3,
    ):
        super().__init__(spec, condition, num_scales, learning_rate)
        self.require(
            num_couplings >= 1, "num_couplings must be positive.", num_couplings=num_couplings
        )
        self.require(filters >= 1, "filters must be positive.", filters=filters)
        self.kept = [pair[k % 2] for pair in (CHECKERBOARD, CHANNELS) for k in range(num_couplings)]
        self.networks = [
            [network(size, self.num_classes, filters * 2**k) for _ in self.kept]
            for k, size in enumerate(self.sizes)
        ]
        self.build()

    def scales(self, label):
        """Returns the bijectors, as `FlowModel`."""
        return [
            [Coupling(n, label, kept) for n, kept in zip(networks, self.kept, strict=True)]
            for networks in self.networks
        ]
