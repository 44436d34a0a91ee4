import pytest
import torch

from base_model.muon import Muon, orthogonalized


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3, 16, 40), (3, 40, 16), (1, 8, 8)])
def test_singular_values_end_near_one_and_their_vectors_stay(shape):
    matrices = normal(*shape)
    found = orthogonalized(matrices)
    values = torch.linalg.svdvals(found)
    assert (values > 0.3).all()
    assert (values < 1.6).all()
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    inside = left.mT @ found @ right.mT
    off_diagonal = inside - torch.diag_embed(inside.diagonal(dim1=1, dim2=2))
    assert off_diagonal.abs().max() < 1e-3


def test_steps_are_those_of_torch_up_to_its_bfloat16():
    start, gradients = normal(24, 16), [normal(24, 16, seed=seed) for seed in (1, 2, 3)]
    options = {"lr": 0.01, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}
    ends = []
    for kind in (Muon, torch.optim.Muon):
        parameter = torch.nn.Parameter(start.clone())
        optimizer = kind([parameter], **options)
        for gradient in gradients:
            parameter.grad = gradient.clone()
            optimizer.step()
        ends.append(parameter.detach())
    moved = (ends[1] - start).norm()
    assert (ends[0] - ends[1]).norm() < 0.03 * moved
