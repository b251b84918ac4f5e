"""The JavaScript of a bundle: small modules of this package, joined to one without imports of its own.

They import each other by name only, `import { a, b } from "./file.mjs"`, and no two of them declare the same name, so
that joining is leaving out the imports. Anything else that is imported (`./model.wasm`, `node:http`) stays.
"""

import re
from collections.abc import Callable, Mapping
from importlib import resources

__all__ = ["linked", "source_of"]

FOLDER = "js"
_OWN = re.compile(r'^import \{([^}]*)\} from "\./(\w+\.mjs)";\n', re.MULTILINE)
_OTHER = re.compile(r'^import [^;]* from "[^"]+";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)
_DECLARED = re.compile(r"^(?:export )?(?:async )?(?:function\*?|class|const|let) +(\w+)", re.MULTILINE)


def source_of(name: str) -> str:
    """A module of the package."""
    return (resources.files("littoral.bundle") / FOLDER / name).read_text(encoding="utf-8")


def linked(entry: str, made: Mapping[str, str], read: Callable[[str], str] = source_of) -> str:
    """One module: `entry` with all that it imports before it; its own exports stay, the others' go.

    made: modules that are no files, by name. Raises ValueError where two modules declare one name.
    """
    order: dict[str, str] = {}

    def visit(name: str) -> None:
        if name in order:
            return
        text = made[name] if name in made else read(name)
        for _, imported in _OWN.findall(text):
            visit(imported)
        order[name] = text

    visit(entry)
    _check_names(order)
    outside = {line: None for text in order.values() for line in _OTHER.findall(_OWN.sub("", text))}
    bodies = [_body(text, is_entry=name == entry) for name, text in order.items()]
    return "\n".join(part for part in ("".join(outside), *bodies) if part)


def _body(text: str, *, is_entry: bool) -> str:
    inside = _OTHER.sub("", _OWN.sub("", text)).strip("\n") + "\n"
    return inside if is_entry else _EXPORT.sub("", inside)


def _check_names(modules: Mapping[str, str]) -> None:
    declared: dict[str, str] = {}
    for name, text in modules.items():
        for found in _DECLARED.findall(text):
            if declared.setdefault(found, name) != name:
                raise ValueError(f"`{found}` is declared in `{declared[found]}` and in `{name}`")
