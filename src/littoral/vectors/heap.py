"""Memory that the C library keeps of what was freed."""

__all__ = ["give_back"]


def give_back() -> None:
    """To the system, where the C library can (glibc): an exchanged store leaves holes in every thread's heap."""
    import ctypes  # a shard host that never exchanges a store has no need of it

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
