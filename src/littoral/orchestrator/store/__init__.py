"""What an orchestrator must not forget, in SQLite beside it, or in PostgreSQL."""

from littoral.orchestrator.store.interface import Add, Change, Delete, Put, Store, Trim

__all__ = ["Add", "Change", "Delete", "Put", "Store", "Trim"]
