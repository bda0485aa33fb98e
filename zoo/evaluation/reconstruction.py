"""Computes scores of reconstructions: PSNR and SSIM.

Source: Wang et al., Image quality assessment: from error visibility to
structural similarity, 2004 (SSIM). Both are computed by TensorFlow.
"""

import numpy as np
import tensorflow as tf

from zoo.errors import ArtefactError
from zoo.evaluation.scores import mean_score
from zoo.progress import SILENT

__all__ = ["score_reconstructions"]

SSIM_WINDOW = 11  # pixels per side, from the source; SSIM is undefined for smaller images


def score_reconstructions(model, split, batch_size=200, progress=SILENT):
    """Compares the images of a split with their reconstructions.

    Args:
      model: zoo.exports.saved_model.SavedModel with reconstruct.
      split: zoo.datasets.Split with the spec of the model.
      batch_size: int; affects memory and time only.
      progress: zoo.progress.Progress, whose parts are images.

    Returns:
      list of scores, means over the images: psnr in decibels, and ssim from -1 to 1. The PSNR of an
      exact reconstruction is infinite. `exact` is the number of such images. psnr is the mean of
      the other images, or None if all are exact.

    Raises:
      ArtefactError: if a reconstruction is not finite.
    """
    conditional = model.condition is not None
    has_ssim = min(split.shape[:2]) >= SSIM_WINDOW
    psnr, ssim = [], []
    progress.start(len(split), "reconstructions")
    for batch in split.batches(batch_size, condition=conditional):
        x, condition = batch if conditional else (batch, None)
        y = model.reconstruct(x, condition)
        if not np.isfinite(y).all():
            raise ArtefactError(f"reconstruct of {model.name} returned NaN or infinity.")
        psnr.append(tf.image.psnr(x, y, 1.0))
        if has_ssim:
            ssim.append(tf.image.ssim(x, y, 1.0))
        progress.advance(len(x))
    psnr = np.concatenate(psnr).astype(np.float64)
    finite = psnr[np.isfinite(psnr)]
    context = ({}, model, split, len(psnr))
    scores = [mean_score("psnr", finite, *context, exact=len(psnr) - len(finite))]
    if has_ssim:
        scores.append(mean_score("ssim", np.concatenate(ssim).astype(np.float64), *context))
    return scores
