"""`/api/fleet/…`: what operators ask, a file for each of the things they ask about."""
