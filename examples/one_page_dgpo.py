"""DGPO on one page: Direct Group Preference Optimization (arXiv 2510.08425) of the embedded Shapes model.

    python -m examples.one_page_dgpo [steps] [groups per step]

61 seconds on two CPU cores as it stands, both examinations included. So few steps show that the policy comes to prefer
what the reward does (gates mostly below one half); the held-out score moves less than the 0.04 by which the mean of 120
pictures is uncertain. More steps are its first argument.

Only diffusers, peft and a reward; the lab's own loop (dgpo_core/trainer.py) does the same with checkpoints, clips, KL,
guidance, averaged weights and any micro-batch. The numbers in brackets are equations of docs/method.md.
"""

import sys
from itertools import pairwise

import torch
from diffusers import StableDiffusion3Pipeline
from peft import LoraConfig

from dgpo_core.data.prompts import load_prompts
from dgpo_core.rewards.catalogue import new_reward

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 8
K, G = int(sys.argv[2]) if len(sys.argv) > 2 else 4, 12  # groups per step, pictures per group
NUM_SAMPLING_STEPS, SIGMA_MIN, BETA, LEARNING_RATE = 8, 0.6, 500.0, 6e-4
LEVELS = 4  # noise levels, and so updates, per step
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"]

torch.manual_seed(0)
pipe = StableDiffusion3Pipeline.from_pretrained("assets/shapes-sd3", text_encoder_3=None, tokenizer_3=None)
pipe.transformer.requires_grad_(False)
pipe.transformer.add_adapter(LoraConfig(r=32, lora_alpha=64, init_lora_weights="gaussian", target_modules=ATTENTION))
policy = [weight for weight in pipe.transformer.parameters() if weight.requires_grad]
optimizer = torch.optim.AdamW(policy, lr=LEARNING_RATE)
prompts, heldout = load_prompts("shapes-train"), load_prompts("shapes-heldout")[::5]  # all six kinds: they take turns
partial, strict = new_reward("shapes_partial"), new_reward("shapes_strict")


@torch.no_grad()
def encode(texts):
    embeds, _, pooled, _ = pipe.encode_prompt(
        texts, None, None, do_classifier_free_guidance=False, max_sequence_length=0
    )
    return embeds, pooled


def velocity(x, sigma, text):
    return pipe.transformer(x, text[0], text[1], (1000 * sigma).expand(len(x)), return_dict=False)[0]


@torch.no_grad()
def draw(text, seed):
    """Clean latents by Euler's method along the ODE, each from its own noise."""
    noise = torch.Generator().manual_seed(seed)
    x = torch.randn(len(text[0]), pipe.transformer.config.in_channels, 8, 8, generator=noise)
    sigmas = torch.linspace(1, 0, NUM_SAMPLING_STEPS + 1)
    for sigma, following in pairwise(sigmas):
        x = x + (following - sigma) * velocity(x, sigma, text)
    return x


@torch.no_grad()
def judge(reward, latents, texts):
    decoded = pipe.vae.decode(latents / pipe.vae.config.scaling_factor + pipe.vae.config.shift_factor).sample
    pixels = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return torch.tensor([judgement.reward for judgement in reward(list(pixels), texts)])


def examine():
    return judge(strict, draw(encode(heldout), seed=1), heldout).mean()


print(f"held-out score of the base: {examine():.3f}")
for step in range(STEPS):
    # Draw K groups of G pictures and judge them; inside a group, rewards become advantages that sum to zero [4].
    texts = [prompts[index] for index in torch.randperm(len(prompts))[:K] for _ in range(G)]
    text = encode(texts)
    clean = draw(text, seed=1000 + step)
    reward = judge(partial, clean, texts).view(K, G)
    spread = reward.std(dim=1, keepdim=True, correction=0)
    advantage = (reward - reward.mean(dim=1, keepdim=True)) / spread.clamp(min=1e-4)

    # One update per noise level, measured against the policy that drew the groups. Noise is shared by the group.
    levels = [(SIGMA_MIN + (1 - SIGMA_MIN) * torch.rand(()), torch.randn(K, *clean.shape[1:])) for _ in range(LEVELS)]

    def errors(sigma, noise):
        eps = noise.repeat_interleave(G, dim=0)
        x, target = (1 - sigma) * clean + sigma * eps, eps - clean  # [1], [2]
        return (velocity(x, sigma, text) - target).square().mean(dim=(1, 2, 3)).view(K, G)  # [5]

    with torch.no_grad():
        old = [errors(*level) for level in levels]
    for level, old_error in zip(levels, old, strict=True):
        error = errors(*level)
        preference = BETA * (advantage * (error - old_error)).mean(dim=1)  # [6]; below zero: preferences are met
        gate = preference.detach().sigmoid()  # near zero where a group is satisfied, so the pull ends by itself
        loss = (
            gate[:, None] * advantage * error
        ).mean()  # [7]: its gradient is that of -log sigmoid(-preference) / BETA
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy, 1.0)
        optimizer.step()
    print(f"step {step}: reward {reward.mean():.3f}, mean gate at the last noise level {gate.mean():.2f}")
print(f"held-out score of the policy: {examine():.3f}")
