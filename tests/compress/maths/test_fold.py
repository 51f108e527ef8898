"""Oracle: the folded linear layers give the numbers of the unfolded ones."""

import torch
from torch.testing import assert_close

from dotresize.compress.maths import fold

D, K, OUT = 8, 6, 5


def orthonormal(rows: int = D, columns: int = K) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(rows, columns, dtype=torch.float64)).Q


def rms_norm(x: torch.Tensor, epsilon: float) -> torch.Tensor:
    return x / (x.square().mean(-1, keepdim=True) + epsilon).sqrt()


def test_reader_behind_the_narrow_norm_sees_the_dense_norm() -> None:
    """Exact for a stream in the span of Q, epsilon included."""
    project, weight, gain = orthonormal(), torch.randn(OUT, D).double(), torch.rand(D).double() + 0.5
    stream = torch.randn(3, K).double() @ project.T
    epsilon = 0.1
    dense = (rms_norm(stream, epsilon) * gain) @ weight.T
    readout = fold.unfitted_readout(project.T)
    narrow_weight = fold.fold_reader(fold.absorb_gain(weight, gain), readout)
    narrow = rms_norm(stream @ project * fold.stream_scale(D, K), epsilon) @ narrow_weight.T
    assert_close(narrow, dense, rtol=1e-12, atol=1e-12)


def test_writer_and_its_bias_write_the_projected_stream() -> None:
    project, weight, bias = orthonormal(), torch.randn(D, OUT).double(), torch.randn(D).double()
    inner = torch.randn(3, OUT).double()
    narrow = inner @ fold.fold_writer(weight, project).T + fold.fold_writer_bias(bias, project)
    assert_close(narrow, (inner @ weight.T + bias) @ project)


def test_embedding_rows_are_projected() -> None:
    project, table = orthonormal(), torch.randn(20, D)
    assert_close(fold.fold_embedding(table, project), table.double() @ project)


def test_everything_is_computed_in_float64() -> None:
    weight = torch.randn(OUT, D, dtype=torch.bfloat16)
    assert fold.absorb_gain(weight, torch.ones(D, dtype=torch.bfloat16)).dtype == torch.float64
    assert fold.fold_reader(weight, torch.eye(D)).dtype == torch.float64
    assert fold.fold_writer(weight.T, torch.eye(D)).dtype == torch.float64
