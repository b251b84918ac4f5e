"""Another site file for a running node: every way that its trial may end."""

from pathlib import Path

import pytest

from littoral.errors import SetupError
from littoral.node.config.texts import SiteTexts, replace_text
from littoral.node.config.trial import Ask, Outcome, Trial
from littoral.node.site import parse_address, parse_site
from littoral.testing.clock import SimulatedClock

OLD = b'[node]\nname = "old"\n'
HOT = b'[node]\nname = "old"\n[limits]\nbody_s = 9\n'
COLD = b'[node]\nname = "new"\n'
LOSSY = b'[node]\nname = "old"\ndata = "elsewhere"\n'
DEADLINE_S = 10.0


class Rig:
    """A trial as a supervisor has it, without processes."""

    def __init__(self, folder: Path, text: bytes = OLD, *, falls_back: bool = False) -> None:
        self.file = folder / "site.toml"
        self.file.write_bytes(text)
        self.clock = SimulatedClock()
        self.texts = SiteTexts(self.file)
        site = parse_site(text, self.file)
        self.trial = Trial(site, text, self.texts, self.clock, falls_back=falls_back)
        self.trial.open()
        self.outcomes: list[Outcome] = []

    def serve(self) -> None:
        self.trial.started()
        self.trial.ready()

    def begin(self, text: bytes, *, is_ready: bool = True) -> None:
        self.trial.begin(text, self.outcomes.append, is_ready=is_ready, deadline_s=DEADLINE_S)

    @property
    def running(self) -> bytes:
        return self.texts.running.read_bytes()

    @property
    def told(self) -> list[str]:
        return [outcome.how for outcome in self.outcomes]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    made = Rig(tmp_path)
    made.serve()
    return made


def test_what_can_be_taken_while_it_serves_is_taken_so(rig: Rig) -> None:
    rig.begin(HOT)
    assert (rig.trial.asks(), rig.running) == ([Ask.LOOK], HOT)
    assert rig.texts.served() == OLD
    rig.trial.looked("")
    assert (rig.told, rig.texts.served(), rig.trial.wake_at()) == (["hot"], HOT, None)


def test_what_the_node_does_not_take_is_taken_back(rig: Rig) -> None:
    rig.begin(HOT)
    rig.trial.looked("model `m`: refused")
    assert rig.outcomes == [Outcome("taken back", "model `m`: refused")]
    assert (rig.running, rig.texts.served(), rig.trial.site.node.name) == (OLD, OLD, "old")


def test_a_restart_counts_once_the_new_node_serves(rig: Rig) -> None:
    rig.begin(COLD)
    assert rig.trial.asks() == [Ask.RESTART]
    rig.trial.ended("exit code 0")  # the one before
    rig.trial.started()
    assert (rig.told, rig.running) == ([], COLD)
    rig.trial.ready()
    assert (rig.told, rig.texts.served()) == (["restarted"], COLD)
    assert rig.trial.site.node.name == "new"


def test_a_node_that_does_not_start_is_taken_back(rig: Rig) -> None:
    rig.begin(COLD)
    rig.trial.started()
    rig.trial.ended("`models.m`: no such file")
    assert rig.outcomes == [Outcome("taken back", "`models.m`: no such file")]
    assert rig.running == OLD
    rig.serve()
    assert (rig.told, rig.texts.served()) == (["taken back"], OLD)


def test_a_node_that_does_not_serve_in_time_is_taken_back(rig: Rig) -> None:
    rig.begin(COLD)
    assert rig.trial.asks() == [Ask.RESTART]
    rig.trial.started()
    rig.clock.advance(DEADLINE_S - 0.1)
    assert rig.trial.asks() == []
    rig.clock.advance(0.1)
    assert rig.trial.asks() == [Ask.RESTART]
    assert (rig.told, rig.running) == (["taken back"], OLD)


def test_a_hot_change_of_a_node_that_does_not_serve_is_a_restart(rig: Rig) -> None:
    rig.begin(HOT, is_ready=False)
    assert rig.trial.asks() == [Ask.RESTART]


def test_one_at_a_time(rig: Rig) -> None:
    rig.begin(COLD)
    rig.begin(HOT)
    assert (rig.told, rig.running) == (["busy"], COLD)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"[nodes]", "`nodes` is unknown"),
        (b"\xff", "no UTF-8 text"),
        (LOSSY, "`node.data`"),
        (b"x" * (2 << 20), "over"),
    ],
)
def test_what_cannot_be_is_not_tried(rig: Rig, text: bytes, why: str) -> None:
    rig.begin(text)
    (outcome,) = rig.outcomes
    assert outcome.how == "refused"
    assert why in outcome.why
    assert (rig.trial.asks(), rig.running) == ([], OLD)


def test_a_comment_is_no_change(rig: Rig) -> None:
    rig.begin(b"# of today\n" + OLD)
    assert (rig.told, rig.trial.asks()) == (["same"], [])
    assert rig.texts.served() == rig.running == b"# of today\n" + OLD


def test_a_signal_takes_the_file_as_it_is(rig: Rig) -> None:
    rig.trial.look(rig.outcomes.append, is_ready=True)
    assert (rig.trial.asks(), rig.told) == ([Ask.REFRESH], [])
    rig.file.write_bytes(HOT)
    rig.trial.look(rig.outcomes.append, is_ready=True)
    assert rig.trial.asks() == [Ask.LOOK, Ask.REFRESH]
    rig.file.unlink()
    rig.trial.looked("")
    rig.trial.look(rig.outcomes.append, is_ready=True)
    assert (rig.told, rig.trial.asks()) == (["hot", "refused"], [Ask.REFRESH])


def test_the_address_of_the_command_line_stays(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    listen = parse_address("127.0.0.1:1234")
    trial = Trial(parse_site(OLD, file).listening_at(listen), OLD, SiteTexts(file), SimulatedClock(), listen=listen)
    trial.open()
    trial.begin(COLD.replace(b"new", b'new"\nlisten = "127.0.0.1:99'), lambda _: None, is_ready=True)
    assert trial.arguments()[2:] == [str(file), "127.0.0.1:1234", str(SiteTexts(file).running)]
    assert trial.site.node.name == "new"


def test_only_who_was_asked_to_falls_back_to_what_served_last(tmp_path: Path) -> None:
    Rig(tmp_path).serve()
    assert not Rig(tmp_path, COLD).trial.fall_back()
    rig = Rig(tmp_path, COLD, falls_back=True)
    assert rig.trial.fall_back()
    assert (rig.running, rig.trial.site.node.name) == (OLD, "old")
    assert not rig.trial.fall_back()


def test_without_a_place_for_the_copy_the_node_reads_the_file(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    file = tmp_path / "site.toml"
    trial = Trial(parse_site(OLD, file), OLD, SiteTexts(file), SimulatedClock())
    trial.open()
    assert trial.arguments()[2:] == [str(file), "127.0.0.1:8642"]
    told: list[Outcome] = []
    trial.begin(COLD, told.append, is_ready=True)
    assert (told[0].how, trial.asks()) == ("refused", [])
    with pytest.raises(SetupError, match="state folder"):
        SiteTexts(file).make()


def test_what_a_site_file_said_before_is_kept_beside_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, file = tmp_path / "real/site.toml", tmp_path / "site.toml"
    real.write_bytes(OLD)
    real.chmod(0o640)
    file.symlink_to(real)
    previous = replace_text(file, COLD)
    assert (file.is_symlink(), file.read_bytes(), previous.read_bytes()) == (True, COLD, OLD)
    assert {path.stat().st_mode & 0o777 for path in (real, previous)} == {0o640}
    assert sorted(path.name for path in real.parent.iterdir()) == ["site.toml", "site.toml.previous"]
