"""Functions that an agent may import where it is granted them, as tables: name and type of each.

`wasi_ephemeral_nn` is wasi-nn's witx interface, phase 2, as Wasmtime has it; `wasi_snapshot_preview1` WASI preview 1.
"""

__all__ = ["NEURAL", "NEURAL_FUNCTIONS", "WASI", "WASI_FUNCTIONS"]

NEURAL = "wasi_ephemeral_nn"
WASI = "wasi_snapshot_preview1"


def _typed(letters: str) -> str:
    """`pq` is `(i32, i64) -> i32`: p and q for i32 and i64 arguments, behind `!` no result."""
    params = ", ".join("i64" if letter == "q" else "i32" for letter in letters.strip("!"))
    return f"({params}) -> {'()' if letters.endswith('!') else 'i32'}"


NEURAL_FUNCTIONS = {
    "load": _typed("ppppp"),
    "load_by_name": _typed("ppp"),
    "init_execution_context": _typed("pp"),
    "set_input": _typed("ppp"),
    "compute": _typed("p"),
    "get_output": _typed("ppppp"),
}

WASI_FUNCTIONS = {
    "args_get": _typed("pp"),
    "args_sizes_get": _typed("pp"),
    "clock_res_get": _typed("pp"),
    "clock_time_get": _typed("pqp"),
    "environ_get": _typed("pp"),
    "environ_sizes_get": _typed("pp"),
    "fd_advise": _typed("pqqp"),
    "fd_allocate": _typed("pqq"),
    "fd_close": _typed("p"),
    "fd_datasync": _typed("p"),
    "fd_fdstat_get": _typed("pp"),
    "fd_fdstat_set_flags": _typed("pp"),
    "fd_fdstat_set_rights": _typed("pqq"),
    "fd_filestat_get": _typed("pp"),
    "fd_filestat_set_size": _typed("pq"),
    "fd_filestat_set_times": _typed("pqqp"),
    "fd_pread": _typed("pppqp"),
    "fd_prestat_dir_name": _typed("ppp"),
    "fd_prestat_get": _typed("pp"),
    "fd_pwrite": _typed("pppqp"),
    "fd_read": _typed("pppp"),
    "fd_readdir": _typed("pppqp"),
    "fd_renumber": _typed("pp"),
    "fd_seek": _typed("pqpp"),
    "fd_sync": _typed("p"),
    "fd_tell": _typed("pp"),
    "fd_write": _typed("pppp"),
    "path_create_directory": _typed("ppp"),
    "path_filestat_get": _typed("ppppp"),
    "path_filestat_set_times": _typed("ppppqqp"),
    "path_link": _typed("ppppppp"),
    "path_open": _typed("pppppqqpp"),
    "path_readlink": _typed("pppppp"),
    "path_remove_directory": _typed("ppp"),
    "path_rename": _typed("pppppp"),
    "path_symlink": _typed("ppppp"),
    "path_unlink_file": _typed("ppp"),
    "poll_oneoff": _typed("pppp"),
    "proc_exit": _typed("p!"),
    "proc_raise": _typed("p"),
    "random_get": _typed("pp"),
    "sched_yield": _typed(""),
    "sock_accept": _typed("ppp"),
    "sock_recv": _typed("pppppp"),
    "sock_send": _typed("ppppp"),
    "sock_shutdown": _typed("pp"),
}
