"""Signed updates: what is valid (image repository), what a node is to run (director), and how a node gets there."""
