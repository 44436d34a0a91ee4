"""A race: several algorithms from the same start, in turns, and what came of it."""
