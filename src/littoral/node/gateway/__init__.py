"""The gateway as a part of the node: what it tells, and who may ask."""
