"""Models made on the node: files that somebody brings become versions, in processes beside it."""
