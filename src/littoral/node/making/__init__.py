"""Models made on the node of files that somebody brings (`littoral.making`), and put in their place."""
