"""A test of CI that fails once is run again, and told; one that fails twice fails."""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FAILS = """
from pathlib import Path

def test_it(request):
    runs = Path(__file__).with_suffix(".runs")
    runs.write_text((runs.read_text() if runs.exists() else "") + "x")
    assert len(runs.read_text()) > {count}, "too early"
"""


@pytest.mark.parametrize(
    ("kind", "fails", "is_ci", "code"),
    [
        ("contract", 0, "1", 0),
        ("contract", 1, "1", 0),
        ("contract", 2, "1", 1),
        ("contract", 1, "0", 1),
        ("ops", 1, "1", 1),
    ],
)
def test_what_fails_once_is_run_again_in_ci_and_told(
    tmp_path: Path, kind: str, fails: int, is_ci: str, code: int
) -> None:
    (tmp_path / kind).mkdir()
    (tmp_path / kind / "test_one.py").write_text(FAILS.format(count=fails))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "repeated", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(TESTS), "LITTORAL_REQUIRE_ALL": is_ci},
        timeout=240,
    )
    assert done.returncode == code, done.stdout
    assert ("failed once, passed when run again" in done.stdout) == (fails == 1 and code == 0)
    assert ("too early" in done.stdout) == (fails > 0)
