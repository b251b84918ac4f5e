"""Files of a gateway beside its collection, in the data folder of the node or tenant."""

__all__ = ["COUNTS", "GATEWAY", "MISSES", "WATCH"]

GATEWAY = "gateway"
"""Their folder."""
COUNTS, MISSES, WATCH = "counts.json", "near-misses", "watch.json"
