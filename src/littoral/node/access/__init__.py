"""Who may ask a node for what: its roles, and what each route needs."""
