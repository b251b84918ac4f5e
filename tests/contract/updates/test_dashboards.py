"""Dashboards of a fleet: what is taken for one, and that a Grafana's folder holds those that are active, no others."""

import hashlib
import json
from pathlib import Path

import pytest
from tools import boards

from littoral.errors import InputError, NodeError, NotFoundError
from littoral.node.updates.dashboards import Dashboards, check_boards
from littoral.updates.boards import BYTES_MAX, read_board
from littoral.updates.deployment.plans import Item, Plan
from littoral.updates.deployment.store import ArtifactStore

PANEL = {"type": "timeseries", "title": "p", "targets": [{"expr": "up"}, {"refId": "B"}]}


def board(*panels: object, **more: object) -> bytes:
    return json.dumps({"title": "Shop", "uid": "shop", "panels": list(panels), **more}).encode()


@pytest.mark.parametrize("name", boards.BOARDS)
def test_the_boards_that_are_shipped_are_taken(name: str) -> None:
    found = read_board((boards.FOLDER / f"{name}.json").read_bytes(), name)
    assert found.title == boards.BOARDS[name][0]
    assert all(panel.expressions for panel in found.panels)


def test_panels_of_closed_rows_count() -> None:
    text = {"type": "text", "title": "t", "options": {"mode": "markdown", "content": "**b**"}}
    found = read_board(board({"type": "row", "panels": [PANEL, text]}, PANEL), "b")
    assert [(panel.kind, panel.expressions) for panel in found.panels] == [
        ("timeseries", ("up",)),
        ("text", ()),
        ("timeseries", ("up",)),
    ]


NESTED: object = "x"
for _ in range(40):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[]", "is no board"),
        (b'{"panels": []}', "is no board"),
        (b" " * (BYTES_MAX + 1), "more than 1048576 bytes"),
        (board(__inputs=[{"name": "DS"}]), "`__inputs`"),
        (board({"title": "without"}), "has no `type`"),
        (board({"type": "text", "title": "h", "options": {"mode": "html"}}), "`h` is HTML"),
        (board({"type": "text", "options": {"content": "<SCRIPT>alert(1)"}}), "brings a script"),
        (board(links=[{"url": "javascript:alert(1)"}]), "brings a script"),
        (board(annotations=NESTED), "deeper than 32"),
        (board(*[PANEL] * 257), "257 panels, at most 256"),
    ],
)
def test_what_is_no_board_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_board(data, "b")


def plan_of(store: ArtifactStore, number: int, **named: bytes) -> Plan:
    items = {}
    for name, data in named.items():
        digest = hashlib.sha256(data).hexdigest()
        store.path(digest).write_bytes(data)
        items[f"dashboards/{name}"] = Item(f"dashboards/{name}/{number}.json", digest, len(data))
    return Plan(number, items)


def test_the_folder_holds_what_is_active_and_nothing_else_is_touched(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path, 1 << 20)
    store.make()
    folder = tmp_path / "grafana"
    folder.mkdir()
    for other in ("own.json", "littoral.gw-2.a.json", "littoral.gw.json"):
        (folder / other).write_text("somebody's")
    (folder / ".littoral.gw-1.a.json.x1").write_text("of a process that was killed")
    found = Dashboards(store, "gw-1", folder)

    def held() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.read_bytes() != b"somebody's"}

    first, second = plan_of(store, 1, a=board(), b=board(PANEL)), plan_of(store, 2, a=board(PANEL, PANEL))
    found.write(first)
    assert held() == {"littoral.gw-1.a.json": board(), "littoral.gw-1.b.json": board(PANEL)}
    kept = (folder / "littoral.gw-1.a.json").stat().st_mtime_ns
    found.write(first)
    assert (folder / "littoral.gw-1.a.json").stat().st_mtime_ns == kept
    found.write(second)
    assert held() == {"littoral.gw-1.a.json": board(PANEL, PANEL)}
    found.write(first)
    assert len(held()) == 2
    found.write(None)
    assert held() == {}
    assert len(list(folder.iterdir())) == 3
    folder.rename(tmp_path / "away")
    found.write(first)
    assert "No such file" in found.problem
    (tmp_path / "away").rename(folder)
    found.write(first)
    assert found.problem == ""


def test_a_damaged_one_is_told_and_not_shown(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path, 1 << 20)
    store.make()
    (tmp_path / "grafana").mkdir()
    found = Dashboards(store, "gw-1", tmp_path / "grafana")
    plan = plan_of(store, 3, a=board(PANEL))
    (told,) = found.told(plan)
    assert (told["name"], told["version"], told["title"], told["problem"]) == ("a", 3, "Shop", "")
    assert told["panels"] == [{"title": "p", "type": "timeseries", "expressions": ("up",)}]
    assert found.read(plan, "a") == board(PANEL)
    with pytest.raises(NotFoundError, match="dashboard `b`"):
        found.read(plan, "b")
    store.path(plan.items["dashboards/a"].sha256).write_bytes(board())
    with pytest.raises(NodeError, match="not those that were signed"):
        found.read(plan, "a")
    assert "not those that were signed" in found.told(plan)[0]["problem"]
    found.write(plan)
    assert "not those that were signed" in found.problem
    assert not list((tmp_path / "grafana").iterdir())
    with pytest.raises(InputError, match=r"dashboards/a/4\.json.: is no board"):
        check_boards(plan_of(store, 4, a=b"{}"), store)
