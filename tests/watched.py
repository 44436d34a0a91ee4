"""A writing connection that tells a listener every statement just before it runs."""

from sqlite_utils.utils import sqlite3

from app.store.database import open_for_writing


class WatchedConnection:
    """The driver's connection, with a listener in front; rolling back is never told."""

    def __init__(self, conn, listener):
        self._conn = conn
        self._listener = listener

    def __getattr__(self, name):
        return getattr(self._conn, name)

    def execute(self, sql, *values):
        if sql != "ROLLBACK":
            self._listener(sql)
        return self._conn.execute(sql, *values)

    def executemany(self, sql, rows):
        self._listener(sql)
        return self._conn.executemany(sql, rows)


def watched_by(listener, **options):
    """An opener for Writer."""

    def opener(path):
        db = open_for_writing(path, **options)
        db.conn = WatchedConnection(db.conn, listener)
        return db

    return opener


class Disk:
    """Fails every statement from the nth on, or those that begin so, until it is healed."""

    def __init__(self):
        self.heal()

    def break_after(self, num_statements):
        self.left = num_statements

    def break_at(self, beginning):
        self.beginning = beginning

    def heal(self):
        self.left = self.beginning = None

    def __call__(self, sql):
        if self.left == 0 or (self.beginning is not None and sql.startswith(self.beginning)):
            raise sqlite3.OperationalError("disk I/O error")
        if self.left is not None:
            self.left -= 1
