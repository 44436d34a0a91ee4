"""What is in the store, for the page and for anyone else who looks."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from threading import Lock
from typing import Any

from sqlite_utils import Database

from app.store import decoding, label_questions, opinions
from app.store.commands import command_from_row
from app.store.database import FileIdentity, Opener, file_identity, now, open_for_reading, translated
from app.store.labelling import CANDIDATES
from app.store.recording import LIVE_STATES
from app.store.rows import (
    AgreementRow,
    AlarmRow,
    CheckpointRow,
    ComparisonRow,
    EvaluationRow,
    EventRow,
    ExaminedRow,
    GroupRow,
    LabelProgress,
    LabelRow,
    LabelTaskRow,
    PreferenceRow,
    RaceRow,
    RaceRunRow,
    RaterRow,
    RunRow,
    SampleRow,
    StepRow,
    TrialPictureRow,
    TrialRow,
)
from dgpo_core.events import Command

IDLE_CONNECTIONS = 8
STEPS_OF_PACE = 20

# The mean of the newest steps is the pace: it follows a change of speed, and a replay cannot disturb it.
_RUNS = f"""
WITH scored AS (SELECT id, run_id, step, score FROM evaluations WHERE score IS NOT NULL)
SELECT id, name, state, created, ended, config, notes, num_steps, phase, phase_done, phase_total, message, details,
  coalesce((SELECT max(step) FROM steps WHERE run_id = runs.id), -1) AS step,
  (SELECT avg(step_seconds) FROM
    (SELECT step_seconds FROM steps WHERE run_id = runs.id ORDER BY step DESC LIMIT {STEPS_OF_PACE})
  ) AS seconds_per_step,
  (SELECT score FROM scored WHERE run_id = runs.id ORDER BY step, id LIMIT 1) AS first_score,
  (SELECT score FROM scored WHERE run_id = runs.id ORDER BY step DESC, id DESC LIMIT 1) AS last_score
FROM runs
"""

_PICTURES = "(SELECT count(*) FROM samples JOIN groups ON groups.id = group_id WHERE step_id = steps.id)"

_RACE_POINTS = f"""
WITH costs AS (
  SELECT step, sum(step_seconds) OVER before AS seconds, sum(network_evaluations) OVER before AS network_evaluations,
    sum({_PICTURES}) OVER before AS pictures
  FROM steps WHERE run_id = ?1 WINDOW before AS (ORDER BY step)
)
SELECT evaluations.step, score, quality, coalesce(seconds, 0) AS seconds, coalesce(pictures, 0) AS pictures,
  coalesce(network_evaluations, 0) AS network_evaluations
FROM evaluations LEFT JOIN costs ON costs.step = evaluations.step - 1
WHERE run_id = ?1 AND score IS NOT NULL ORDER BY evaluations.step
"""


class Reader:
    """Read models of everything stored. Any thread may ask; nothing asked can write.

    Every method raises StoreError where the file is missing, damaged, or held for too long.
    """

    def __init__(self, path: Path, *, opener: Opener = open_for_reading) -> None:
        self._path = path
        self._opener = opener
        self._idle: list[Database] = []
        self._lock = Lock()
        self._file = file_identity(path)

    def change_token(self) -> str:
        """Text that differs after every change by any process, and costs one small read."""
        row = self._rows("SELECT uuid, changes FROM lab")[0]
        return f"{row['uuid']}-{row['changes']}"

    def runs(self) -> list[RunRow]:
        """All runs, newest first."""
        return [decoding.run_row(row) for row in self._rows(f"{_RUNS} ORDER BY id DESC")]

    def run(self, run_id: int) -> RunRow | None:
        """One run; None where it never was or was deleted."""
        return next((decoding.run_row(row) for row in self._rows(f"{_RUNS} WHERE id = ?", run_id)), None)

    def live_run(self) -> RunRow | None:
        """The newest run that is starting, running or paused."""
        rows = self._rows(f"{_RUNS} WHERE state IN {LIVE_STATES} ORDER BY id DESC LIMIT 1")
        return next(map(decoding.run_row, rows), None)

    def steps(self, run_id: int, after: int = -1, limit: int = 2000) -> list[StepRow]:
        """Steps beyond `after` in order; of more than `limit`, evenly spaced ones with the first and the last."""
        with self._reading() as db:
            count = _fetch(db, "SELECT count(*) AS n FROM steps WHERE run_id = ? AND step > ?", run_id, after)[0]["n"]
            rows = _fetch(
                db,
                "WITH ranked AS (SELECT id, row_number() OVER (ORDER BY step) - 1 AS rank FROM steps"
                " WHERE run_id = ? AND step > ?)"
                f" SELECT steps.*, {_PICTURES} AS pictures FROM ranked JOIN steps USING (id)"
                " WHERE rank IN (SELECT value FROM json_each(?)) ORDER BY step",
                run_id,
                after,
                json.dumps(_evenly_spaced(count, limit)),
            )
        return [decoding.step_row(row) for row in rows]

    def latest_step(self, run_id: int) -> int | None:
        """The last whole step of a run; None before the first."""
        return self._rows("SELECT max(step) AS step FROM steps WHERE run_id = ?", run_id)[0]["step"]

    def groups(self, run_id: int, step: int) -> list[GroupRow]:
        """The groups of a step in order, each with its samples, best first."""
        of_step = "JOIN steps ON steps.id = groups.step_id WHERE steps.run_id = ? AND steps.step = ?"
        with self._reading() as db:
            groups = _fetch(db, f"SELECT groups.* FROM groups {of_step} ORDER BY group_index", run_id, step)
            samples = _fetch(
                db, f"SELECT samples.* FROM samples JOIN groups ON groups.id = group_id {of_step}", run_id, step
            )
        by_group: defaultdict[int, list[SampleRow]] = defaultdict(list)
        for row in samples:
            by_group[row["group_id"]].append(decoding.sample_row(row))
        return [decoding.group_row(row, step, by_group[row["id"]]) for row in groups]

    def evaluations(self, run_id: int, after: int = -1) -> list[EvaluationRow]:
        """Examinations beyond step `after` in order, with the mean of each category that has a scored picture."""
        wanted = "evaluations.run_id = ? AND step > ?"
        with self._reading() as db:
            evaluations = _fetch(db, f"SELECT * FROM evaluations WHERE {wanted} ORDER BY step, id", run_id, after)
            means = _fetch(
                db,
                "SELECT owner_id, category, avg(examined.score) AS mean, count(examined.score) AS n FROM evaluations"
                " JOIN examined ON kind = 'evaluation' AND owner_id = evaluations.id"
                f" WHERE {wanted} AND examined.score IS NOT NULL"
                " GROUP BY owner_id, category ORDER BY min(examined.id)",
                run_id,
                after,
            )
        by_owner: defaultdict[int, list[tuple[str, float, int]]] = defaultdict(list)
        for row in means:
            by_owner[row["owner_id"]].append((row["category"], row["mean"], row["n"]))
        return [decoding.evaluation_row(row, by_owner[row["id"]]) for row in evaluations]

    def examined(self, kind: str, owner_id: int) -> list[ExaminedRow]:
        """The pictures of one 'evaluation', 'comparison' or 'preview', in the order they were drawn.

        Of a comparison: all of side 'before', then all of side 'after', prompts and seeds in the same order.
        """
        rows = self._rows("SELECT * FROM examined WHERE kind = ? AND owner_id = ? ORDER BY id", kind, owner_id)
        return [decoding.examined_row(row) for row in rows]

    def previews(self, run_id: int, limit: int = 200) -> list[ExaminedRow]:
        """Pictures drawn on request: the newest request first, its pictures in the order they were drawn."""
        sql = (
            "SELECT examined.* FROM examined JOIN previews ON previews.id = owner_id WHERE kind = 'preview'"
            " AND examined.run_id = ? AND event_id IS NULL ORDER BY owner_id DESC, examined.id LIMIT ?"
        )
        return [decoding.examined_row(row) for row in self._rows(sql, run_id, limit)]

    def alarms(self, run_id: int, limit: int = 20) -> list[AlarmRow]:
        """Warnings of a run that have pictures, newest first; examined("preview", id) gives these, in their order."""
        sql = (
            "SELECT previews.id, events.created, events.step, events.message FROM previews"
            " JOIN events ON events.id = event_id WHERE previews.run_id = ? ORDER BY previews.id DESC LIMIT ?"
        )
        return [AlarmRow(**row) for row in self._rows(sql, run_id, limit)]

    def comparisons(self, run_id: int | None = None) -> list[ComparisonRow]:
        """Comparisons of one run or of all, newest first, awaited ones too."""
        sql = "SELECT * FROM comparisons WHERE ?1 IS NULL OR run_id = ?1 ORDER BY id DESC"
        return [decoding.comparison_row(row) for row in self._rows(sql, run_id)]

    def comparison(self, comparison_id: int) -> ComparisonRow | None:
        """One comparison; None where it never was or went with its run."""
        rows = self._rows("SELECT * FROM comparisons WHERE id = ?", comparison_id)
        return next(map(decoding.comparison_row, rows), None)

    def trials(self) -> list[TrialRow]:
        """Rewards that were tried, newest first."""
        return [decoding.trial_row(row) for row in self._rows("SELECT * FROM trials ORDER BY id DESC")]

    def trial_pictures(self, trial_id: int) -> list[TrialPictureRow]:
        """The pictures of a trial, in their order."""
        sql = "SELECT place, sha, reward, terms, details FROM trial_pictures WHERE trial_id = ? ORDER BY place"
        return [decoding.trial_picture_row(row) for row in self._rows(sql, trial_id)]

    def races(self) -> list[RaceRow]:
        """All races, newest first."""
        sql = "SELECT id, name, created, ended, plan FROM races ORDER BY id DESC"
        return [decoding.race_row(row) for row in self._rows(sql)]

    def race_runs(self, race_id: int) -> list[RaceRunRow]:
        """The runs of a race in the order they began, each with its examinations and what they had cost."""
        of_race = "FROM race_runs JOIN runs ON runs.id = race_runs.run_id WHERE race_id = ?"
        with self._reading() as db:
            entered = _fetch(
                db,
                "SELECT run_id, entrant, learning_rate, seed, is_tuning, runs.state, runs.message"
                f" {of_race} ORDER BY race_runs.id",
                race_id,
            )
            points = {row["run_id"]: _fetch(db, _RACE_POINTS, row["run_id"]) for row in entered}
        return [
            decoding.race_run_row(row, [decoding.race_point(point) for point in points[row["run_id"]]])
            for row in entered
        ]

    def labels_of_step(self, run_id: int, step: int) -> list[LabelRow]:
        """Everyone's newest labels of a step's groups as they are now; skips say nothing and are left out."""
        of_step = f"AND tasks.id IN ({label_questions.NEWEST_OF_STEP}) ORDER BY heads.id"
        return [decoding.label_row(row) for row in self._rows(label_questions.LABELS + of_step, run_id, step)]

    def lost_of_step(self, run_id: int, step: int) -> dict[int, list[bool]]:
        """Of a step's groups as they are now, by index, those that lost a picture: whether each of theirs is gone."""
        rows = self._rows(label_questions.LOST_OF_STEP, run_id, step)
        return {row["group_index"]: [bool(one) for one in json.loads(row["lost"])] for row in rows}

    def labels_of_run(self, run_id: int) -> list[LabelRow]:
        """Everyone's newest labels of all groups of a run in the order they were given, without skips."""
        of_run = "AND tasks.run_id = ? ORDER BY heads.id"
        return [decoding.label_row(row) for row in self._rows(label_questions.LABELS + of_run, run_id)]

    def labelled_runs(self) -> list[tuple[int, ...]]:
        """Runs with labels, newest first: id, then numbers that change with labels, agreements and what is learned."""
        return [tuple(row.values()) for row in self._rows(opinions.LABELLED_RUNS)]

    def preferences(self, run_id: int) -> list[PreferenceRow]:
        """The versions of a run's preference model, oldest first."""
        return [decoding.preference_row(row) for row in self._rows(opinions.PREFERENCES, run_id)]

    def raters(self, run_id: int) -> list[RaterRow]:
        """Everyone who labelled groups of a run, by name."""
        return [RaterRow(**row) for row in self._rows(opinions.RATERS, run_id)]

    def agreements(self, run_id: int, *, by: str = "rater") -> list[AgreementRow]:
        """Mean agreement of each rater, or by "prompt" of all raters on each prompt, with each other opinion."""
        return [AgreementRow(**row) for row in self._rows(opinions.AGREEMENTS[by], run_id)]

    def labelled_steps(self, limit: int = 200) -> list[tuple[int, int]]:
        """(run, step) of the newest steps that had labels to learn from, newest first."""
        rows = self._rows(label_questions.LABELLED_STEPS, limit)
        return [(row["run_id"], row["step"]) for row in rows]

    def label_task(self, task_id: int) -> LabelTaskRow | None:
        """One group that people judge; None where it never was or went with its run."""
        with self._reading() as db:
            rows = _fetch(db, label_questions.TASK, task_id)
            samples = _fetch(db, "SELECT sha FROM label_samples WHERE task_id = ? ORDER BY member", task_id)
        return next((decoding.label_task_row(row, [one["sha"] for one in samples]) for row in rows), None)

    def label_tasks(self, run_id: int) -> list[LabelTaskRow]:
        """The groups of a run that people judge or judged, in order, each once; of those posted again, the newest."""
        tasks = [self.label_task(row["id"]) for row in self._rows(label_questions.NEWEST_OF_RUN, run_id)]
        return [task for task in tasks if task is not None]

    def label_after(self, rater: str, task_id: int) -> int | None:
        """The group that this person will most likely judge after another one, for whoever gets its pictures ready."""
        rows = self._rows_named(CANDIDATES, {"rater": rater, "now": now()})
        return next((row["id"] for row in rows if row["id"] != task_id), None)

    def label_of(self, task_id: int, rater: str) -> LabelRow | None:
        """What a person says of a group now; None where that is nothing."""
        rows = self._rows(f"{label_questions.LABELS} AND tasks.id = ? AND heads.rater = ?", task_id, rater)
        return next(map(decoding.label_row, rows), None)

    def labelled_beside(self, rater: str, task_id: int | None, *, is_later: bool) -> int | None:
        """The group that this person labelled before (is_later: after) another one, by when they first did.

        From None, or from a group without a label of theirs, the way leads back to the last one, and nowhere later.
        A group that is asked again just now is passed over: who looks up what they said does not judge anew.
        """
        rows = self._rows(label_questions.LABELLED_IN_ORDER, rater)
        tasks = [row["task_id"] for row in rows]
        at = tasks.index(task_id) if task_id in tasks else len(tasks)
        way = rows[at + 1 :] if is_later else rows[:at][::-1]
        return next((row["task_id"] for row in way if not row["is_asked_again"]), None)

    def label_progress(self, rater: str) -> LabelProgress:
        """Open groups, those with a label, those with one of this person, and their usual time for one.

        The usual time is the median of their newest labels, so that a pause for coffee does not count. A group asked
        again counts for whoever judged it the first time, and for nobody else.
        """
        with self._reading() as db:
            [counts] = db.query(label_questions.PROGRESS, {"rater": rater})
            seconds = _fetch(db, label_questions.PACE, rater)
        pace = median(row["seconds"] for row in seconds) if seconds else None
        return LabelProgress(**{name: int(count) for name, count in counts.items()}, seconds_per_label=pace)

    def checkpoints(self, run_id: int) -> list[CheckpointRow]:
        """The checkpoints of a run that are on disk, oldest first."""
        sql = "SELECT step, folder, num_bytes, created FROM checkpoints WHERE run_id = ? ORDER BY step"
        return [decoding.checkpoint_row(row) for row in self._rows(sql, run_id)]

    def diary(self, run_id: int, after: int = 0, limit: int = 500, *, newest: bool = False) -> list[EventRow]:
        """The first `limit` lines of a run's diary whose id is beyond `after` (newest: the last ones), oldest first."""
        order = "DESC" if newest else "ASC"
        sql = (
            "SELECT id, created, step, kind, message FROM events WHERE run_id = ? AND id > ?"
            f" ORDER BY id {order} LIMIT ?"
        )
        rows = [decoding.event_row(row) for row in self._rows(sql, run_id, after, limit)]
        return rows[::-1] if newest else rows

    def latest_diary_line(self) -> int | None:
        """The id of the newest line in any run's diary; None before the first."""
        return self._rows("SELECT max(id) AS id FROM events")[0]["id"]

    def commands_after(self, run_id: int, last_id: int) -> list[tuple[int, Command]]:
        """Ids and commands beyond last_id that have not been carried out, oldest first."""
        sql = "SELECT id, kind, body FROM commands WHERE run_id = ? AND id > ? AND finished IS NULL ORDER BY id"
        rows = self._rows(sql, run_id, last_id)
        return [(row["id"], command_from_row(row["kind"], row["body"])) for row in rows]

    def picture(self, sha: str) -> bytes | None:
        """The PNG whose SHA-256 in hexadecimal is sha."""
        return next((row["png"] for row in self._rows("SELECT png FROM pictures WHERE sha = ?", sha)), None)

    def lost_pictures(self, shas: Collection[str]) -> set[str]:
        """Those of these SHA-256 whose PNG is not in the store."""
        sql = "SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM pictures WHERE sha = value)"
        return {row["value"] for row in self._rows(sql, json.dumps(list(shas)))}

    def small_pictures(self, shas: Collection[str], at_most: int) -> dict[str, bytes]:
        """The PNGs of at most so many bytes among these, by their SHA-256."""
        sql = "SELECT sha, png FROM pictures WHERE sha IN (SELECT value FROM json_each(?)) AND length(png) <= ?"
        return {row["sha"]: row["png"] for row in self._rows(sql, json.dumps(list(shas)), at_most)}

    def close(self) -> None:
        """Lets go of the file until the next question."""
        with self._lock:
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()

    def _rows(self, sql: str, *values: Any) -> list[decoding.Row]:
        with self._reading() as db:
            return _fetch(db, sql, *values)

    def _rows_named(self, sql: str, values: dict[str, Any]) -> list[decoding.Row]:
        with self._reading() as db:
            return list(db.query(sql, values))

    @contextmanager
    def _reading(self) -> Iterator[Database]:
        """A connection of its own for the time being; all that is read through it is of one moment."""
        with translated(self._path):
            file = file_identity(self._path)
            db = self._borrowed(file)
            try:
                db.execute("BEGIN")
                yield db
            finally:
                db.rollback()
                self._give_back(db, file)

    def _borrowed(self, file: FileIdentity) -> Database:
        if file != self._file:  # set aside and begun anew, or moved
            self.close()
            self._file = file
        with self._lock:
            idle = self._idle.pop() if self._idle else None
        return idle or self._opener(self._path)

    def _give_back(self, db: Database, file: FileIdentity) -> None:
        with self._lock:
            if file == self._file and len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append(db)
                return
        db.close()


def _fetch(db: Database, sql: str, *values: Any) -> list[decoding.Row]:
    return list(db.query(sql, values))


def _evenly_spaced(count: int, limit: int) -> list[int]:
    """At most `limit` ranks below count, the first and the last among them."""
    if count <= limit:
        return list(range(count))
    if limit == 1:
        return [count - 1]
    return [i * (count - 1) // (limit - 1) for i in range(limit)]
