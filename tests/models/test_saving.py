"""What cannot be saved as a whole pipeline is refused before anything is written."""

import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from torch import nn

from dgpo_core.errors import ModelError
from dgpo_core.model_config import ModelConfig
from dgpo_core.models.sd3 import SD3Model


def test_a_pipeline_without_its_text_encoders_is_not_saved_but_its_lora_is(model_folder, tmp_path):
    model = SD3Model.load(model_folder, lora_rank=2, lora_alpha=2, seed=0, text_encoders="drop")
    model.prepare(["a ring"])
    with pytest.raises(ModelError, match=r"text encoders were dropped.* Set model\.text_encoders to keep or offload"):
        model.save_merged(tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    model.save_lora(tmp_path / "lora")
    assert (tmp_path / "lora" / "pytorch_lora_weights.safetensors").is_file()


def test_encoders_that_only_moved_are_saved_with_the_rest(model_folder, tmp_path):
    model = SD3Model.load(model_folder, lora_rank=2, lora_alpha=2, seed=0, text_encoders="offload")
    model.prepare(["a ring"])
    model.save_merged(tmp_path / "merged")
    assert SD3Model.load(tmp_path / "merged", lora_rank=2, lora_alpha=2, seed=0).encode(["a ring"]).embeddings.any()


@pytest.fixture
def quantized(model_folder):
    """The small model, its queries as a quantizer leaves them: whole numbers of which nothing can be said alone."""
    pipeline = StableDiffusion3Pipeline.from_pretrained(model_folder, text_encoder_3=None, tokenizer_3=None)
    query = pipeline.transformer.transformer_blocks[0].attn.to_q
    query.weight = nn.Parameter((127 * query.weight.detach()).to(torch.int8), requires_grad=False)
    return SD3Model(pipeline, ModelConfig(folder=str(model_folder), lora_rank=2, lora_alpha=2), seed=0)


def test_a_lora_on_quantized_weights_is_not_merged_but_saved(quantized, tmp_path):
    with pytest.raises(
        ModelError, match=r"are quantized, and a LoRA cannot be merged into such\. Save the LoRA instead"
    ):
        quantized.save_merged(tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    quantized.save_lora(tmp_path / "lora")
    assert (tmp_path / "lora" / "pytorch_lora_weights.safetensors").is_file()
