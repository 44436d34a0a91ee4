"""How a lesson becomes a gradient: DGPO's update, and those of its rivals."""
