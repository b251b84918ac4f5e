"""Texts that must lie nowhere in the clear, looked for in files."""

import base64
from pathlib import Path

__all__ = ["on_disk"]


def on_disk(folder: Path, text: str) -> list[str]:
    """Files in which it stands, in any form that this code or the store may write text in."""
    plain = text.encode()
    forms = [plain, plain[::-1], text.encode("utf-16-le"), text.encode("utf-32-le"), plain.hex().encode()]
    forms += [base64.b64encode(plain[at : at + 9])[:12] for at in range(3)]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if any(form in path.read_bytes() for form in forms)]
