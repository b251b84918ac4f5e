"""A node as one folder or one file, with its Python packages: to copy to a machine without a network."""
