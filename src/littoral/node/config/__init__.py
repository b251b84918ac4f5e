"""A site file that changes: what differs, what that needs, and how a running node takes it or keeps the one before."""
