"""The page: reads the store, sends commands, holds no run state and never loads torch."""
