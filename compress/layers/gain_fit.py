"""Gains of a norm that stands behind a sublayer (Gemma 2 and 3, OLMo 2): what it adds is g * u / rms(u).

The norm takes away the length of what the writer gives, so how much the sublayer adds is the gain's to say.
With kept coordinates S the narrow norm measures u_S alone, over fewer entries.

Shapes: d, k old and new hidden size; i inner size; b windows of t tokens in a batch.
"""

import torch
from torch import Tensor

from ..families.canonical import gain_of
from ..maths.fold import stream_scale
from ..record.report import BlockFit
from ..streams.activations import Branch
from .job import Job, Streams

__all__ = ["fit_gain", "kept_gain"]


def kept_gain(gain: Tensor, writer: Tensor, project: Tensor) -> Tensor:
    """(k,) float64 gain without a fit: of the kept coordinates, times the root of their share of u.

    The share of white inner activations is |W_S|^2 / |W|^2. By its root the narrow u_S / rms(u_S) exceeds
    the kept part of u / rms(u).

    Args:
        gain: (d,) of the dense norm.
        writer: (d, i) in front of it.
        project: (d, k) kept coordinates times the stream's scale.
    """
    whole = writer.double()
    scale = stream_scale(*project.shape)
    share = (project.T @ whole).norm() / (scale * whole.norm()) if whole.any() else torch.ones(()).to(whole)
    kept: Tensor = project.T @ gain.double() / scale * share
    return kept


@torch.no_grad()
def fit_gain(job: Job, narrow: Branch, streams: Streams, index: int) -> list[BlockFit]:
    """Fit each gain to what the narrow stream lacks, the writer being fitted; nothing without a post-norm.

    One coordinate at a time, g_j = (sum w t_j n_j + r g0_j) / (sum w n_j^2 + r), with n the normed output, t
    what the stream lacks, w = 1 / rms(dense)^2, and the pull r of `ridge_tokens` average tokens towards g0.
    """
    norm, offset = narrow.sites.post_norm, job.family.gain_offset
    if norm is None or streams.narrow is None:
        return []
    prior = gain_of(norm, offset)
    assert prior is not None
    gram, cross = torch.zeros_like(prior), torch.zeros_like(prior)
    energy = 0.0
    for batch in streams.fitted_slices():
        y = streams.read_narrow(batch).to(job.device)
        dense = streams.dense[batch].to(job.device)  # already past this sublayer
        lacking = (job.projected(dense) - streams.narrow[batch].to(job.device)).flatten(0, -2)
        normed = (narrow.output(narrow.inner(y), y).flatten(0, -2) / prior.to(y.dtype)).nan_to_num(0, 0, 0)
        weights = 1.0 / (dense.square().mean(-1) + job.epsilon).flatten()
        gram += (normed.square() * weights[:, None]).sum(0, dtype=torch.float64)
        cross += (normed * lacking * weights[:, None]).sum(0, dtype=torch.float64)
        energy += float((lacking.square() * weights[:, None]).sum(dtype=torch.float64))
        job.progress.advance(len(y))
    job.ranks.summed(gram, cross)
    (energy,) = job.ranks.totals(energy)
    pull = (gram * (job.config.ridge_tokens / job.tokens)).clamp_min(1e-30)
    gain = (cross + pull * prior) / (gram + pull)
    norm.get_parameter("weight").copy_((gain - offset).to(job.stored_dtype))

    def error(tried: Tensor) -> float:
        left = energy + float((tried * (tried * gram - 2 * cross)).sum())
        return max(left, 0.0) / max(energy, 1e-300)

    path = f"{narrow.sublayer.core}.{narrow.sublayer.post_norm}"
    return [BlockFit(layer=index, site=path, error_before=error(prior), error_after=error(gain))]
