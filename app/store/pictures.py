"""Pictures in the store: each different one once, for as long as a row shows it."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from sqlite_utils import Database


def keep_pictures(db: Database, pngs: Iterable[bytes]) -> None:
    """Takes PNGs in; those that are there already stay."""
    rows = [(sha256(png).hexdigest(), png) for png in pngs]
    db.conn.executemany("INSERT INTO pictures (sha, png) VALUES (?, ?) ON CONFLICT (sha) DO NOTHING", rows)


def drop_orphaned_pictures(db: Database) -> None:
    """Deletes the pictures that no row shows any more."""
    db.execute(
        "DELETE FROM pictures WHERE NOT EXISTS (SELECT 1 FROM samples WHERE samples.sha = pictures.sha)"
        " AND NOT EXISTS (SELECT 1 FROM examined WHERE examined.sha = pictures.sha)"
        " AND NOT EXISTS (SELECT 1 FROM trial_pictures WHERE trial_pictures.sha = pictures.sha)"
        " AND NOT EXISTS (SELECT 1 FROM label_samples WHERE label_samples.sha = pictures.sha)"
    )
