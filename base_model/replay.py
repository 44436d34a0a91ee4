"""A training step that a GPU repeats by itself: its hundreds of small kernels take longer to start than to run."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

NUM_WARMUP_STEPS = 5
"""Steps before the one that is recorded: compiled parts compile, and optimisers make their states."""


def replayed(step: Callable[[], Tensor], generator: torch.Generator) -> Callable[[], Tensor]:
    """A call that does what step does, recorded as a CUDA graph; the tensor it returns is written anew by each call.

    step takes its random numbers from the generator, and must be the same for any values in the tensors that it reads.
    It is called some times for the recording, and those are real steps.
    """
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(NUM_WARMUP_STEPS):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        result = step()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay
