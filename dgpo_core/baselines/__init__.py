"""The rivals of DGPO, on the same groups, rewards, weights and examinations."""
