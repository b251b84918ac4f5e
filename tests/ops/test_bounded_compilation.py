"""A small file cannot make the compiler take long or fill the memory, in a process of its own that is measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

from needs import need

CPU_S_MAX = 10
RESIDENT_BYTES_MAX = 1 << 30
CHILD = """
import json, resource, sys
from pathlib import Path
from hostile_models import BOMBS
from littoral.compiler.driver import compile_model
from littoral.errors import LittoralError

# getrusage's maximum would be the parent's where that was larger: Linux keeps it over exec.
def resident_bytes_max():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))

resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
for name, make in BOMBS.items():
    data = make()
    before = resource.getrusage(resource.RUSAGE_SELF)
    try:
        outcome = f"{len(compile_model(data).wasm)} bytes"
    except LittoralError as error:
        outcome = f"{type(error).__name__}: {error}"
    except BaseException as error:
        outcome = f"crash: {error!r}"
    after = resource.getrusage(resource.RUSAGE_SELF)
    took_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps([name, round(took_s, 2), resident_bytes_max(), outcome[:200]]), flush=True)
"""


def test_what_asks_for_much_costs_little() -> None:
    need(sys.platform == "linux", "Linux, to measure memory")
    tests = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": tests}
    done = subprocess.run([sys.executable, "-c", CHILD], env=environment, capture_output=True, text=True, timeout=280)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    wrong = [row for row in rows if row[1] > CPU_S_MAX or row[2] > RESIDENT_BYTES_MAX or row[3].startswith("crash")]
    assert wrong[:3] == []
    assert (done.returncode, done.stderr) == (0, "")
