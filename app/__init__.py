"""The lab: a page, a store and a training thread around dgpo_core."""
