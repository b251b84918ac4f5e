"""Who may ask a node for what: tokens, roles, sessions of pages, and where a node may listen without them."""
