"""A spread collection gets another layout while it is read and written."""
