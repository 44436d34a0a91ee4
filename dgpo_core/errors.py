"""What can go wrong, by kind. Every message says what, what was given, what is allowed, what to do next."""

from __future__ import annotations


class LabError(ValueError):
    """An error whose text is meant for the person at the page; all others are bugs."""


class ConfigError(LabError):
    """A setting is unknown, out of range, or does not go with another."""


class PromptError(LabError):
    """A prompt, or a file of prompts, cannot be used."""


class ModelError(LabError):
    """A model folder is missing, broken or of another architecture."""


class RewardError(LabError):
    """A reward is unknown, or gave something that is not one finite number per picture."""


class CheckpointError(LabError):
    """A checkpoint is torn, altered, or belongs to another model."""


class StoreError(LabError):
    """The lab's database cannot be opened, read or written."""


class UnstorableError(StoreError):
    """The database refuses the values themselves: no patience helps."""


class LabelError(LabError):
    """A label says nothing, contradicts itself, or is of a group that cannot be labelled any more."""


class ExchangeError(LabError):
    """What was brought into the lab, or is to be taken out of it, cannot be; nothing was."""
