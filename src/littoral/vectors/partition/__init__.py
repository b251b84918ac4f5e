"""Which shard a point lies in, and which node a shard lies on. Pure: no I/O, no clock; the same in, the same out."""
