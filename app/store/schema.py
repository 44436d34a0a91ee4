"""The tables of the lab's database, as numbered migrations that are never edited once released.

Ids are AUTOINCREMENT, so an id that a page or a person remembers never comes to mean something else.
Seeds are text, since SQLite's own whole numbers stop at 63 bits.
"""

from __future__ import annotations

from uuid import uuid4

from sqlite_utils import Database, Migrations

APPLICATION_ID = 0x4447504F  # "DGPO", in the header of the file; tells our databases from others

MIGRATIONS = Migrations("dgpo_lab")

_RUNS = """
CREATE TABLE lab (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    uuid TEXT NOT NULL,
    changes INTEGER NOT NULL
) STRICT;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    created TEXT NOT NULL,
    ended TEXT,
    config TEXT NOT NULL,
    notes TEXT NOT NULL DEFAULT '',
    num_steps INTEGER NOT NULL,
    phase TEXT NOT NULL DEFAULT '',
    phase_done INTEGER NOT NULL DEFAULT 0,
    phase_total INTEGER NOT NULL DEFAULT 0,
    message TEXT NOT NULL DEFAULT '',
    details TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    created TEXT NOT NULL,
    step INTEGER NOT NULL,
    kind TEXT NOT NULL,
    message TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_run ON events(run_id, id);
CREATE TABLE commands (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    created TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    finished TEXT
) STRICT;
CREATE INDEX commands_by_run ON commands(run_id, id);
CREATE TABLE checkpoints (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    folder TEXT NOT NULL,
    num_bytes INTEGER NOT NULL,
    created TEXT NOT NULL,
    UNIQUE (run_id, step)
) STRICT;
"""

_STEPS = """
CREATE TABLE pictures (
    sha TEXT PRIMARY KEY,
    png BLOB NOT NULL
) STRICT;
CREATE TABLE steps (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    reward_mean REAL,
    reward_std REAL,
    preference_fraction REAL,
    gate REAL,
    clipped_fraction REAL,
    kl REAL,
    velocity_error REAL,
    grad_norm REAL,
    sampling_seconds REAL,
    decoding_seconds REAL,
    scoring_seconds REAL,
    updating_seconds REAL,
    other_seconds REAL,
    step_seconds REAL,
    UNIQUE (run_id, step)
) STRICT;
CREATE TABLE groups (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    step_id INTEGER NOT NULL REFERENCES steps(id) ON DELETE CASCADE,
    group_index INTEGER NOT NULL,
    prompt TEXT NOT NULL,
    reward_mean REAL,
    reward_std REAL,
    gate REAL,
    has_preference INTEGER NOT NULL,
    UNIQUE (step_id, group_index)
) STRICT;
CREATE TABLE samples (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id INTEGER NOT NULL REFERENCES groups(id) ON DELETE CASCADE,
    member INTEGER NOT NULL,
    seed TEXT NOT NULL,
    sha TEXT NOT NULL REFERENCES pictures(sha),
    reward REAL,
    terms TEXT NOT NULL,
    advantage REAL,
    UNIQUE (group_id, member)
) STRICT;
CREATE INDEX samples_by_picture ON samples(sha);
"""

_EXAMINED = """
CREATE TABLE evaluations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    created TEXT NOT NULL,
    step INTEGER NOT NULL,
    policy TEXT NOT NULL,
    score REAL,
    quality TEXT NOT NULL,
    UNIQUE (run_id, step, policy)
) STRICT;
CREATE TABLE comparisons (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    created TEXT NOT NULL,
    step INTEGER,
    num_prompts INTEGER NOT NULL,
    seed TEXT NOT NULL,
    is_done INTEGER NOT NULL DEFAULT 0,
    message TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX comparisons_by_run ON comparisons(run_id);
CREATE TABLE previews (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    created TEXT NOT NULL,
    step INTEGER NOT NULL
) STRICT;
CREATE INDEX previews_by_run ON previews(run_id);
CREATE TABLE examined (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('evaluation', 'comparison', 'preview')),
    owner_id INTEGER NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('', 'before', 'after')),
    prompt TEXT NOT NULL,
    category TEXT NOT NULL,
    seed TEXT NOT NULL,
    score REAL,
    details TEXT NOT NULL,
    sha TEXT NOT NULL REFERENCES pictures(sha)
) STRICT;
CREATE INDEX examined_by_owner ON examined(kind, owner_id);
CREATE INDEX examined_by_run ON examined(run_id);
CREATE INDEX examined_by_picture ON examined(sha);
"""


_RACES = (
    """CREATE TABLE races (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    created TEXT NOT NULL,
    ended TEXT,
    plan TEXT NOT NULL
) STRICT""",
    """CREATE TABLE race_runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    race_id INTEGER NOT NULL REFERENCES races(id) ON DELETE CASCADE,
    run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    entrant TEXT NOT NULL,
    learning_rate REAL NOT NULL,
    seed INTEGER NOT NULL,
    is_tuning INTEGER NOT NULL,
    UNIQUE (race_id, entrant, learning_rate, seed, is_tuning)
) STRICT""",
    "CREATE INDEX race_runs_by_run ON race_runs(run_id)",
    "ALTER TABLE steps ADD COLUMN network_evaluations REAL",
)

_LABELS = (
    """CREATE TABLE label_tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    group_index INTEGER NOT NULL,
    prompt TEXT NOT NULL,
    created TEXT NOT NULL,
    closed TEXT
) STRICT""",
    "CREATE INDEX label_tasks_by_place ON label_tasks(run_id, step, group_index)",
    """CREATE TABLE label_samples (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id INTEGER NOT NULL REFERENCES label_tasks(id) ON DELETE CASCADE,
    member INTEGER NOT NULL,
    sha TEXT NOT NULL REFERENCES pictures(sha),
    UNIQUE (task_id, member)
) STRICT""",
    "CREATE INDEX label_samples_by_picture ON label_samples(sha)",
    """CREATE TABLE labels (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id INTEGER NOT NULL REFERENCES label_tasks(id) ON DELETE CASCADE,
    rater TEXT NOT NULL,
    created TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    seconds REAL NOT NULL,
    request TEXT NOT NULL UNIQUE,
    replaces INTEGER REFERENCES labels(id) ON DELETE CASCADE
) STRICT""",
    "CREATE UNIQUE INDEX labels_first ON labels(task_id, rater) WHERE replaces IS NULL",
    "CREATE UNIQUE INDEX labels_replaced ON labels(replaces) WHERE replaces IS NOT NULL",
    "CREATE INDEX labels_by_task ON labels(task_id)",
    "CREATE INDEX labels_replacing ON labels(replaces)",
    """CREATE TABLE leases (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id INTEGER NOT NULL UNIQUE REFERENCES label_tasks(id) ON DELETE CASCADE,
    rater TEXT NOT NULL UNIQUE,
    expires TEXT NOT NULL
) STRICT""",
)

_UNDONE_LABELS = (
    "ALTER TABLE labels ADD COLUMN undoes INTEGER REFERENCES labels(id) ON DELETE CASCADE",
    "CREATE INDEX labels_undone ON labels(undoes)",
    "CREATE INDEX labels_by_person ON labels(rater, task_id)",
)

_TRIALS = (
    """CREATE TABLE trials (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    created TEXT NOT NULL,
    reward TEXT NOT NULL,
    prompt TEXT NOT NULL,
    run_id INTEGER REFERENCES runs(id) ON DELETE CASCADE,
    step INTEGER,
    group_index INTEGER,
    is_done INTEGER NOT NULL DEFAULT 0,
    message TEXT NOT NULL DEFAULT '',
    passed INTEGER,
    self_test TEXT NOT NULL DEFAULT '',
    agreement REAL
) STRICT""",
    "CREATE INDEX trials_by_run ON trials(run_id)",
    """CREATE TABLE trial_pictures (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    trial_id INTEGER NOT NULL REFERENCES trials(id) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    sha TEXT NOT NULL REFERENCES pictures(sha),
    reward REAL,
    terms TEXT NOT NULL DEFAULT '[]',
    details TEXT NOT NULL DEFAULT '',
    UNIQUE (trial_id, place)
) STRICT""",
    "CREATE INDEX trial_pictures_by_picture ON trial_pictures(sha)",
)

_PREFERENCES = (
    "ALTER TABLE label_tasks ADD COLUMN repeat_of INTEGER REFERENCES label_tasks(id) ON DELETE CASCADE",
    "CREATE INDEX label_tasks_by_repeat ON label_tasks(repeat_of)",
    "ALTER TABLE label_samples ADD COLUMN place INTEGER",
    """CREATE TABLE preferences (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    created TEXT NOT NULL,
    step INTEGER NOT NULL,
    folder TEXT NOT NULL,
    num_groups INTEGER NOT NULL,
    num_labels INTEGER NOT NULL,
    accuracy REAL,
    calibration_error REAL,
    bins TEXT NOT NULL,
    UNIQUE (run_id, version)
) STRICT""",
    """CREATE TABLE agreements (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    label_id INTEGER NOT NULL REFERENCES labels(id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('self', 'person', 'reward')),
    other TEXT NOT NULL,
    tau REAL NOT NULL,
    UNIQUE (label_id, kind, other)
) STRICT""",
)

_ALARMS = (
    "ALTER TABLE previews ADD COLUMN event_id INTEGER REFERENCES events(id) ON DELETE CASCADE",
    "CREATE INDEX previews_by_event ON previews(event_id)",
)

_LABELS_STAY = """
CREATE TRIGGER labels_stay BEFORE UPDATE ON labels BEGIN
    SELECT RAISE(ABORT, 'a label is never changed; add a row that replaces it');
END
"""

_DRAWINGS = (
    "ALTER TABLE comparisons ADD COLUMN guidance_scale REAL",
    "ALTER TABLE comparisons ADD COLUMN num_sampling_steps INTEGER",
)


@MIGRATIONS()
def m001_first_tables(db: Database) -> None:
    """Runs with their steps, pictures, examinations, commands and diary."""
    db.executescript(_RUNS + _STEPS + _EXAMINED)
    db.execute("INSERT INTO lab (id, uuid, changes) VALUES (1, ?, 0)", [uuid4().hex])
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")


@MIGRATIONS()
def m002_races(db: Database) -> None:
    """Races between algorithms, and how much a step asked of the network."""
    for statement in _RACES:  # executescript would end the transaction around the migration
        db.execute(statement)


@MIGRATIONS()
def m003_labels(db: Database) -> None:
    """Groups that wait for people, and what they said."""
    for statement in _LABELS:
        db.execute(statement)


@MIGRATIONS()
def m004_undone_labels(db: Database) -> None:
    """Which revision of a label took which one back, and a person's labels at hand."""
    for statement in _UNDONE_LABELS:
        db.execute(statement)


@MIGRATIONS()
def m005_trials(db: Database) -> None:
    """Rewards tried on pictures."""
    for statement in _TRIALS:
        db.execute(statement)


@MIGRATIONS()
def m006_preferences(db: Database) -> None:
    """What is learned from labels, groups asked again, and how far people agree."""
    for statement in _PREFERENCES:
        db.execute(statement)


@MIGRATIONS()
def m007_alarms(db: Database) -> None:
    """Which line of the diary pictures among the previews belong to."""
    for statement in _ALARMS:
        db.execute(statement)


@MIGRATIONS()
def m008_labels_stay(db: Database) -> None:
    """A label's row can be added, and goes with its run, but cannot be changed."""
    db.execute(_LABELS_STAY)


@MIGRATIONS()
def m009_drawings(db: Database) -> None:
    """With what guidance and in how many steps a comparison is drawn; NULL is as its run."""
    for statement in _DRAWINGS:
        db.execute(statement)
