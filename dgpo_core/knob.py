"""How one setting is declared: its default, its help, and what is allowed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Knob:
    """What is known of a setting beside its value: help in one sentence, and what is allowed.

    choices are all there is; offers are good texts among others, which the setting's section checks.
    """

    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()
    is_important: bool = False

    def allowed(self) -> str:
        """The allowed values in words; empty for what is on or off, or any text."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.low is None and self.high is None:
            return ""
        if self.high is None:
            return f"at least {self.low:.10g}"
        return f"{self.low:.10g} to {self.high:.10g}"


def knob(default: Any, help: str, **limits: Any) -> Any:
    """A dataclass field that carries a Knob."""
    return field(default=default, metadata={"knob": Knob(help, **limits)})
