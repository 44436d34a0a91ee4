"""The progress bar of a run on a terminal."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType

from tqdm import tqdm

from dgpo_core.events import EvaluationDone, Event, MemoryTaken, PhaseChanged, RunStarted, StepDone, Warned


def say(text: str) -> None:
    """A line on the terminal, above any bar; a run goes on though nobody listens any more."""
    with suppress(BrokenPipeError):
        tqdm.write(text)


class ProgressBar:
    """Hears a run's events and draws them as one line, with examinations and warnings above it."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def show(self, event: Event) -> None:
        """Draws what the event changes."""
        if isinstance(event, RunStarted):
            self._bar = tqdm(total=event.num_steps, initial=event.first_step, unit="step", dynamic_ncols=True)
        elif isinstance(event, StepDone) and self._bar is not None:
            metrics = event.metrics
            self._bar.set_postfix(reward=f"{metrics.reward_mean:.3f}", gate=f"{metrics.gate:.2f}", refresh=False)
            self._bar.update()
        elif isinstance(event, PhaseChanged) and self._bar is not None:
            self._bar.set_description(event.phase, refresh=False)
        elif isinstance(event, EvaluationDone):
            self.say(f"held-out score after {event.step} steps: {event.score_in_words()}")
        elif isinstance(event, Warned):
            self.say(event.message)
        elif isinstance(event, MemoryTaken):
            self.say(event.in_words())

    def say(self, text: str) -> None:
        """A line of its own, above the bar."""
        say(text)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
