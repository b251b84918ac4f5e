"""The node's side: what it is told is verified, or refused with its reason."""
