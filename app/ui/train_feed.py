"""The live topics of the Train tab: from the store's read models to what each panel lacks."""

from __future__ import annotations

from typing import Any

from app.store.reader import Reader
from app.store.rows import RunRow
from app.ui import train_views as views
from app.ui.live import Live, whole_number

PREVIEWS_SHOWN = 24
DIARY_LINES = 200


class TrainFeed:
    """Answers the topics status, wall, previews and diary for the shown run."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def answer_all(self, live: Live) -> None:
        """Register every topic."""
        for name in ("status", "wall", "previews", "diary"):
            live.topic(name, getattr(self, name))

    def status(self, run: RunRow | None, _: Any) -> dict[str, Any]:
        """The status card."""
        live = self._reader.live_run()
        has_checkpoint = run is not None and bool(self._reader.checkpoints(run.id))
        other_is_live = live is not None and (run is None or live.id != run.id)
        return {"run": views.status_view(run, other_is_live=other_is_live, has_checkpoint=has_checkpoint)}

    def wall(self, run: RunRow | None, cursor: Any) -> dict[str, Any] | None:
        """The groups of the wanted step (else the newest), or only the range of steps when they are shown."""
        if run is None:
            return None
        seen = cursor if isinstance(cursor, dict) else {}
        is_same = seen.get("run") == run.id
        if run.step < 0:
            return {"run": run.id, "step": None, "latest": None, "low": 0, "high": 1, "groups": []}
        wanted = whole_number(seen.get("step")) if is_same else None
        step = run.step if wanted is None else min(wanted, run.step)
        if is_same and seen.get("shown") == step:
            return {"run": run.id, "step": step, "latest": run.step}
        return views.wall_view(run, self._reader.groups(run.id, step), step=step)

    def previews(self, run: RunRow | None, cursor: Any) -> dict[str, Any] | None:
        """The newest previews, and whether more can be asked for."""
        if run is None:
            return None
        samples = self._reader.previews(run.id, limit=PREVIEWS_SHOWN)
        newest = f"{run.id} {samples[0].id}" if samples else f"{run.id}"
        can = views.possible_actions(run, other_is_live=False)
        update: dict[str, Any] = {"run": run.id, "can_sample": "sample" in can, "newest": newest}
        return update if cursor == newest else update | {"samples": views.preview_view(samples)}

    def diary(self, run: RunRow | None, cursor: Any) -> dict[str, Any] | None:
        """The diary's lines after the cursor's."""
        if run is None:
            return None
        seen = cursor if isinstance(cursor, dict) else {}
        is_same = seen.get("run") == run.id
        after = whole_number(seen.get("last")) if is_same else None
        rows = self._reader.diary(run.id, after=after or 0, limit=DIARY_LINES)
        if is_same and not rows:
            return None
        return {"run": run.id, "last": rows[-1].id if rows else after or 0, "lines": views.diary_view(rows)}
