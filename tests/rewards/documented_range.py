"""Whether rewards keep to the ends that REWARD_FACTS names."""

from dgpo_core.reward_names import REWARD_FACTS


def keeps_to_its_range(name, rewards):
    """Whether every one lies between the documented ends; where there is none, every number does."""
    facts = REWARD_FACTS[name]
    low = -float("inf") if facts.low is None else facts.low
    high = float("inf") if facts.high is None else facts.high
    return all(low <= one <= high for one in rewards)
