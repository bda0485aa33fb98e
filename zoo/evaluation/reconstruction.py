"""How near the reconstructions of images are to the images.

Sources: peak signal-to-noise ratio; Wang et al., Image quality assessment: from error visibility to
structural similarity, 2004 (SSIM). Both are TensorFlow's own.
"""

import numpy as np
import tensorflow as tf

from zoo.errors import ArtefactError, UndefinedError
from zoo.evaluation.scores import mean_score, unseen

__all__ = ["score_reconstructions"]

SSIM_WINDOW = 11  # pixels on a side, as of the source: smaller images have no SSIM


def score_reconstructions(model, split, batch_size=200, begin=unseen):
    """Compares the images of a split with their reconstructions, which are means, not draws.

    Args:
      model: zoo.saving.SavedModel that can reconstruct.
      split: zoo.datasets.Split of the model's shape and levels.
      batch_size: int; changes memory and time alone.
      begin: function of the number of images that are to come; it returns one that is told of
        every n that are done.

    Returns:
      list of scores: psnr, in decibels, and ssim, from -1 to 1; means over the images. The PSNR of
      a reconstruction without error is infinite: such images are counted in `exact`, and the mean
      of the others is given, None where there are no others.

    Raises:
      UndefinedError: if the model has no reconstructions.
      ArtefactError: if a reconstruction is not finite.
    """
    if "reconstruct" not in model.card["can"]:
        raise UndefinedError(
            f"Reconstructions of {model.name} are not defined, because it has no reconstruct: it"
            f" can {', '.join(model.card['can'])}."
        )
    conditional = model.card["num_classes"] > 0
    has_ssim = min(split.shape[:2]) >= SSIM_WINDOW
    psnr, ssim, advance = [], [], begin(len(split))
    for batch in split.batches(batch_size, labels=conditional):
        x, labels = batch if conditional else (batch, None)
        y = model.reconstruct(x, labels)
        if not np.isfinite(y).all():
            raise ArtefactError(f"Expected finite reconstructions of {model.name}.")
        psnr.append(tf.image.psnr(x, y, 1.0))
        if has_ssim:
            ssim.append(tf.image.ssim(x, y, 1.0))
        advance(len(x))
    psnr = np.concatenate(psnr).astype(np.float64)
    finite = psnr[np.isfinite(psnr)]
    on = ({}, model, split, len(psnr))
    scores = [mean_score("psnr", finite, *on, exact=len(psnr) - len(finite))]
    if has_ssim:
        scores.append(mean_score("ssim", np.concatenate(ssim).astype(np.float64), *on))
    return scores
