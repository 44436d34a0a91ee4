"""A step that a GPU repeats by itself does what the same step does when Python starts it."""

import torch

from base_model.replay import NUM_WARMUP_STEPS, replayed

STEPS = 20


def trained(is_replayed):
    """A weight after STEPS steps of fitting random numbers, at a rate that falls, and the last loss."""
    generator = torch.Generator("cuda").manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(16, device="cuda"))
    rate = torch.full((), 0.1, device="cuda")
    optimizer = torch.optim.AdamW([weight], lr=rate, fused=True, capturable=True)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = (weight - torch.randn(16, generator=generator, device="cuda")).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    done, call = (NUM_WARMUP_STEPS, replayed(step, generator)) if is_replayed else (0, step)
    for at in range(done, STEPS):
        if at == STEPS // 2:
            rate.fill_(0.01)
        loss = call()
    return weight.detach().clone(), loss.item()


def test_replaying_is_stepping():
    (replayed_weight, replayed_loss), (weight, loss) = trained(True), trained(False)
    torch.testing.assert_close(replayed_weight, weight)
    assert abs(replayed_loss - loss) < 1e-5
    assert weight.norm() > 0
