"""Where prompts and pictures come from: prompt sets and the Shapes world."""
