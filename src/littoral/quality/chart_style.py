"""What the charts of layers share: colours, light or dark as the reader's screen is, and sizes in pixels."""

__all__ = ["HEAD", "MARGIN", "ROW", "STYLE", "shortened"]

ROW = 18
HEAD, MARGIN = 58, 12
NAME_LETTERS_MAX = 44

STYLE = """
  svg { background: #ffffff; color: #1d2733; font: 12px system-ui, sans-serif }
  text { fill: currentColor } .title { font-size: 16px; font-weight: 600 } .quiet { opacity: .65 }
  .limit { stroke: currentColor; stroke-width: 1.5; opacity: .55 }
  .k0 { fill: #2f6fb0 } .k1 { fill: #c2622d } .k2 { fill: #3f8f5c } .k3 { fill: #8a5bb0 } .k4 { fill: #a3892b }
  .k5 { fill: #7a8794 }
  @media (prefers-color-scheme: dark) {
    svg { background: #12181f; color: #dde5ee }
    .k0 { fill: #6aa9e9 } .k1 { fill: #ea9364 } .k2 { fill: #6fc48d } .k3 { fill: #b893dd } .k4 { fill: #d3ba5c }
    .k5 { fill: #98a5b3 }
  }
"""


def shortened(name: str) -> str:
    """The end of a long name, which is what tells layers apart."""
    return name if len(name) <= NAME_LETTERS_MAX else f"…{name[1 - NAME_LETTERS_MAX :]}"
