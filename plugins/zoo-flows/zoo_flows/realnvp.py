"""RealNVP: a flow of affine couplings, each of half of the values given the other half.

    z = f(x + noise within its level) ~ Normal(0, I)

A coupling keeps half of the values, a, and moves the others, b:

    (a, b) -> (a, exp(log_scale(a)) b + shift(a))

On each scale the halves are first those of a checkerboard, `num_couplings` times in turn, then,
with squares of 2 x 2 pixels as pixels of four times the channels, halves of the channels, as many
times. Then one half of the channels is latents, and the other goes on to the next scale. The loss
is the mean of -log p of an image with noise, in nats: a bound, as `zoo_flows.flow` has it, which is
what f begins and ends by.

Family: normalizing flow

Source: Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, ICLR 2017,
https://arxiv.org/abs/1605.08803, equations 4 to 8, figures 3 and 4.

Differs from the source:

* `EndsToTails` instead of a logit;
* networks of three convolutions, without residual connections and normalization, whose channels
  are squares of 2 x 2 pixels under the checkerboard too;
* no batch normalization in f, because couplings start as the identity and the scale of the data is
  known;
* no additional couplings on the last scale;
* log scales without a learned factor;
* labels bias the hidden layer of every network;
* a learning rate that rises and falls, and a bound on the norm of the gradient;
* a moving average of the weights.
"""

import zoo
from zoo_flows.flow import Coupling, FlowModel, network

__all__ = ["RealNVP"]

ZOO_API = 2

# Of the squares of 2 x 2 pixels, in the order of their rows: those that a coupling keeps.
CHECKERBOARD = (0, 3), (1, 2)
CHANNELS = (0, 1), (2, 3)


class RealNVP(FlowModel):
    """RealNVP.

    Args:
      spec: Spec of an image, the sides multiples of 2^num_scales.
      condition: Spec of the label that the model is conditional on; None is unconditional.
      num_scales: times that the sides are halved.
      num_couplings: couplings of each of the two kinds on each scale.
      filters: channels of the networks' hidden layers on the first scale, doubled on each other.
      learning_rate: of Adam at its highest; it falls to 0 on a cosine.

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
        """Returns the bijectors, as of `FlowModel`."""
        return [
            [Coupling(n, label, kept) for n, kept in zip(networks, self.kept, strict=True)]
            for networks in self.networks
        ]
