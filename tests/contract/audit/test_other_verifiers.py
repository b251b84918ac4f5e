"""Logs are read by others: the verifier that shares no code with the writer, and Go's `sumdb/tlog` and `note`."""

import ast
import base64
import io
import json
import shutil
import subprocess
import sys
import tokenize
from pathlib import Path
from random import Random

import pytest

from audit_log import KEY, ORIGIN, WITNESS_KEY, entries, entry, filled
from engines.commands import go_program
from littoral.audit.disk import FolderDisk
from littoral.audit.log import WITNESSED, TreeLog
from littoral.audit.tiles import ENTRIES, Tile
from littoral.audit.tree import leaf_hash
from littoral.audit.verify import verify_log
from littoral.audit.witness import Asked, Witness, cosigned_note
from tracked import ROOT

SIZE = 3000
VERIFIER = ROOT / "tools/verify_audit.py"
GO = Path(__file__).parent / "tlog"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[TreeLog, Path]:
    folder = tmp_path_factory.mktemp("log")
    log = filled(folder, SIZE)
    note = str(log.note).encode()
    witness = Witness(FolderDisk(folder.parent / "seen"), "gateway-2", WITNESS_KEY, lambda: 7.0)
    log.cosigned(*cosigned_note(witness.add("gateway-1", log.verifier, Asked(0, [], note)), note))
    return log, folder


def run(folder: Path, *more: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, VERIFIER, folder, *more], capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout + done.stderr


def test_the_verifier_knows_nothing_of_the_writer() -> None:
    text = VERIFIER.read_text()
    assert "littoral" not in text
    assert len(lines_of_code(text)) <= 100


def lines_of_code(text: str) -> set[int]:
    """Without docstrings, comments and empty lines."""
    between = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = [one for one in tokenize.generate_tokens(io.StringIO(text).readline) if one.type not in between]
    docs = [
        one for one in ast.walk(ast.parse(text)) if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)
    ]
    told = {line for one in docs for line in range(one.lineno, (one.end_lineno or one.lineno) + 1)}
    return {line for one in tokens for line in range(one.start[0], one.end[0] + 1)} - told


def test_it_finds_a_log_right(log: tuple[TreeLog, Path]) -> None:
    tree, folder = log
    root = tree.checkpoint.root.hex()
    told = f"right: {ORIGIN}, {SIZE} entries, 0 pruned, root {root}; {SIZE} seen by 1 witnesses\n"
    assert run(folder) == (0, told)
    assert run(folder, str(tree.verifier)) == (0, told)


@pytest.mark.parametrize("seed", range(6))
def test_it_finds_what_the_other_finds(log: tuple[TreeLog, Path], tmp_path: Path, seed: int) -> None:
    folder = shutil.copytree(log[1], tmp_path / "log")
    rng = Random(seed)
    path = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    assert not verify_log(FolderDisk(folder)).is_right
    code, told = run(folder)
    assert (code, told[:7]) == (1, "WRONG: ")


def test_it_finds_a_missing_bundle_and_a_forked_log(log: tuple[TreeLog, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(log[1], tmp_path / "log")
    (folder / Tile(ENTRIES, 3).path).unlink()
    assert "bundle [3] is missing" in run(folder)[1]
    fork = TreeLog.begin(FolderDisk(tmp_path / "fork"), ORIGIN, KEY)
    fork.append([b"{}", *entries(1, SIZE)])
    for name in (WITNESSED, "witness.keys"):
        shutil.copy(log[1] / name, tmp_path / "fork" / name)
    assert "is not the beginning of this one" in run(tmp_path / "fork")[1]


def test_go_reads_the_same_tree_notes_and_proofs(log: tuple[TreeLog, Path], tmp_path: Path) -> None:
    tree, folder = log
    indexes = [0, 1, 255, 256, 2047, SIZE - 1]
    sizes = [1, 2, 255, 256, 1000, 2048, SIZE]
    asked = {
        "folder": str(folder),
        "verifier": str(tree.verifier),
        "note": str(tree.note),
        "records": [
            {"index": index, "hash": _text(leaf_hash(entry(index))), "proof": _texts(tree.inclusion(index).proof)}
            for index in indexes
        ],
        "trees": [
            {"size": size, "root": _text(tree.root_at(size)), "proof": _texts(tree.consistency(size)[0])}
            for size in sizes
        ],
    }
    pins = [GO / "go.mod", GO / "go.sum"]
    program = go_program("tlog-check", (GO / "main.go").read_text(), pins)
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    done = subprocess.run([program, tmp_path / "asked.json"], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["size"] == SIZE
    assert told["root"] == _text(tree.checkpoint.root)
    assert told["checked"] == len(indexes) + len(sizes)
    assert told["proofs"] == [record["proof"] for record in asked["records"]]
    assert told["treeProofs"] == [one["proof"] for one in asked["trees"]]


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _texts(hashes: list[bytes]) -> list[str]:
    return [_text(one) for one in hashes]
