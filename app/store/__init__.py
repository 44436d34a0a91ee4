"""Everything that happened, in one SQLite file: events become rows, rows become read models."""
