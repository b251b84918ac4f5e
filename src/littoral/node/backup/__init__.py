"""Backups: what a node sends of itself, the folder that keeps it, and the way back."""
