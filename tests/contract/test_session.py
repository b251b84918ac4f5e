"""`load` and `Session.run`: what goes in, what comes out, and what is said about the rest."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import littoral
from littoral.errors import (
    ArtifactError,
    InputError,
    MemoryCapError,
    NotFoundError,
    SandboxError,
    SettingError,
    TrustError,
    UnavailableError,
)
from modules_in_text import DOUBLE, compiled_here, model, port, variant

X = np.arange(4, dtype=np.float32)


def test_a_model_runs_from_bytes_from_a_file_and_from_a_model(tmp_path: Path) -> None:
    wasm = model()
    path = tmp_path / "m.wasm"
    path.write_bytes(wasm)
    for source in (wasm, bytearray(wasm), path, str(path), littoral.Model(wasm)):
        with littoral.load(source) as session:
            assert session.run({"x": X})["y"].tolist() == [0, 2, 4, 6]


def test_a_module_of_this_installation_is_trusted_and_any_other_is_guarded() -> None:
    wasm = model()
    assert littoral.load(wasm).engine == "guarded"
    assert littoral.load(compiled_here(wasm)).engine == "trusted"


def test_outputs_are_copies() -> None:
    session = littoral.load(model())
    first = session.run({"x": X})["y"]
    session.run({"x": X + 100})
    session.close()
    assert first.tolist() == [0, 2, 4, 6]
    assert first.flags.owndata
    assert first.flags.writeable


def test_the_session_describes_itself() -> None:
    session = littoral.load(model())
    assert [str(spec) for spec in session.inputs + session.outputs] == ["`x` float32[4]", "`y` float32[4]"]
    assert session.manifest.name == "m"
    assert session.memory_bytes == 131072


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "model `m`: input `x` is missing; inputs: `x` float32[4]"),
        ({"x": X, "z": X}, "model `m`: no input is called `z`; inputs: `x` float32[4]"),
        ({"x": X[:3]}, "model `m`: input `x`: shape [3], expected [4]"),
        ({"x": X[None]}, "model `m`: input `x`: shape [1, 4], expected [4]"),
        ({"x": X.astype(np.float64)}, "model `m`: input `x`: dtype `float64`, expected `float32`"),
        ({"x": X.astype(np.int32)}, "model `m`: input `x`: dtype `int32`, expected `float32`"),
        ({"x": ["a", "b", "c", "d"]}, "model `m`: input `x`: `['a', 'b', 'c', 'd']` is no `float32`"),
        ({"x": [[1, 2], [3]]}, "model `m`: input `x`: `[[1, 2], [3]]` is no regular array"),
        ({"x": None}, "model `m`: input `x`: dtype `object`, expected `float32`"),
        (X, "model `m`: inputs are a `ndarray`, expected arrays by name"),
    ],
)
def test_a_wrong_input_is_named_with_both_values(feeds: object, message: str) -> None:
    session = littoral.load(model())
    with pytest.raises(InputError) as caught:
        session.run(feeds)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)
    assert session.run({"x": X})["y"].tolist() == [0, 2, 4, 6]


def test_memory_order_and_byte_order_do_not_matter() -> None:
    session = littoral.load(model())
    for same in (X.astype(">f4"), np.repeat(X, 2)[::2], X[::-1][::-1], np.asfortranarray(X)):
        assert session.run({"x": same})["y"].tolist() == [0, 2, 4, 6]


def test_variants_are_chosen_by_shape() -> None:
    two = port("x", "float32", [2], 1024)
    wasm = model(
        extra='(func (export "run2") (i32.store (i32.const 1088) (i32.const 0x40e00000)))',
        variants=[variant(), variant("run2", [two], [port("y", "float32", [1], 1088)], batch=2)],
    )
    session = littoral.load(wasm)
    assert session.run({"x": X})["y"].tolist() == [0, 2, 4, 6]
    assert session.run({"x": X[:2]})["y"].tolist() == [7]
    assert str(session.inputs[0]) == "`x` float32[?]"
    with pytest.raises(InputError, match=r"input `x`: shape \[3\], expected \[4\] or \[2\]"):
        session.run({"x": X[:3]})


def test_shapes_that_fit_no_variant_together_are_told_together() -> None:
    def shapes(a: int, b: int) -> list[dict[str, object]]:
        return [port("a", "float32", [a], 1024), port("b", "float32", [b], 1088)]

    session = littoral.load(
        model(
            "",
            extra='(func (export "run2"))',
            variants=[variant("run", shapes(1, 1), []), variant("run2", shapes(2, 2), [])],
        )
    )
    with pytest.raises(InputError, match=r"no variant takes `a` \[1\], `b` \[2\] together"):
        session.run({"a": X[:1], "b": X[:2]})


def test_an_output_may_have_fewer_values_than_its_largest_shape() -> None:
    output = port("y", "float32", [2, 4], 1088, dims_offset=1216)
    body = DOUBLE + "(i64.store (i32.const 1216) (i64.const 1)) (i64.store (i32.const 1224) (i64.const 3))"
    session = littoral.load(model(body, variants=[variant(outputs=[output])]))
    assert session.run({"x": X})["y"].tolist() == [[0, 2, 4]]
    assert str(session.outputs[0]) == "`y` float32[?, ?]"


@pytest.mark.parametrize("size", [5, -1, 1 << 62])
def test_a_size_that_cannot_be_is_refused(size: int) -> None:
    output = port("y", "float32", [4], 1088, dims_offset=1216)
    session = littoral.load(
        model(DOUBLE + f"(i64.store (i32.const 1216) (i64.const {size}))", variants=[variant(outputs=[output])])
    )
    with pytest.raises(SandboxError, match=rf"output `y` has shape \[{size}\], at most \[4\]"):
        session.run({"x": X})


def test_scalars_and_empty_tensors() -> None:
    ports = [port("s", "int64", [], 1024), port("e", "float32", [0, 3], 131072)]
    outputs = [port("t", "int64", [], 1088), port("f", "uint8", [2, 0], 131072)]
    session = littoral.load(
        model("(i64.store (i32.const 1088) (i64.load (i32.const 1024)))", variants=[variant("run", ports, outputs)])
    )
    for scalar in (7, np.int64(7), np.array(7)):
        answer = session.run({"s": scalar, "e": np.zeros((0, 3), np.float32)})
        assert answer["t"] == 7
        assert answer["t"].shape == ()
        assert answer["f"].shape == (2, 0)


@pytest.mark.parametrize(
    "dtype",
    ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"],
)
def test_every_numpy_dtype_passes_through(dtype: str) -> None:
    values = np.array([[0, 1], [1, 0]], dtype)
    ports = [port("x", dtype, [2, 2], 1024)], [port("y", dtype, [2, 2], 1088)]
    session = littoral.load(model(COPY, variants=[variant("run", *ports)]))
    answer = session.run({"x": values})["y"]
    assert answer.dtype == values.dtype
    assert answer.tolist() == values.tolist()


COPY = "(memory.copy (i32.const 1088) (i32.const 1024) (i32.const 64))"


@pytest.mark.parametrize(
    ("dtype", "storage"), [("bfloat16", "uint16"), ("float8_e4m3fn", "uint8"), ("int4", "int8"), ("uint4", "uint8")]
)
def test_a_dtype_that_numpy_lacks_comes_as_raw_bits_or_as_ml_dtypes(dtype: str, storage: str) -> None:
    raw = np.array([1, 5, 0, 7], storage)
    session = littoral.load(
        model(COPY, variants=[variant("run", [port("x", dtype, [4], 1024)], [port("y", dtype, [4], 1088)])])
    )
    answer = session.run({"x": raw})["y"]
    assert answer.dtype.name in (dtype, storage)
    assert (
        answer.astype(storage).tolist() == raw.tolist()
        if "int" in dtype
        else answer.view(storage).tolist() == raw.tolist()
    )
    again = session.run({"x": answer})["y"]
    assert again.tobytes() == answer.tobytes()


def test_a_scalar_of_a_dtype_that_numpy_lacks_stays_a_scalar() -> None:
    ports = [port("x", "bfloat16", [], 1024)], [port("y", "bfloat16", [], 1088)]
    with littoral.load(model(COPY, variants=[variant("run", *ports)])) as session:
        answer = session.run({"x": np.asarray(0x3F80, "uint16")})["y"]
        assert session.run({"x": answer})["y"].tobytes() == answer.tobytes()
        assert answer.shape == ()


def test_use_after_close_is_loud() -> None:
    session = littoral.load(model())
    session.close()
    session.close()
    with pytest.raises(UnavailableError, match="model `m`: the session is closed"):
        session.run({"x": X})
    with pytest.raises(UnavailableError):
        session.another()


def test_another_session_computes_on_its_own() -> None:
    one = littoral.load(model())
    with one.another() as two:
        assert two.run({"x": X})["y"].tolist() == [0, 2, 4, 6]
    assert one.run({"x": X})["y"].tolist() == [0, 2, 4, 6]


def test_many_threads_share_a_session() -> None:
    session = littoral.load(model())
    start = threading.Barrier(8)

    def work(i: int) -> bool:
        start.wait(60)
        x = np.full(4, i, np.float32)
        return all(session.run({"x": x})["y"].tolist() == [2 * i] * 4 for _ in range(200))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(8)))
    assert session.statistics().runs == 1600


def test_a_pinned_digest_is_held_against_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m.wasm"
    path.write_bytes(model())
    littoral.load(path, sha256=littoral.Model.open(path).digest.upper()).close()
    with pytest.raises(TrustError, match=r"m\.wasm`: SHA-256 is `[0-9a-f]{64}`, expected `0{64}`"):
        littoral.load(path, sha256="0" * 64)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"module `.*/none\.wasm`: No such file"):
        littoral.load(tmp_path / "none.wasm")
    with pytest.raises(NotFoundError, match="Is a directory"):
        littoral.load(tmp_path)
    os.mkfifo(tmp_path / "pipe.wasm")
    with pytest.raises(ArtifactError, match="no ordinary file"):
        littoral.load(tmp_path / "pipe.wasm")
    (tmp_path / "text.wasm").write_text("(module)")
    with pytest.raises(ArtifactError, match=r"text\.wasm`: not a WebAssembly module"):
        littoral.load(tmp_path / "text.wasm")
    with pytest.raises(NotFoundError, match="embedded null (byte|character)"):
        littoral.load("m\0.wasm")


def test_limits_must_be_positive() -> None:
    with pytest.raises(SettingError, match="`memory_bytes` is `0`, must be at least 1"):
        littoral.load(model(), memory_bytes=0)
    with pytest.raises(SettingError, match="`deadline_ms` is `-1`, must be at least 1"):
        littoral.load(model(), deadline_ms=-1)


def test_a_cap_holds_for_trusted_models_too() -> None:
    with pytest.raises(MemoryCapError):
        littoral.load(compiled_here(model()), memory_bytes=65536)


def test_weights_are_mapped_from_the_machine_code_and_not_copied() -> None:
    """Dense data in one segment; the mapping is private and writable: a copy is made of what is written only."""
    wasm = compiled_here(model(extra='(data (i32.const 65536) "' + "w" * 65536 + '")'))
    littoral.load(wasm).close()
    with littoral.load(wasm) as session:
        assert session.is_cached
        mappings = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if ".code" in line]
        assert "rw-p" in {fields[1] for fields in mappings}
