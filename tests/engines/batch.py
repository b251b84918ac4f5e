"""Cases of many models in one folder, so that an engine that starts slowly starts once.

A case is a JSON object: files `module`, `input`, `output`; `entry`, the function to call; `writes` and `reads`, lists
of [address, bytes]: the input is the writes one behind another, the output the reads.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engines.subjects import Subject
from littoral.artifact import custom_section, digest
from littoral.artifact.manifest import MODEL_SECTION, Port, Variant
from littoral.compiler.driver import planned, written
from littoral.tensors import DTYPES, element_count

__all__ = ["TARGETS", "THREADED", "cases_of", "differences", "plan", "write_cases"]

TARGETS = ("simd128", "relaxed", "mvp")
THREADED = ("simd128", "relaxed")  # WebAssembly 1.0 has no threads
ALL = "cases.json"


def write_cases(folder: Path, subjects: Iterable[Subject], targets: Sequence[str] = TARGETS) -> None:
    """Compiles every subject for every target, and writes modules, inputs and the list of cases."""
    folder.mkdir()
    found = [case for i, subject in enumerate(subjects) for case in _written(folder, i, subject, targets)]
    (folder / ALL).write_text(json.dumps(found))


def cases_of(folder: Path, targets: Sequence[str]) -> list[dict[str, Any]]:
    """Those of the targets; what two of them have the same code for, once."""
    found: list[dict[str, Any]] = json.loads((folder / ALL).read_text())
    first = {(case["code"], case["input"]): case for case in reversed(found) if case["target"] in targets}
    return [case for case in found if first.get((case["code"], case["input"])) is case]


def plan(folder: Path, out: Path, targets: Sequence[str]) -> None:
    """Writes `plan.json`, the cases that a host is to run, into its folder `out`."""
    out.mkdir()
    (out / "plan.json").write_text(json.dumps(cases_of(folder, targets)))


def differences(folder: Path, wanted: Path, got: Path, targets: Sequence[str]) -> list[str]:
    """A line for each output whose bits are not those of the same case in `wanted`; any NaN is as good as another."""
    found = []
    for case in cases_of(folder, targets):
        want, have = ((out / name).read_bytes() for out, name in ((wanted, case["wanted"]), (got, case["output"])))
        if want != have:
            tensors = zip(_tensors(case, want), _tensors(case, have), strict=True)
            found += [f"{case['name']}: {line}" for a, b in tensors if (line := _difference(*a, *b))]
    return found


def _written(folder: Path, number: int, subject: Subject, targets: Sequence[str]) -> Iterator[dict[str, Any]]:
    for i, feeds in enumerate(subject.feeds):
        ordered = b"".join(np.ascontiguousarray(feeds[name]).tobytes() for name in sorted(feeds))
        (folder / f"{number}-{i}.in").write_bytes(ordered)
    found = planned(
        subject.source,
        shapes=subject.shapes,
        variants=subject.variants,
        int8=subject.int8,
        threads=subject.threads,
    )
    for target in targets:
        model = written(found, target=target)
        (folder / f"{number}-{target}.wasm").write_bytes(model.wasm)
        manifest = custom_section(model.wasm, MODEL_SECTION)
        assert manifest is not None
        for i, feeds in enumerate(subject.feeds):
            variant = model.manifest.variants[i if subject.variants else 0]
            yield {
                "name": f"{subject.name} #{i} {target}",
                "target": target,
                "code": digest(model.wasm.replace(manifest, b"")),
                "module": f"{number}-{target}.wasm",
                "input": f"{number}-{i}.in",
                "output": f"{number}-{i}-{target}.out",
                "wanted": f"{number}-{i}-{TARGETS[0]}.out",
                "entry": variant.entry,
                "threads": model.manifest.threads,
                "pages": model.manifest.memory.pages,
                "writes": [[port.offset, port.bytes] for port in _inputs(variant, feeds)],
                "reads": [place for port in variant.outputs for place in _places(port)],
                "ports": [[port.name, port.dtype, list(port.shape), port.dims_offset] for port in variant.outputs],
            }


def _inputs(variant: Variant, feeds: Mapping[str, Any]) -> list[Port]:
    ports = sorted(variant.inputs, key=lambda port: port.name)
    assert [(p.name, p.shape, p.bytes) for p in ports] == [
        (name, np.shape(feeds[name]), np.asarray(feeds[name]).nbytes) for name in sorted(feeds)
    ]
    return ports


def _places(port: Port) -> list[tuple[int, int]]:
    data = (port.offset, port.bytes)
    return [data] if port.dims_offset is None else [data, (port.dims_offset, 8 * len(port.shape))]


def _tensors(case: Mapping[str, Any], data: bytes) -> Iterator[tuple[str, Any]]:
    """Outputs by name; what lies behind the actual dimensions is left out."""
    for name, dtype, largest, dims_offset in case["ports"]:
        storage = DTYPES[dtype].storage
        size, shape = element_count(largest) * storage.itemsize, largest
        values, data = np.frombuffer(data[:size], storage), data[size:]
        if dims_offset is not None:
            dims, data = data[: 8 * len(largest)], data[8 * len(largest) :]
            shape = np.frombuffer(dims, np.int64).tolist()
        yield name, values[: element_count(shape)].reshape(shape)
    assert not data


def _difference(name: str, want: Any, _: str, have: Any) -> str:
    if want.shape != have.shape:
        return f"`{name}` has the shape {list(have.shape)}, not {list(want.shape)}"
    differ = np.argwhere(_bits(want) != _bits(have)).tolist()
    if not differ:
        return ""
    at = tuple(differ[0])
    return f"`{name}` {list(at)} is {have[at]!r}, not {want[at]!r}; {len(differ)} of {want.size} differ"


def _bits(array: Any) -> Any:
    """Whole numbers that are equal where the bits are; one for all NaN."""
    plain = np.array(array)
    if plain.dtype.kind == "f":
        plain[np.isnan(plain)] = np.nan
    return plain.view(f"u{plain.itemsize}")
