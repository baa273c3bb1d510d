"""The decisions of smsd, all pure: never does IO, never reads a clock; `now` and `rng` are arguments."""
