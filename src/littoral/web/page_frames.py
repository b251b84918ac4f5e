"""The frame that all pages have, made for a set of them: the bar's links, the modules, and what stands in a page before
any script has run.
"""

import re
from collections.abc import Mapping
from html import escape
from pathlib import PurePosixPath
from typing import NamedTuple

from littoral.web.page_assets import PageAssets

__all__ = ["FRAME", "Frame", "framed", "outlined"]

FRAME = "page.html"
AREA = '<div id="page" class="page">'
TITLE = "<title>Littoral</title>"
NAV = re.compile(r'(<nav class="sections"[^>]*>\n).*?(\s*</nav>)', re.DOTALL)
MODULES = re.compile(r'(?:  <link rel="modulepreload"[^\n]*\n)+  <script src="[^"]*" type="module"></script>\n')
STYLES = re.compile(r'(?:  <link rel="stylesheet"[^\n]*\n)+')
DESCRIPTION = re.compile(r'(<meta name="description" content=")[^"]*')
TWIN = re.compile(r'(<noscript>.*?)the node answers in JSON: <a href="[^"]*">[^<]*</a>', re.DOTALL)
IMPORT = re.compile(r'^import .* from "([^"]+)";$', re.MULTILINE)


class Frame(NamedTuple):
    """links: titles by address, in the order of the bar. entry: the module that a page begins with. twin: where the
    same is as JSON. styles, entry: names among the assets.
    """

    description: str
    links: Mapping[str, str]
    entry: str
    styles: tuple[str, ...]
    twin: str


def framed(assets: PageAssets, frame: Frame) -> str:
    """The text that these pages have in common. Every module is named in it, so that all are fetched at once."""
    links = "\n".join(f'      <a href="{escape(path)}">{escape(title)}</a>' for path, title in frame.links.items())
    styles = "".join(f'  <link rel="stylesheet" href="/assets/{name}">\n' for name in frame.styles)
    modules = "".join(
        f'  <link rel="modulepreload" href="/assets/{name}">\n' for name in _imported(assets, frame.entry)
    )
    modules += f'  <script src="/assets/{frame.entry}" type="module"></script>\n'
    text = NAV.sub(lambda found: f"{found[1]}{links}{found[2]}", assets.text(FRAME))
    text = MODULES.sub(lambda _: modules, text)
    text = STYLES.sub(lambda _: styles, text)
    text = DESCRIPTION.sub(lambda found: found[1] + escape(frame.description), text)
    return TWIN.sub(lambda found: f'{found[1]}the same is there as JSON: <a href="{frame.twin}">{frame.twin}</a>', text)


def _imported(assets: PageAssets, entry: str) -> list[str]:
    """The entry first, then what it imports, and so on."""
    found, left = {entry: None}, [entry]
    while left:
        name = left.pop()
        for path in IMPORT.findall(assets.text(name)):
            wanted = _joined(PurePosixPath(name).parent, path)
            if wanted not in found:
                found[wanted] = None
                left.append(wanted)
    first, *others = found
    return [first, *sorted(others)]


def _joined(folder: PurePosixPath, path: str) -> str:
    parts = list(folder.parts)
    for part in PurePosixPath(path).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def outlined(page: str, link: str, panels: Mapping[str, str], *, title: str | None = None) -> str:
    """With a title, its place in the bar, and its panels, still empty. page: the text that all pages have in common.
    link: of the bar. panels: titles by their ids. title: another than the link's.
    """
    anchor = f'href="{link}">'
    title = title or page.partition(anchor)[2].partition("<")[0]
    return (
        page.replace(TITLE, f"<title>{title} · Littoral</title>")
        .replace(anchor, f'href="{link}" aria-current="page">')
        .replace(AREA, AREA + "".join(_panel(panel, text) for panel, text in panels.items()))
    )


def _panel(panel: str, text: str) -> str:
    return (
        f'<section id="{panel}" class="panel" aria-labelledby="{panel}-title">'
        f'<header><h2 id="{panel}-title">{escape(text)}</h2></header><div class="waiting"></div></section>'
    )
