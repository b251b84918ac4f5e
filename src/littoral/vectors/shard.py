"""The one door to Qdrant Edge."""
