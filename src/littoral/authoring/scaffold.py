"""`littoral agent new`: a Rust crate on our SDK that builds, passes its tests and runs as it is.

The crate carries a copy of the SDK, and a lock of the few crates that the SDK takes.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any, Literal

from littoral.errors import ConflictError, InputError

__all__ = ["Port", "new_agent"]

Port = Literal["bytes", "tensors"]

HERE = Path(__file__).parent
TEMPLATE = HERE / "template"
SDK = HERE / "sdk"
PACKAGE = "\n\n[[package]]\n"
NAME_PATTERN = re.compile(r"[a-z][a-z0-9_-]{0,63}")
# Words that cargo or rustc keep for themselves; the crates in the lock are taken too.
TAKEN_NAMES = frozenset(
    [
        "abstract",
        "alloc",
        "as",
        "async",
        "await",
        "become",
        "box",
        "break",
        "const",
        "continue",
        "core",
        "crate",
        "do",
        "dyn",
        "else",
        "enum",
        "extern",
        "false",
        "final",
        "fn",
        "for",
        "gen",
        "if",
        "impl",
        "in",
        "let",
        "littoral_sdk",
        "loop",
        "macro",
        "match",
        "mod",
        "move",
        "mut",
        "override",
        "priv",
        "proc_macro",
        "pub",
        "ref",
        "return",
        "self",
        "static",
        "std",
        "struct",
        "super",
        "test",
        "trait",
        "true",
        "try",
        "type",
        "typeof",
        "unsafe",
        "unsized",
        "use",
        "virtual",
        "where",
        "while",
        "yield",
    ]
)
# Types that `src/lib.rs` imports or makes.
TAKEN_TYPES = frozenset({"Agent", "Config", "Dtype", "Error", "Frame", "Layout", "Output", "Ports", "Settings", "Spec"})
_WORDS: Mapping[Port, str] = {"bytes": "numbers as text", "tensors": "a tensor of numbers"}
_TAKEN = [{"name": "values", "dtype": "float32", "shape": [-1]}]
_GIVEN = [{"name": "scaled", "dtype": "float32", "shape": [-1]}]


def new_agent(name: str, folder: Path, *, takes: Port = "bytes", gives: Port = "bytes") -> list[Path]:
    """Writes the crate `name` into `folder`, which must not exist yet; the files, in order.

    Raises InputError for a name that no crate can have, ConflictError where something is in the way.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise InputError(
            f"agent name `{name}`: must be 1 to 64 of a-z, 0-9, `-` and `_`, beginning with a letter",
            hint="such as `spectrum` or `crop-faces`",
        )
    if name in TAKEN_NAMES or name in map(_package_name, _locked()[1]):
        raise InputError(f"agent name `{name}`: Rust or one of the agent's own crates has it")
    files = {
        "Cargo.toml": _filled("Cargo.toml.in", name=name),
        "Cargo.lock": _lock(name),
        "rustfmt.toml": _filled("rustfmt.toml"),
        ".gitignore": _filled("gitignore.in"),
        "README.md": _filled("README.md.in", name=name, takes_words=_WORDS[takes], gives_words=_WORDS[gives]),
        "manifest.json": _json(_manifest(name, takes, gives)),
        "src/lib.rs": _source(name, takes, gives),
        **{f"tests/cases/{case}.json": _json(content) for case, content in _cases(takes, gives).items()},
        "littoral-sdk/Cargo.toml": (SDK / "Cargo.toml").read_text(),
        **{f"littoral-sdk/src/{path.name}": path.read_text() for path in sorted((SDK / "src").glob("*.rs"))},
    }
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise ConflictError(
            f"`{folder}` is there already", hint="take another name, or `--into` another folder"
        ) from error
    written = []
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
        written.append(folder / path)
    return written


def type_name(name: str) -> str:
    """The agent's struct: `crop-faces` is `CropFaces`."""
    camel = "".join(part.capitalize() for part in re.split(r"[-_]+", name))
    return f"{camel}Agent" if camel in TAKEN_TYPES or camel == "Self" else camel


def _filled(file: str, **values: str) -> str:
    return Template((TEMPLATE / file).read_text()).substitute(values)


def _source(name: str, takes: Port, gives: Port) -> str:
    uses, test_uses = {"Agent", "Config", "Error", "Output", "log"}, set()
    if takes == "tensors":
        uses |= {"Dtype", "Frame", "Ports", "Spec"}
        test_uses |= {"Layout"}
    if gives == "tensors":
        uses |= {"Dtype", "Layout", "Ports", "Spec"}
        test_uses |= {"Frame"}
    fragments = {
        kind: (TEMPLATE / f"fragments/{kind}_{port}.rs").read_text()
        for kind, port in (("read", takes), ("given", takes), ("write", gives), ("found", gives))
    }
    fragments |= {kind: fragments[kind].strip(" ") for kind in ("given", "found")}
    ports = _ports("input", _TAKEN if takes == "tensors" else None) + _ports(
        "output", _GIVEN if gives == "tensors" else None
    )
    test_only = ", ".join(sorted(test_uses - uses))
    return _filled(
        "lib.rs.in",
        name=name,
        type=type_name(name),
        uses=", ".join(sorted(uses)),
        test_uses=f"\n    use littoral_sdk::{test_only};" if test_only else "",
        ports=ports,
        **fragments,
    )


def _ports(method: str, specs: list[dict[str, Any]] | None) -> str:
    """What `describe` tells of tensors, as a method of the trait; bytes are its default."""
    if specs is None:
        return ""
    (spec,) = specs
    return f"""
    fn {method}(&self) -> Ports {{
        Ports::Tensors(vec![Spec::new("{spec["name"]}", Dtype::F32, [-1])])
    }}
"""


def _manifest(name: str, takes: Port, gives: Port) -> dict[str, Any]:
    number = {"type": "number"}
    return {
        "format": 1,
        "name": name,
        "version": "0.1.0",
        "input": "bytes" if takes == "bytes" else _TAKEN,
        "output": "bytes" if gives == "bytes" else _GIVEN,
        "memory_bytes_max": 16 << 20,
        "deadline_ms": 100,
        "imports": ["littoral.log"],
        "config": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "gain": number | {"default": 1.0},
                "offset": number | {"default": 0.0},
                "count_max": {"type": "integer", "minimum": 1, "maximum": 1_000_000, "default": 10_000},
            },
        },
    }


def _cases(takes: Port, gives: Port) -> dict[str, dict[str, Any]]:
    def given(*values: float) -> dict[str, Any]:
        if takes == "bytes":
            return {"text": " ".join(f"{value:g}" for value in values)}
        return _tensor("values", values)

    def found(*values: float) -> dict[str, Any]:
        if gives == "bytes":
            return {"text": "".join(f"{value:g}\n" for value in values)}
        return _tensor("scaled", values)

    return {
        "scales": {"config": {"gain": 2, "offset": 0.5}, "input": given(1, -2, 0.25), "output": found(2.5, -3.5, 1)},
        "too-many": {
            "config": {"count_max": 2},
            "input": given(1, 2, 3),
            "error": {"number": -2, "text": "3 values, at most 2"},
        },
    }


def _tensor(name: str, values: tuple[float, ...]) -> dict[str, Any]:
    return {"tensors": {name: {"dtype": "float32", "shape": [len(values)], "data": list(values)}}}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _lock(name: str) -> str:
    """The lock of what the SDK needs, with the agent in its place: cargo wants packages sorted."""
    header, packages = _locked()
    packages.append(f'name = "{name}"\nversion = "0.1.0"\ndependencies = [\n "littoral-sdk",\n]')
    return PACKAGE.join([header, *sorted(packages, key=_package_name)]) + "\n"


def _locked() -> tuple[str, list[str]]:
    header, *packages = (TEMPLATE / "Cargo.lock.in").read_text().rstrip("\n").split(PACKAGE)
    return header, packages


def _package_name(package: str) -> str:
    return package.partition('name = "')[2].partition('"')[0]
