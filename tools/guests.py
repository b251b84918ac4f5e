#!/usr/bin/env python3
"""Rebuilds the Rust guests and compares them with the committed ones.

    guests.py            the guests shipped with the package
    guests.py --tests    and those that tests use
    guests.py --all      and those of the examples, one of which takes minutes
    guests.py --bless    the same, and accepts what was built: binaries, digests, toolchain

With the recorded toolchain (`guests/toolchain.toml`) the bytes must be the same. With another one the guests' tests
run on both, the committed and the built binaries, and the bytes are called not comparable.

Exit code 0: the same, or not comparable and both pass. 1: other bytes, or a test fails. 3: no toolchain.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from littoral.authoring.build import build_agent
from littoral.authoring.toolchain import TARGET, Toolchain, find_toolchain
from littoral.errors import LittoralError, SetupError

ROOT = Path(__file__).resolve().parent.parent
WORKSPACE = ROOT / "guests"
RECORD = WORKSPACE / "toolchain.toml"
BUILT = WORKSPACE / "target" / TARGET / "release"
BUILTIN = ROOT / "src/littoral/runtime/builtin"
SHIPPED = {name: BUILTIN / f"{name}.wasm" for name in ("image", "text")}
OTHERS = {name: ROOT / f"tests/guests/{name}.wasm" for name in ("probe", "neural")}
# Not of the workspace: for wasm32-wasip1.
WASI_GUESTS = ("neural",)
EXAMPLES = (ROOT / "examples/vibration/agent", ROOT / "examples/tract_agent")
TESTS = [
    "tests/ops/test_image_agent.py",
    "tests/ops/test_hostile_pictures.py",
    "tests/ops/test_text_agent.py",
    "tests/ops/test_hostile_texts.py",
    "tests/ops/test_agent_sdk.py",
    "tests/ops/test_neural_guest.py",
]


def recorded(*, wasi: bool = False) -> dict[str, str]:
    """Versions of the tools that built the committed guests; for wasm32-wasip1 the C library is one more."""
    record = tomllib.loads(RECORD.read_text()) if RECORD.exists() else {}
    found: dict[str, str] = record.get("versions", {}) | (record.get("wasi", {}) if wasi else {})
    return found


def run(toolchain: Toolchain, *arguments: str) -> None:
    environment = toolchain.environment(WORKSPACE / "target")
    done = subprocess.run([toolchain.cargo, *arguments], cwd=WORKSPACE, env=environment, check=False)
    if done.returncode:
        sys.exit(1)


def build(toolchain: Toolchain) -> None:
    """Always the whole workspace: what is built together shares the features of its crates, and so its bytes."""
    run(toolchain, "build", "--locked", "--workspace", *toolchain.build_arguments())


def build_wasi() -> dict[str, str]:
    """Those for wasm32-wasip1, each by itself; the versions of the tools. Raises SetupError."""
    versions: dict[str, str] = {}
    for name in WASI_GUESTS:
        built = build_agent(
            WORKSPACE / name,
            BUILT / f"{name}.wasm",
            wasi=True,
            locked=True,
            target_folder=WORKSPACE / "target",
            preferred=recorded(wasi=True),
        )
        versions = dict(built.compiler)
    return versions


def run_native_tests(toolchain: Toolchain) -> None:
    if shutil.which("cc") is None:
        print("guests: native tests not run: no linker `cc`")
        return
    has_rustdoc = toolchain.rustc.with_name("rustdoc").exists()
    run(toolchain, "test", "--locked", "--quiet", "--workspace", *([] if has_rustdoc else ["--lib"]))


def run_guest_tests(label: str, guests: dict[str, Path]) -> bool:
    """The tests of the guests, on these binaries."""
    with tempfile.TemporaryDirectory() as folder:
        for name, path in guests.items():
            shutil.copy(path, Path(folder) / f"{name}.wasm")
        command = [sys.executable, "-m", "pytest", "-q", *TESTS, f"--guests={folder}"]
        done = subprocess.run(command, cwd=ROOT, check=False)
    print(f"guests: tests on the {label} binaries {'pass' if done.returncode == 0 else 'FAIL'}")
    return done.returncode == 0


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "none"


def compare(names: dict[str, Path]) -> bool:
    """Whether the built binaries are the committed ones, byte for byte."""
    is_same = True
    for name, committed in names.items():
        built = BUILT / f"{name}.wasm"
        if digest(built) == digest(committed):
            print(f"guests: {name}: same bytes ({built.stat().st_size} bytes, sha256 {digest(built)})")
        else:
            is_same = False
            print(f"guests: {name}: other bytes: built {digest(built)}, committed {digest(committed)}")
    return is_same


def bless(names: dict[str, Path], versions: dict[str, str], wasi_versions: dict[str, str]) -> None:
    for name, committed in names.items():
        committed.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(BUILT / f"{name}.wasm", committed)
        print(f"guests: {name}: accepted, {committed.stat().st_size} bytes")
    digests = "\n".join(f'[{name}]\nsha256 = "{digest(path)}"' for name, path in sorted(SHIPPED.items()))
    (BUILTIN / "digests.toml").write_text(f"# Written by `tools/guests.py --bless`.\n{digests}\n")
    more = {key: value for key, value in wasi_versions.items() if key not in versions}
    rows, wasi_rows = ("\n".join(f'{key} = "{value}"' for key, value in table.items()) for table in (versions, more))
    RECORD.write_text(
        "# Written by `tools/guests.py --bless`: what built the committed guests. The same gives the same bytes.\n"
        f'target = "{TARGET}"\nfeatures = "+simd128"\n\n[versions]\n{rows}\n\n[wasi]\n{wasi_rows}\n'
    )


def judge(guests: dict[str, Path], versions: dict[str, str], wasi_versions: dict[str, str]) -> bool:
    """By their bytes where the recorded tools built them, else by the tests."""
    used = {name: wasi_versions if name in WASI_GUESTS else versions for name in guests}
    comparable = {name: path for name, path in guests.items() if used[name] == recorded(wasi=name in WASI_GUESTS)}
    is_good = compare(comparable)
    if not is_good:
        print("hint: commit the sources that belong to the binaries, or accept these by `tools/guests.py --bless`")
    if others := sorted(guests.keys() - comparable.keys()):
        print(f"guests: {', '.join(others)}: not comparable: other tools than `guests/toolchain.toml` records")
        committed = SHIPPED | OTHERS
        built = committed | {name: BUILT / f"{name}.wasm" for name in guests}
        is_good &= all([run_guest_tests("committed", committed), run_guest_tests("built", built)])
    return is_good


def build_examples() -> None:
    for folder in EXAMPLES:
        built = build_agent(folder, locked=True)
        print(f"guests: {built.path.relative_to(ROOT)}: {built.bytes} bytes, sha256 {built.sha256}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", action="store_true", help="also the guests that tests use")
    parser.add_argument("--all", action="store_true", help="also the agents of the examples (implies --tests)")
    parser.add_argument("--bless", action="store_true", help="accept the built binaries (implies --tests)")
    asked = parser.parse_args()
    has_others = asked.tests or asked.all or asked.bless
    guests = SHIPPED | (OTHERS if has_others else {})
    try:
        toolchain = find_toolchain(preferred=recorded())
        print(f"guests: {toolchain.versions['rustc']}, std from {toolchain.std}", flush=True)
        build(toolchain)
        wasi_versions = build_wasi() if has_others else {}
        if asked.all:
            build_examples()
    except LittoralError as error:
        print(f"guests: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return 3 if isinstance(error, SetupError) else 1
    run_native_tests(toolchain)
    if asked.bless:
        bless(guests, dict(toolchain.versions), wasi_versions)
        return 0
    return 0 if judge(guests, dict(toolchain.versions), wasi_versions) else 1


if __name__ == "__main__":
    sys.exit(main())
