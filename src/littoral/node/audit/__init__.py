"""The audit log of a node: what its parts tell it, who witnesses it, and how it is read."""
