"""Models behind one protocol: prompts in, velocities and pictures out, LoRA weights in between."""
