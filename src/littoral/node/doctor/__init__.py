"""What may be wrong with a node and its machine, as far as it can be seen without starting it."""
