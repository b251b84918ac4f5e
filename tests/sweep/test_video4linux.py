"""`littoral camera` on a device of Video4Linux, where there is one: no module of a kernel can be brought along."""

from itertools import islice
from pathlib import Path

import pytest

from littoral.camera.source import Shape, Source
from littoral.errors import InputError
from needs import need


def test_a_device_gives_pictures() -> None:
    devices = sorted(Path("/dev").glob("video*"))
    need(devices, "a device of Video4Linux; `modprobe vivid` makes one")
    for device in devices:
        try:
            found = list(islice(Source(str(device), fps=10, shape=Shape(width=320)).pictures(), 5))
        except InputError:  # not every device takes pictures
            continue
        assert all(isinstance(picture.data, bytes) and picture.data.startswith(b"\xff\xd8\xff") for picture in found)
        return
    pytest.fail(f"none of {devices} gives pictures")
