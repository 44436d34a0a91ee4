"""Who judges pictures: one contract, and the rewards that keep it."""
