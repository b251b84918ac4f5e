"""Steps that the host computes itself on arrays: one file for each family, what they can be told in `options`."""
