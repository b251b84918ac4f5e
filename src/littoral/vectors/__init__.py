"""Collections of vectors: each shard is a process of its own, and `shard.py` is the door to the store in it."""
