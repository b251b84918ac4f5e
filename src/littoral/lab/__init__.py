"""Several nodes on one Linux machine, with a wide-area network between them that can be cut."""
