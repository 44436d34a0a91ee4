import pytest
import torch

from base_model.autoencoder import new_autoencoder
from base_model.encoded import cached_encoded_corpus
from dgpo_core.models.autoencoder import BATCH


@pytest.fixture
def autoencoder():
    torch.manual_seed(0)
    made = new_autoencoder()
    made.register_to_config(shift_factor=0.0, scaling_factor=1.0)
    return made


def test_the_corpus_is_encoded_once_and_found_again(autoencoder, tmp_path):
    count = BATCH + 10  # more than go through the autoencoder together
    made = cached_encoded_corpus(tmp_path, autoencoder, count, processes=1)
    torch.nn.init.zeros_(next(autoencoder.parameters()))  # encoded again, it would be something else
    found = cached_encoded_corpus(tmp_path, autoencoder, count, processes=1)
    assert made.latents.shape == (count, 8, 8, 8)
    assert made.latents.std() > 0
    assert torch.equal(found.latents, made.latents)
    assert torch.equal(found.cells, made.cells)
    assert found.requests == made.requests


def test_latents_are_those_of_the_pictures_shifted_and_scaled(autoencoder, tmp_path):
    plain = cached_encoded_corpus(tmp_path, autoencoder, 4, processes=1).latents
    (tmp_path / "encoded-4.pt").unlink()
    autoencoder.register_to_config(shift_factor=0.25, scaling_factor=2.0)
    scaled = cached_encoded_corpus(tmp_path, autoencoder, 4, processes=1).latents
    torch.testing.assert_close(scaled.float(), 2 * (plain.float() - 0.25), atol=1e-2, rtol=1e-2)
