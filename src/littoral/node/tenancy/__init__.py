"""Tenants of a node: each has collections, caches, tokens and quotas of its own, and sees nothing else."""
