"""The table of metrics, which evaluation, comparison, verification and the documentation read.

To add a metric, write a function that computes its scores and add one entry to `GROUPS`.
"""

import dataclasses
import inspect
import pkgutil
from collections.abc import Callable, Mapping

__all__ = ["GROUPS", "Group", "Metric", "find_group", "find_metric"]

QUICK = 1000  # values of log_prob, or samples, that take seconds


@dataclasses.dataclass(frozen=True)
class Metric:
    """One number that is computed for a model.

    Args:
      name: "metric" of its scores.
      unit: unit of its value, printed after it.
      better: "higher" or "lower", the direction in which models are ranked. Empty for a metric
        that depends on the machine, or that a model can improve at the cost of another metric.
      quantity: what the value measures. A value and its bounds have one quantity. Default: name.
      headline: whether the tables of pretrained models show it.
    """

    name: str
    unit: str = ""
    better: str = ""
    quantity: str = ""
    headline: bool = False


@dataclasses.dataclass(frozen=True)
class Group:
    """Metrics that one function computes.

    Args:
      name: what selects the group in `zoo.evaluate` and `zoo evaluate --metrics`.
      summary: one line for the help.
      needs: methods that the model must have.
      compute: "module:function". The function takes a SavedModel and, by their names, any of:
        `split`, the zoo.datasets.Split to score; `train`, the training split of the same data set;
        `extractor`, a zoo.evaluation.features.Extractor; `seed`, `k`, `limit`, `samples` and
        `batch_size` of `zoo.evaluate`; `progress`. It returns or yields scores.
      metrics: what the scores are of.
      kinds: the kinds of data, as of zoo.Spec, that it is defined for.
      quick: function of the protocol of a score: whether computing it takes only seconds.
    """

    name: str
    summary: str
    needs: tuple[str, ...]
    compute: str
    metrics: tuple[Metric, ...]
    kinds: tuple[str, ...] = ("image", "tokens", "audio")
    quick: Callable[[Mapping], bool] = lambda protocol: False

    @property
    def function(self) -> Callable:
        """The function that computes the scores. Imports its module."""
        return pkgutil.resolve_name(self.compute)

    @property
    def arguments(self) -> set[str]:
        """Names of the arguments of the function. Imports its module."""
        return {*inspect.signature(self.function).parameters}


def _bound(name):
    return Metric(name, unit="nats", better="higher", quantity="likelihood", headline=True)


GROUPS = (
    Group(
        name="likelihood",
        summary="Log-likelihood of examples, or its bounds elbo, iw_bound and lower_bound.",
        needs=("log_prob",),
        compute="zoo.evaluation.likelihood:score_likelihood",
        metrics=(
            _bound("log_likelihood"),
            _bound("elbo"),
            _bound("iw_bound"),
            _bound("lower_bound"),
        ),
        quick=lambda protocol: protocol["count"] * protocol["k"] <= QUICK,
    ),
    Group(
        name="samples",
        summary="Distances between samples and images, in the features of a classifier.",
        needs=("sample",),
        compute="zoo.evaluation.samples:score_samples",
        metrics=(
            Metric("frechet_distance", better="lower", headline=True),
            Metric("kernel_distance", better="lower"),
            Metric("classifier_score", better="higher"),
            Metric("precision"),
            Metric("recall"),
            Metric("density"),
            Metric("coverage", better="higher", headline=True),
            Metric("diversity"),
            Metric("authenticity"),
        ),
        kinds=("image",),
        quick=lambda protocol: protocol["samples"] <= QUICK,
    ),
    Group(
        name="reconstructions",
        summary="PSNR and SSIM of reconstructed images.",
        needs=("reconstruct",),
        compute="zoo.evaluation.reconstruction:score_reconstructions",
        metrics=(Metric("psnr", unit="dB", better="higher"), Metric("ssim", better="higher")),
        kinds=("image",),
    ),
    Group(
        name="speed",
        summary="Time per sample, alone and in a batch of 64.",
        needs=("sample",),
        compute="zoo.evaluation.speed:score_speed",
        metrics=(Metric("ms_per_image", unit="ms"),),
    ),
)
"""All metrics, in the order in which they are computed."""


def find_metric(name: str) -> Metric:
    """Returns the metric of a name; an unknown one has no unit and is not ranked."""
    metrics = [metric for group in GROUPS for metric in group.metrics]
    return next((metric for metric in metrics if metric.name == name), Metric(name))


def find_group(metric: str) -> Group | None:
    """Returns the group that computes a metric, or None for an unknown metric."""
    return next((g for g in GROUPS if metric in [m.name for m in g.metrics]), None)
