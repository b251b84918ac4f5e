"""Replicas of one shard: hybrid time, a log by origin, the last writer wins, digests; only `journal` touches a disk."""
