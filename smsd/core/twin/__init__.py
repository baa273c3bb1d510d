"""The store in pure Python: one shard in memory, with the verbs and the words of smsd.store.shard.Shard.

For reading, since the scheduler is here without keys and encodings; and for simulations and what-if runs. Never does
IO, never reads a clock: `now_us` is set by the caller. tests/store/test_differential.py holds it against the scripts.
"""
