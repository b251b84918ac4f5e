"""Cold start: from `load(path)` to a session that is ready, for a model with 19 MB of weights.

`known file` is the figure to reach: its digest was verified at install (it was hashed once), machine code is cached.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.guests import model_of
from bench.rows import Row, median_ms, row
from littoral import settings

WEIGHTS_BYTES = 19_000_000
REPEATS = 30
PROCESSES = 5
LIMIT_MS = 10.0

IN_A_NEW_PROCESS = """
import time
began = time.perf_counter()
import littoral
littoral.load
imported = time.perf_counter()
import sys
session = littoral.load(sys.argv[1])
loaded = time.perf_counter()
session.run({"x": [1, 2, 3, 4]})
ran = time.perf_counter()
assert session.is_cached and session.engine == "trusted"
print(imported - began, loaded - imported, ran - loaded)
"""


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        here = {"LITTORAL_CACHE": f"{folder}/cache", "LITTORAL_STATE": f"{folder}/state"}
        with settings.override(**here):
            return _measure(Path(folder), here)


def _measure(folder: Path, here: dict[str, str]) -> list[Row]:
    import littoral

    wasm = model_of(WEIGHTS_BYTES)
    path = folder / "weights.wasm"
    path.write_bytes(wasm)
    began = time.perf_counter()
    littoral.load(path).close()
    compile_ms = (time.perf_counter() - began) * 1000
    time.sleep(0.1)  # a file is believed to be unchanged once its last change is more than a tick of the clock ago
    hash_ms = median_ms(lambda: littoral.load(path).close(), repeats=1, warm_up=0)

    ready, first = [], []
    for _ in range(REPEATS):
        began = time.perf_counter()
        session = littoral.load(path)
        ready.append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        session.run({"x": [1, 2, 3, 4]})
        first.append((time.perf_counter() - began) * 1000)
        assert session.is_cached
        session.close()
    model = littoral.Model(wasm)
    model_ms = median_ms(lambda: littoral.load(model).close(), repeats=REPEATS)
    bytes_ms = median_ms(lambda: littoral.load(wasm).close(), repeats=5)
    processes = [_new_process(path, here) for _ in range(PROCESSES)]
    import_ms, process_ms, process_run_ms = (statistics.median(column) for column in zip(*processes, strict=True))
    return [
        row("known file", statistics.median(ready), "ms", limit=LIMIT_MS),
        row("known file, slowest", max(ready), "ms"),
        row("first run after it", statistics.median(first), "ms"),
        row("same Model object", model_ms, "ms"),
        row("bytes (hashed each time)", bytes_ms, "ms"),
        row("changed file (hashed)", hash_ms, "ms"),
        row("never seen (hashed, compiled)", compile_ms, "ms"),
        row("new process: import", import_ms, "ms"),
        row("new process: first load", process_ms, "ms", limit=LIMIT_MS),
        row("new process: first run", process_run_ms, "ms"),
    ]


def _new_process(path: Path, here: dict[str, str]) -> list[float]:
    ended = subprocess.run(
        [sys.executable, "-c", IN_A_NEW_PROCESS, str(path)], env=here, capture_output=True, text=True, check=True
    )
    return [float(seconds) * 1000 for seconds in ended.stdout.split()]
