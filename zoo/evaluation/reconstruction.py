"""Scores of reconstructions: PSNR and SSIM.

Source: Wang et al., Image quality assessment: from error visibility to
structural similarity, 2004 (SSIM). Both are computed by TensorFlow.
"""

import numpy as np
import tensorflow as tf

from zoo.errors import ArtefactError
from zoo.evaluation.scores import mean_score
from zoo.progress import SILENT

__all__ = ["score_reconstructions"]

SSIM_WINDOW = 11  # pixels per side, from the source; smaller images have no SSIM


def score_reconstructions(model, split, batch_size=200, progress=SILENT):
    """Compares the images of a split with their reconstructions.

    Args:
      model: zoo.exports.saved_model.SavedModel with reconstruct.
      split: zoo.datasets.Split of the model's shape and levels.
      batch_size: int; changes memory and time only.
      progress: zoo.progress.Progress, whose parts are images.

    Returns:
      list of scores, means over the images: psnr in decibels, and ssim from -1 to 1. The PSNR of
      a reconstruction without error is infinite. `exact` is the number of such images, and the
      score is the mean of the others, or None if there are none.

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
            raise ArtefactError(f"Expected finite reconstructions of {model.name}.")
        psnr.append(tf.image.psnr(x, y, 1.0))
        if has_ssim:
            ssim.append(tf.image.ssim(x, y, 1.0))
        progress.advance(len(x))
    psnr = np.concatenate(psnr).astype(np.float64)
    finite = psnr[np.isfinite(psnr)]
    on = ({}, model, split, len(psnr))
    scores = [mean_score("psnr", finite, *on, exact=len(psnr) - len(finite))]
    if has_ssim:
        scores.append(mean_score("ssim", np.concatenate(ssim).astype(np.float64), *on))
    return scores
