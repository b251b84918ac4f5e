"""Files of a gateway beside its collection, in the data folder of the node or tenant."""

__all__ = ["COUNTS", "GATEWAY", "IDS", "LABELLED", "MISSES", "WATCH"]

GATEWAY = "gateway"
"""Their folder."""
COUNTS, MISSES, WATCH, LABELLED = "counts.json", "near-misses", "watch.json", "labelled"
IDS = "answer-ids.key"
"""By what ids of answers are sealed where the site has no keys; of this node alone."""
