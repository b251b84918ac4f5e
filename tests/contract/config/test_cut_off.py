"""A site file is replaced by a process that dies at each of its steps: what is there is whole, old or new."""

import subprocess
import sys
from pathlib import Path

OLD, NEW = b"[node]\nname = 'old'\n", b"[node]\nname = 'new'\n"

DIES_AT = """
import os, signal, sys
from pathlib import Path
from littoral.node.config.texts import replace_text

STEPS = {"open", "os.rename", "os.chmod", "os.truncate"}  # audit events of what changes a disk
file, new, count = Path(sys.argv[1]), sys.argv[2].encode(), 0
outcomes = set()
for last in range(1, 1000):
    file.write_bytes(sys.argv[3].encode())
    child = os.fork()
    if child == 0:
        def at_each_step(event, arguments):
            global count
            if event in STEPS:
                count += 1
                if count == last:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(at_each_step)
        replace_text(file, new)
        os._exit(0)
    is_dead = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    print(last, is_dead, repr(file.read_text()))
    if not is_dead:
        break
"""


def test_a_site_file_is_whole_whenever_its_writer_dies(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    done = subprocess.run(
        [sys.executable, "-P", "-c", DIES_AT, file, NEW.decode(), OLD.decode()], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    *cut_off, (_, is_dead, text) = [line.split(" ", 2) for line in done.stdout.splitlines()]
    assert (is_dead, text) == ("False", repr(NEW.decode()))
    assert len(cut_off) > 6
    assert {text for _, _, text in cut_off} == {repr(OLD.decode()), repr(NEW.decode())}
