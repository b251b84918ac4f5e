"""The modules of a bundle that need no isolate, each by itself in Node."""

import json
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from needs import need

SOURCES = resources.files("littoral.bundle") / "js"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def told(folder: Path, module: str, names: str, program: str) -> Any:
    """What a program says as JSON that imports names from a module."""
    node = shutil.which("node")
    need(node, "Node (Debian: `nodejs`)")
    script = f"""
      import {{ {names} }} from {json.dumps(str(SOURCES / module))};
      globalThis.crypto ??= (await import("node:crypto")).webcrypto;
      {program}
    """
    (folder / "script.mjs").write_text(script)
    command = [str(node), "script.mjs"]
    done = subprocess.run(command, cwd=folder, check=True, timeout=60, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("parent", "flags"),
    [
        (f"00-{TRACE}-{SPAN}-01", "01"),
        (f"00-{TRACE}-{SPAN}-00", "00"),
        (f"00-{TRACE}-{SPAN}-ff", "03"),  # only the flags that are known go on
        (f"01-{TRACE}-{SPAN}-01-more", "01"),
        (f"cc-{TRACE}-{SPAN}-01", "01"),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"01-{TRACE}-{SPAN}-01more", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        (f" 00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01", None),
        ("", None),
    ],
)
def test_a_trace_goes_on_where_it_is_well_formed(tmp_path: Path, parent: str, flags: str | None) -> None:
    program = f"""
      const headers = new Map([["traceparent", {json.dumps(parent)}], ["tracestate", "a=1"]]);
      console.log(JSON.stringify(traceHeaders({{ headers }})));
    """
    found = told(tmp_path, "trace.mjs", "traceHeaders", program)
    if flags is None:
        assert found == {}
        return
    version, trace, span, its_flags = found["traceparent"].split("-")
    assert (version, trace, its_flags, found["tracestate"]) == ("00", TRACE, flags, "a=1")
    assert span != SPAN
    assert len(span) == 16


def test_a_state_of_a_trace_goes_on_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    good = ["a=1", "tenant@system=x y,b/c*=:;", " a=1 , ,b=2"]
    bad = ["a", "A=1", "a=", "a=b=c", "=1", "a=é", "a=1," * 200, ",".join(f"k{i}=1" for i in range(33)), ","]
    program = f"""
      const parent = "00-{TRACE}-{SPAN}-01";
      const states = {json.dumps([*good, *bad])};
      const asked = (state) => ({{ headers: new Map([["traceparent", parent], ["tracestate", state]]) }});
      const found = states.map((state) => traceHeaders(asked(state)));
      console.log(JSON.stringify(found.map(({{ tracestate = null }}) => tracestate)));
    """
    found = told(tmp_path, "trace.mjs", "traceHeaders", program)
    assert found == ["a=1", "tenant@system=x y,b/c*=:;", "a=1,b=2", *[None] * len(bad)]


def test_the_latest_entries_are_kept_within_both_bounds(tmp_path: Path) -> None:
    program = """
      const latest = new Latest(3, 100);
      const there = () => ["a", "b", "c", "d", "e"].filter((key) => latest.get(key, 0) !== undefined).join("");
      const said = [];
      for (const [key, bytes] of [["a", 10], ["b", 10], ["c", 10], ["d", 10]]) latest.put(key, key, bytes, 1);
      said.push([there(), latest.bytes]);
      latest.put("e", "e", 85, 1);
      said.push([there(), latest.bytes]);
      latest.put("a", "a", 101, 1);
      said.push([there(), latest.bytes]);
      latest.put("e", "again", 5, 1);
      said.push([there(), latest.bytes]);
      said.push([latest.get("e", 1) ?? null, latest.bytes]);
      console.log(JSON.stringify(said));
    """
    found = told(tmp_path, "caches.mjs", "Latest", program)
    assert found == [["bcd", 30], ["de", 95], ["de", 95], ["de", 15], [None, 10]]


def test_buffers_are_used_again_and_never_exceed_their_bound(tmp_path: Path) -> None:
    program = """
      const most = (4 << 20) + 1;
      const rooms = new Rooms();
      const said = [];
      const first = rooms.take(1, most);
      rooms.give(first);
      said.push([first.byteLength, rooms.take(100, most) === first, rooms.bytes]);
      rooms.give(first);
      const large = [1, 2, 3].map(() => rooms.take(most - 1, most));
      said.push([large[0].byteLength, rooms.bytes]);
      let status = 0;
      try { rooms.take(most, most); } catch (error) { status = error.status; }
      said.push([status, rooms.bytes]);
      rooms.lose(large.pop().byteLength);
      rooms.give(large.pop());
      said.push([rooms.take(most, most).byteLength, rooms.bytes]);
      console.log(JSON.stringify(said));
    """
    largest = (4 << 20) + 1
    found = told(tmp_path, "rooms.mjs", "Rooms", program)
    assert found[0] == [65_536, True, 65_536]
    assert found[1] == [4 << 20, 65_536 + 3 * (4 << 20)]
    assert found[2] == [503, 3 * (4 << 20)]  # the small one made room, in vain
    assert found[3] == [largest, 2 * (4 << 20) + largest]


def test_work_that_is_late_is_given_up_and_leaves_no_timer(tmp_path: Path) -> None:
    program = """
      const never = new Promise(() => {});
      const late = await within(never, 5, new Error("late")).catch(({ message }) => message);
      const there = await within(Promise.resolve("there"), 1e6, new Error("late"));
      console.log(JSON.stringify([late, there]));
    """
    assert told(tmp_path, "deadline.mjs", "within", program) == ["late", "there"]
