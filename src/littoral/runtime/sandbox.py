"""Guests in their box: limits, deadlines, trap codes."""
