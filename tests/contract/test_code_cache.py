"""The machine-code cache, attacked: what is not exactly what this installation wrote is made again, never mapped."""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest

import littoral
from littoral.artifact import Store
from littoral.errors import SetupError
from littoral.runtime.code_cache import PURPOSE, CachedCode, CodeCache, CodeKey
from littoral.runtime.interface import Interface
from littoral.runtime.modules import code_cache
from littoral.runtime.sealed_file import read_sealed, write_sealed
from modules_in_text import compiled_here, model

INTERFACE = Interface((), {}, None)
CODE = bytes(range(256)) * 64
FEEDS = {"x": np.arange(4, dtype=np.float32)}


def key(name: str = "0", **more: str) -> CodeKey:
    return msgspec.structs.replace(CodeKey(name * 64, "littoral.model", {"wasm_simd": True}, "50.0.1", "cpu"), **more)


@pytest.fixture
def cache(tmp_path: Path) -> CodeCache:
    return CodeCache(tmp_path / "codes", Store(tmp_path / "keys"), limit_bytes=1 << 20)


def found(cache: CodeCache, wanted: CodeKey) -> bytes | None:
    with cache.find(wanted) as code:
        return None if code is None else Path(code.path).read_bytes()


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def flip_and_restore_times(path: Path, at: int) -> None:
    before = path.stat()
    flip(path, at)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_by_copy(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    copy.replace(path)


def replace_by_link(path: Path) -> None:
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


Attack = Callable[[Path], object]

ATTACKS: dict[str, tuple[str, Attack]] = {
    "MAC flipped": ("entry", lambda path: flip(path, 0)),
    "MAC's end flipped": ("entry", lambda path: flip(path, 31)),
    "entry flipped at its start": ("entry", lambda path: flip(path, 32)),
    "entry flipped in the middle": ("entry", lambda path: flip(path, path.stat().st_size // 2)),
    "entry flipped at its end": ("entry", lambda path: flip(path, -1)),
    "entry cut off": ("entry", lambda path: os.truncate(path, 40)),
    "entry shorter than a MAC": ("entry", lambda path: os.truncate(path, 7)),
    "entry empty": ("entry", lambda path: os.truncate(path, 0)),
    "entry longer": ("entry", lambda path: path.write_bytes(path.read_bytes() + b"\0")),
    "entry huge": ("entry", lambda path: os.truncate(path, 1 << 34)),
    "entry a link": ("entry", replace_by_link),
    "entry a pipe": ("entry", replace_by_pipe),
    "entry open to others": ("entry", lambda path: path.chmod(0o644)),
    "code flipped at its start": ("code", lambda path: flip(path, 0)),
    "code flipped in the middle": ("code", lambda path: flip(path, path.stat().st_size // 2)),
    "code flipped at its end": ("code", lambda path: flip(path, -1)),
    "code flipped, times restored": ("code", lambda path: flip_and_restore_times(path, 100)),
    "code cut off": ("code", lambda path: os.truncate(path, 100)),
    "code empty": ("code", lambda path: os.truncate(path, 0)),
    "code longer": ("code", lambda path: os.truncate(path, path.stat().st_size + 4096)),
    "code copied to another inode": ("code", replace_by_copy),
    "code a link": ("code", replace_by_link),
    "code a pipe": ("code", replace_by_pipe),
    "code linked from elsewhere": ("code", lambda path: os.link(path, path.with_name("elsewhere"))),
    "code open to others": ("code", lambda path: path.chmod(0o666)),
    "code touched": ("code", os.utime),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_damaged_entry_is_never_mapped_and_is_made_again(attack: str) -> None:
    wasm = compiled_here(model())
    assert not littoral.load(wasm).is_cached
    assert littoral.load(wasm).is_cached
    suffix, damage = ATTACKS[attack]
    (path,) = code_cache().folder.glob(f"*.{suffix}")
    damage(path)

    session = littoral.load(wasm)
    assert not session.is_cached
    assert session.run(FEEDS)["y"].tolist() == [0, 2, 4, 6]
    assert code_cache().statistics.damaged == 1
    assert littoral.load(wasm).is_cached
    assert len(list(code_cache().folder.glob("*.code"))) == 1


def test_what_cannot_be_removed_is_not_used() -> None:
    wasm = model()
    littoral.load(wasm)
    (entry,) = code_cache().folder.glob("*.entry")
    entry.unlink()
    entry.mkdir()
    for _ in range(2):
        session = littoral.load(wasm)
        assert not session.is_cached
        assert session.run(FEEDS)["y"].tolist() == [0, 2, 4, 6]
    assert code_cache().statistics.unkept == 2


def test_a_lost_code_file_is_a_miss() -> None:
    wasm = model()
    littoral.load(wasm)
    (code,) = code_cache().folder.glob("*.code")
    code.unlink()
    assert not littoral.load(wasm).is_cached
    assert littoral.load(wasm).is_cached


def test_files_of_another_user_are_not_believed(cache: CodeCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.keep(key(), CODE, INTERFACE, b"")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert found(cache, key()) is None
    with pytest.raises(SetupError, match=r"belongs to user \d+, expected 12345"):
        CodeCache(cache.folder, Store(), limit_bytes=1)


@pytest.mark.parametrize("other", [{"wasmtime": "49.0.0"}, {"cpu": "other"}, {"module": "f" * 64}, {"section": "x"}])
def test_an_entry_for_anything_else_is_not_used_even_under_this_name(cache: CodeCache, other: dict[str, str]) -> None:
    store = Store(cache.folder.parent / "keys")
    cache.keep(key(), CODE, INTERFACE, b"")
    path = cache.folder / f"{key().name}.entry"
    entry = msgspec.msgpack.decode(read_sealed(path, store, PURPOSE, limit_bytes=1 << 20))
    entry["key"] |= other
    write_sealed(path, msgspec.msgpack.encode(entry), store, PURPOSE)
    assert found(cache, key()) is None
    assert cache.statistics.damaged == 1


def test_an_entry_cannot_take_the_place_of_another(cache: CodeCache) -> None:
    cache.keep(key("1"), CODE, INTERFACE, b"")
    cache.keep(key("2"), CODE[::-1], INTERFACE, b"")
    (cache.folder / f"{key('1').name}.entry").rename(cache.folder / f"{key('2').name}.entry")
    assert found(cache, key("2")) is None


def test_an_entry_of_another_installation_is_not_believed(cache: CodeCache, tmp_path: Path) -> None:
    cache.keep(key(), CODE, INTERFACE, b"")
    other = CodeCache(cache.folder, Store(tmp_path / "other keys"), limit_bytes=1 << 20)
    assert found(other, key()) is None


def test_machine_code_that_wasmtime_refuses_is_made_again() -> None:
    wasm = model()
    littoral.load(wasm)
    cache = code_cache()
    (entry,) = cache.folder.glob("*.entry")
    payload = read_sealed(entry, Store(), PURPOSE, limit_bytes=1 << 20)
    known = msgspec.msgpack.decode(payload)
    cache.keep(msgspec.convert(known["key"], CodeKey), b"\x7fELF" + CODE, INTERFACE, known["manifest"])
    assert littoral.load(wasm).run(FEEDS)["y"].tolist() == [0, 2, 4, 6]
    assert cache.statistics.damaged == 1
    assert littoral.load(wasm).is_cached


def test_what_is_mapped_is_the_file_that_was_checked(cache: CodeCache) -> None:
    cache.keep(key(), CODE, INTERFACE, b"")
    with cache.find(key()) as code:
        assert isinstance(code, CachedCode)
        (path,) = cache.folder.glob("*.code")
        path.rename(path.with_name("away"))
        path.write_bytes(b"something else")
        assert Path(code.path).read_bytes() == CODE


def test_the_manifest_and_the_interface_come_with_the_code(cache: CodeCache) -> None:
    interface = Interface((), {"run": "() -> ()"}, None)
    cache.keep(key(), CODE, interface, b"{}")
    with cache.find(key()) as code:
        assert code is not None
        assert (code.interface, code.manifest) == (interface, b"{}")


def test_the_folder_is_closed_to_others(cache: CodeCache, tmp_path: Path) -> None:
    cache.keep(key(), CODE, INTERFACE, b"")
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in cache.folder.iterdir()} == {0o600}
    cache.folder.chmod(0o777)
    CodeCache(cache.folder, Store(), limit_bytes=1)
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(cache.folder)
    with pytest.raises(SetupError, match="is no folder"):
        CodeCache(tmp_path / "link", Store(), limit_bytes=1)


def age(cache: CodeCache, name: str, used_s: float) -> None:
    os.utime(cache.folder / f"{key(name).name}.entry", (used_s, used_s))


def test_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    cache = CodeCache(tmp_path / "codes", Store(), limit_bytes=3 * len(CODE) + 4096)
    for used_s, name in ((3, "1"), (1, "2"), (2, "3")):
        cache.keep(key(name), CODE, INTERFACE, b"")
        age(cache, name, used_s)
    cache.keep(key("4"), CODE, INTERFACE, b"")
    assert [name for name in "1234" if found(cache, key(name))] == ["1", "3", "4"]
    assert cache.statistics.evicted == 1
    assert sum(path.stat().st_size for path in cache.folder.iterdir()) <= 3 * len(CODE) + 4096


def test_use_keeps_an_entry_young(tmp_path: Path) -> None:
    cache = CodeCache(tmp_path / "codes", Store(), limit_bytes=2 * len(CODE) + 4096)
    for used_s, name in ((1, "1"), (2, "2")):
        cache.keep(key(name), CODE, INTERFACE, b"")
        age(cache, name, used_s)
    assert found(cache, key("1"))
    cache.keep(key("3"), CODE, INTERFACE, b"")
    assert [name for name in "123" if found(cache, key(name))] == ["1", "3"]


def test_code_that_a_crash_left_alone_makes_room_too(tmp_path: Path) -> None:
    cache = CodeCache(tmp_path / "codes", Store(), limit_bytes=2 * len(CODE))
    orphan = cache.folder / f"{'a' * 64}.0011.code"
    orphan.write_bytes(CODE)
    leftover = cache.folder / ".temporary"
    leftover.touch()
    for path in (orphan, leftover):
        os.utime(path, (1, 1))
    cache.keep(key(), CODE, INTERFACE, b"")
    assert found(cache, key())
    assert not orphan.exists()
    assert not leftover.exists()


def test_code_over_the_limit_is_not_kept_and_that_is_counted(tmp_path: Path) -> None:
    cache = CodeCache(tmp_path / "codes", Store(), limit_bytes=len(CODE) - 1)
    assert not cache.keep(key(), CODE, INTERFACE, b"")
    assert cache.statistics.unkept == 1
    assert list(cache.folder.iterdir()) == []


def test_a_full_disk_costs_a_cache_entry_and_is_counted(cache: CodeCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert not cache.keep(key(), CODE, INTERFACE, b"")
    assert cache.statistics.unkept == 1
    assert list(cache.folder.iterdir()) == []


def test_writers_and_readers_share_a_folder(cache: CodeCache, tmp_path: Path) -> None:
    caches = [cache, *(CodeCache(cache.folder, Store(tmp_path / "keys"), limit_bytes=1 << 20) for _ in range(3))]

    def work(i: int) -> bool:
        mine = caches[i % 4]
        mine.keep(key(str(i % 2)), CODE, INTERFACE, b"")
        return found(mine, key(str(i % 2))) in (CODE, None)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(64)))
    cache.keep(key("0"), CODE, INTERFACE, b"")
    assert found(cache, key("0")) == CODE
    assert not [path for path in cache.folder.iterdir() if path.name.startswith(".")]


def test_a_disk_that_takes_no_writes_still_serves_what_it_has(
    cache: CodeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.keep(key(), CODE, INTERFACE, b"")
    age(cache, "0", 1)

    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "utime", read_only)
    assert found(cache, key()) == CODE
