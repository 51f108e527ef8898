"""What a norm of the narrow model feeds its readers (METHOD, readout fit), and the readers themselves.

Shapes: d, k old and new hidden size; i, n old and new inner size. M (k, d) maps the narrow normalised stream
back to the dense one.
"""

import torch
from torch import Tensor

from ..families.canonical import Matrix, gain_of
from ..families.family import Site
from ..maths.fit import Sums, add_rows, empty_sums, relative_error, ridge_solve
from ..maths.fold import fold_reader
from ..maths.guards import check_finite
from ..maths.zero_sum import carry_constant
from ..record.report import BlockFit
from ..streams.activations import Branch, normalise
from .gain_fit import kept_gain
from .job import Job
from .units import Chosen, take_experts, take_rows

__all__ = ["add_readout_rows", "empty_readout_sums", "fit_readout", "set_readers"]


def empty_readout_sums(job: Job) -> Sums | None:
    """Sums over no rows; None when readouts are not fitted."""
    if not job.fits_readout:
        return None
    return empty_sums(job.plan.narrow.hidden_size, job.plan.dense.hidden_size, job.device)


def add_readout_rows(job: Job, sums: Sums, dense: Tensor, narrow: Tensor, *, normed: bool = True) -> None:
    """Add a batch, in place.

    Args:
        job: norms and device.
        sums: where to add.
        dense: (b, t, d).
        narrow: (b, t, k).
        normed: whether a norm stands in front of the readers. Without one both streams are divided by the
            dense rms, so that each token counts the same.
    """
    narrow, dense = narrow.to(job.device), dense.to(job.device)
    if normed:
        kind = job.family.norm_kind
        rows, wanted = normalise(narrow, job.epsilon, kind), normalise(dense, job.epsilon, kind)
    else:
        weight = (dense.square().mean(-1, keepdim=True) + job.epsilon).rsqrt()
        rows, wanted = narrow * weight, dense * weight
    add_rows(sums, rows.flatten(0, -2), wanted.flatten(0, -2), products=job.products)


def fit_readout(job: Job, sums: Sums | None, index: int, site: str) -> tuple[Tensor | None, list[BlockFit]]:
    """M (k, d), None for the identity, and its error."""
    if sums is None:
        return job.readout, []
    job.ranks.summed(*sums)
    check_finite(f"layer {index}, {site}", *sums)
    prior = job.readout_prior

    def solve() -> tuple[Tensor, Tensor]:
        found = ridge_solve(sums, prior, job.ridge(job.tokens))
        errors = [relative_error(sums, prior), relative_error(sums, found)]
        return found, torch.tensor(errors, dtype=torch.float64)

    readout, (before, after) = job.ranks.solved(solve, like=(prior, torch.empty(2, dtype=torch.float64)))
    fit = BlockFit(layer=index, site=site, error_before=float(before), error_after=float(after))
    return readout, [fit]


def set_readers(job: Job, dense: Branch, narrow: Branch, readout: Tensor | None, chosen: Chosen) -> None:
    """Set the norms and readers of a narrow branch.

    Args:
        job: widths and stored dtype.
        dense: the dense branch.
        narrow: the narrow branch.
        readout: M (k, d), or None for the identity.
        chosen: the experts and units that stay.
    """
    carries = _carries_constant(narrow)
    _set_norms(job, dense, narrow, ones=carries)
    for site in dense.sublayer.readers:
        for number, expert in enumerate(chosen.experts if site.role != "router" else (0,)):
            whole, constant = dense.sites.reader(site, expert), dense.sites.constant(site, expert)
            weight, bias = _taken(job, whole, site, chosen, expert)
            if readout is not None:
                weight = fold_reader(weight, readout)
            if constant is not None:
                shifted = whole._replace(bias=constant)
                added = _taken(job, shifted, site, chosen, expert).bias
                if carries and added is not None:
                    weight = carry_constant(weight, added)
                elif bias is not None and added is not None:
                    bias = bias + added
            narrow.sites.write(site, Matrix(weight, bias), job.set_dtype, number)


def _taken(job: Job, whole: Matrix, site: Site, chosen: Chosen, expert: int) -> Matrix:
    """The rows of a reader that stay."""
    if site.role == "router":
        return take_experts(whole, chosen.experts)
    return take_rows(whole, site, chosen.units.get(expert), job.plan.dense)


def _carries_constant(narrow: Branch) -> bool:
    """Whether a norm adds ones because a reader has no bias that could take the dense norm's shift."""
    norm = narrow.sites.norm
    if norm is None or getattr(norm, "bias", None) is None:
        return False
    return not all(narrow.sites.has_bias(site) for site in narrow.sublayer.readers)


def _set_norms(job: Job, dense: Branch, narrow: Branch, *, ones: bool) -> None:
    """Gain one, shift zero or one: readers have absorbed them. Post-norms keep theirs, in the new basis."""
    norm, offset = narrow.sites.norm, job.family.gain_offset
    if norm is not None:
        if getattr(norm, "weight", None) is not None:
            norm.get_parameter("weight").fill_(1.0 - offset)
        if getattr(norm, "bias", None) is not None:
            norm.get_parameter("bias").fill_(float(ones))
    post, narrow_post = dense.sites.post_norm, narrow.sites.post_norm
    if post is not None and narrow_post is not None:
        gain = gain_of(post, offset)
        assert gain is not None
        if job.project is not None:
            gain = kept_gain(gain, dense.sites.read(dense.sublayer.writer).weight, job.project)
        narrow_post.get_parameter("weight").copy_((gain - offset).to(job.stored_dtype))
