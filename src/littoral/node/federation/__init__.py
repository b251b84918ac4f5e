"""A collection that lies on several nodes, and looks like one that does not."""
