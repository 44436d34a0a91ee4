"""The live topics of the Train tab: from the store's read models to what each panel lacks."""

from __future__ import annotations

from typing import Any

from app.store.reader import Reader
from app.store.rows import EvaluationRow, RunRow
from app.ui import train_views as views
from app.ui.live import Live, whole_number
from app.ui.serving import picture_urls

PREVIEWS_SHOWN = 24
ALARMS_SHOWN = 5
HELDOUT_AT_ONCE = 60
"""As many as heldout.js shows before somebody wants more."""
DIARY_LINES = 200
TOPICS = ("status", "alarms", "wall", "previews", "heldout", "diary")
EMPTY: dict[str, dict[str, Any]] = {
    "alarms": {"run": None, "newest": None, "alarms": []},
    "wall": {"run": None, "step": None, "latest": None, "low": 0, "high": 1, "groups": []},
    "previews": {"run": None, "can_sample": False, "newest": None, "samples": [], "diary": None, "warning": ""},
    "heldout": {"run": None, "examination": None, "step": None, "is_first": False, "title": "", "samples": []},
    "diary": {"run": None, "last": 0, "lines": []},
}
"""What empties a panel whose run is gone."""


class TrainFeed:
    """Answers the topics of the tab for the shown run; without one, a panel that shows a run is emptied."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def answer_all(self, live: Live) -> None:
        """Register every topic."""
        for name in TOPICS:
            live.topic(name, getattr(self, name))

    def status(self, run: RunRow | None, _: Any) -> dict[str, Any]:
        """The status card."""
        live = self._reader.live_run()
        has_checkpoint = run is not None and bool(self._reader.checkpoints(run.id))
        other_is_live = live is not None and (run is None or live.id != run.id)
        alarm = next(iter(self._reader.alarms(run.id, limit=1)), None) if run else None
        card = views.status_view(run, other_is_live=other_is_live, has_checkpoint=has_checkpoint, alarm=alarm)
        return {"run": card}

    def alarms(self, run: RunRow | None, cursor: Any) -> dict[str, Any] | None:
        """The newest alarms of the run with their pictures, or nothing where the page has them."""
        seen = _seen(cursor)
        if run is None:
            return _emptied("alarms", seen)
        alarms = self._reader.alarms(run.id, limit=ALARMS_SHOWN)
        newest = alarms[0].id if alarms else None
        if (seen.get("run"), seen.get("newest")) == (run.id, newest):
            return None
        return views.alarms_view(run, [(one, self._reader.examined("preview", one.id)) for one in alarms])

    def wall(self, run: RunRow | None, cursor: Any) -> dict[str, Any] | None:
        """The groups of the wanted step (else the newest), or only the range of steps when they are shown."""
        seen = _seen(cursor)
        if run is None:
            return _emptied("wall", seen)
        if run.step < 0:
            return EMPTY["wall"] | {"run": run.id}
        is_same = seen.get("run") == run.id
        wanted = whole_number(seen.get("step")) if is_same else None
        step = run.step if wanted is None else min(wanted, run.step)
        if is_same and seen.get("shown") == step:
            return {"run": run.id, "step": step, "latest": run.step}
        groups = self._reader.groups(run.id, step)
        shas = {sample.sha for group in groups for sample in group.samples}
        return views.wall_view(run, groups, picture_urls(self._reader, shas), step=step)

    def previews(self, run: RunRow | None, cursor: Any) -> dict[str, Any] | None:
        """The newest previews, whether more can be asked for, and a warning that came since the cursor's diary line."""
        seen = _seen(cursor)
        if run is None:
            return _emptied("previews", seen)
        samples = self._reader.previews(run.id, limit=PREVIEWS_SHOWN)
        newest = samples[0].id if samples else None
        can = views.possible_actions(run, other_is_live=False)
        update = {"run": run.id, "can_sample": "sample" in can, "newest": newest} | self._warning(run, seen)
        is_known = seen.get("run") == run.id and seen.get("newest") == newest
        return update if is_known else update | {"samples": views.examined_view(samples)}

    def _warning(self, run: RunRow, seen: dict[str, Any]) -> dict[str, Any]:
        """The newest warning beyond the cursor's diary line (of a new page: none), and the line it has come to."""
        after = whole_number(seen.get("diary")) if seen.get("run") == run.id else None
        rows = self._reader.diary(run.id, after=after or 0, limit=1 if after is None else DIARY_LINES, newest=True)
        warnings = [row.message for row in rows if row.kind == "warned" and after is not None]
        return {"diary": rows[-1].id if rows else after or 0, "warning": warnings[-1] if warnings else ""}

    def heldout(self, run: RunRow | None, cursor: Any) -> dict[str, Any] | None:
        """The pictures of the newest examination, or only whether they are still the first ones of the run.

        While they are looked at, small ones come along; folded away, the browser asks for none of them.
        """
        seen = _seen(cursor)
        examination = self._newest_examination(run, seen) if run else None
        if run is None or examination is None:
            return _emptied("heldout", seen)
        if (seen.get("run"), seen.get("examination")) == (run.id, examination.id):
            return {"run": run.id, "is_first": run.step < 0}
        samples = views.worst_first(self._reader.examined("evaluation", examination.id))
        is_open = run.step < 0 or seen.get("is_open") is True
        urls = picture_urls(self._reader, {one.sha for one in samples[:HELDOUT_AT_ONCE]}) if is_open else {}
        return views.heldout_view(run, examination, samples, urls)

    def _newest_examination(self, run: RunRow, seen: dict[str, Any]) -> EvaluationRow | None:
        """Of a run that was taken up again at an earlier step, examinations the page has seen may be gone."""
        step = whole_number(seen.get("step")) if seen.get("run") == run.id else None
        later = self._reader.evaluations(run.id, after=step - 1) if step is not None else []
        return next(reversed(later or self._reader.evaluations(run.id)), None)

    def diary(self, run: RunRow | None, cursor: Any) -> dict[str, Any] | None:
        """The diary's lines after the cursor's; of many, the newest."""
        seen = _seen(cursor)
        if run is None:
            return _emptied("diary", seen)
        is_same = seen.get("run") == run.id
        after = whole_number(seen.get("last")) if is_same else None
        rows = self._reader.diary(run.id, after=after or 0, limit=DIARY_LINES, newest=True)
        if is_same and not rows:
            return None
        return {"run": run.id, "last": rows[-1].id if rows else after or 0, "lines": views.diary_view(rows)}


def _seen(cursor: Any) -> dict[str, Any]:
    """What a page says it has; nothing where what came from the browser makes no sense."""
    return cursor if isinstance(cursor, dict) else {}


def _emptied(topic: str, seen: dict[str, Any]) -> dict[str, Any] | None:
    """What empties the panel, or None where it shows no run anyway."""
    return EMPTY[topic] if seen.get("run") else None
