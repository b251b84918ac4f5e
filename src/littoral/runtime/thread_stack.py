"""The size of a thread's stack, asked from the C library.

A guest's stack overflow is a trap only while its own limit (`engine.STACK_BYTES_MAX`) is met before the end of the
thread's stack; past that end the process dies. So guests are refused on threads with less than `STACK_BYTES_MIN`.
"""

import ctypes
import threading
from collections.abc import Iterable

from littoral.errors import SetupError

__all__ = ["STACK_BYTES_MIN", "holds_guests", "require_stack", "stack_bytes", "start_threads"]

STACK_BYTES_MIN = 1 << 20
STACK_BYTES = 2 << 20  # of the threads made here
PTHREAD_ATTR_BYTES = 256  # more than any C library's `pthread_attr_t`

_checked = threading.local()
_starting = threading.Lock()


def start_threads(threads: Iterable[threading.Thread]) -> None:
    """Starts threads with stacks on which guests may run."""
    with _starting:  # the size is the process's, and is read by `start`
        before = threading.stack_size(STACK_BYTES)
        try:
            for thread in threads:
                thread.start()
        finally:
            threading.stack_size(before)


def holds_guests() -> bool:
    """Whether the calling thread's stack is large enough to run guests. Asks once per thread."""
    found: bool | None = getattr(_checked, "is_large_enough", None)
    if found is None:
        found = _checked.is_large_enough = stack_bytes() >= STACK_BYTES_MIN
    return found


def require_stack() -> None:
    """Raises SetupError on a thread whose stack is too small to run guests."""
    if not holds_guests():
        raise SetupError(
            f"thread `{threading.current_thread().name}` has a stack of {stack_bytes()} bytes, guests need"
            f" {STACK_BYTES_MIN}",
            hint="call `threading.stack_size(1 << 21)` before starting the thread, or use a pool",
        )


def stack_bytes() -> int:
    """Size of the calling thread's stack in bytes."""
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = ctypes.create_string_buffer(PTHREAD_ATTR_BYTES)
    libc.pthread_self.restype = ctypes.c_void_p
    if error := libc.pthread_getattr_np(ctypes.c_void_p(libc.pthread_self()), attributes):
        raise SetupError(f"the C library cannot tell this thread's stack size: error {error}")
    try:
        size = ctypes.c_size_t()
        libc.pthread_attr_getstacksize(attributes, ctypes.byref(size))
    finally:
        libc.pthread_attr_destroy(attributes)
    return size.value
