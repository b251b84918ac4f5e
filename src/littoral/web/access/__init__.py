"""Who may ask for what: tokens, roles, sessions of pages, and where a server may listen without them."""
