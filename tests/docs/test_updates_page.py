"""`docs/concepts/updates.md` has every attack with its error, and the times that are set."""

from pathlib import Path

from littoral.updates.metadata.roles import EXPIRIES
from update_attacks import ATTACKS

PAGE = (Path(__file__).parents[2] / "docs/concepts/updates.md").read_text()


def table() -> str:
    rows = [f"| {one.name} | {one.has} | `{one.refused.__name__}` |" for one in ATTACKS]
    return "\n".join(["| attack | with | refused as |", "|---|---|---|", *rows])


def test_every_attack_is_in_the_table() -> None:
    assert len(ATTACKS) >= 25
    assert table() in PAGE, f"expected:\n{table()}"


def test_lives_are_those_of_the_code() -> None:
    for signed, days in {
        "root": EXPIRIES.root_days,
        "targets of the image repository": EXPIRIES.targets_days,
        "snapshot, director's targets": EXPIRIES.director_days,
        "timestamp": EXPIRIES.timestamp_days,
    }.items():
        assert f"| {signed} | {days:.0f} days |" in PAGE
    assert EXPIRIES.snapshot_days == EXPIRIES.director_days
