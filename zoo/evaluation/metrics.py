"""Defines the metrics in one table, for evaluation, comparison, verification and documentation.

To add a metric, write a function that computes its scores and add one entry to `GROUPS`.
"""

import dataclasses
import inspect
import pkgutil
from collections.abc import Callable, Mapping

__all__ = ["GROUPS", "Group", "Metric", "find_group", "find_metric"]

QUICK = 1000  # number of log_prob values or samples that takes only seconds


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number that is computed for a model.

    Args:
      name: value of "metric" in its scores.
      unit: unit of the value, printed after it.
      better: "higher" or "lower", the direction in which models are ranked. Empty for a metric
        that depends on the machine, or that a model can improve at the cost of another metric.
      quantity: the measured quantity. A value and its bounds share one quantity. Default: name.
      headline: whether it is shown in the tables of pretrained models.
    """

    name: str
    unit: str = ""
    better: str = ""
    quantity: str = ""
    headline: bool = False


@dataclasses.dataclass(frozen=True)
class Group:
    """Metrics that are computed by one function.

    Args:
      name: name of the group in `zoo.evaluate` and `zoo evaluate --metrics`.
      summary: one line for the help.
      needs: methods that the model must have.
      compute: "module:function". The function takes a SavedModel and returns or yields scores. It
        may also have any of these arguments:
        - `split`: the zoo.datasets.Split to score;
        - `train`: the training split of the same data set;
        - `extractor`: a zoo.evaluation.features.Extractor;
        - `progress`: a zoo.progress.Progress;
        - `seed`, `k`, `limit`, `samples`, `batch_size`: as in `zoo.evaluate`.
      metrics: the metrics of its scores.
      kinds: the kinds of data (see zoo.Spec) for which it is defined.
      quick: function of the protocol of a score that returns whether computing it takes seconds.
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
        summary="Distances between samples and images in the features of a classifier.",
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
    """Returns the metric with a name. An unknown metric has no unit and is not ranked."""
    metrics = [metric for group in GROUPS for metric in group.metrics]
    return next((metric for metric in metrics if metric.name == name), Metric(name))


def find_group(metric: str) -> Group | None:
    """Returns the group that computes a metric, or None for an unknown metric."""
    return next((g for g in GROUPS if metric in [m.name for m in g.metrics]), None)
