"""A picture of a pipeline: SVG, which browsers and editors show and drawing programs open."""

from __future__ import annotations

from typing import Final

from motoko.pipeline.steps import Pipeline

_HEIGHT: Final = 36
_LETTER: Final = 8
_GAP: Final = 48
_MARGIN: Final = 16
_STYLE: Final = (
    "rect{fill:#eef3fb;stroke:#4a6fa5}text{font:14px sans-serif;text-anchor:middle}"
    "path{fill:none;stroke:#555}"
)
_ARROW: Final = (
    '<marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8"'
    ' orient="auto"><path d="M0 0L8 4L0 8z" style="fill:#555;stroke:none"/></marker>'
)


def picture(pipeline: Pipeline) -> str:
    """The steps as boxes, each row below all that it requires, in SVG."""
    from xml.sax.saxutils import escape  # imports much, and few ask for a picture

    rows = _rows(pipeline)
    widths = {step.name: _LETTER * len(step.name) + 24 for step in pipeline}
    lengths = [sum(widths[n] for n in row) + _GAP * (len(row) - 1) for row in rows]
    width = max(lengths, default=0) + 2 * _MARGIN
    height = len(rows) * (_HEIGHT + _GAP) - _GAP * bool(rows) + 2 * _MARGIN
    middles: dict[str, tuple[float, float]] = {}
    for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        left = (width - length) / 2
        for name in row:
            middles[name] = (left + widths[name] / 2, _MARGIN + i * (_HEIGHT + _GAP))
            left += widths[name] + _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
        f' width="{width:g}" height="{height:g}">',
        f"<style>{_STYLE}</style><defs>{_ARROW}</defs>",
    ]
    for step in pipeline:
        x, y = middles[step.name]
        for required in step.requires:
            from_x, from_y = middles[required]
            from_y += _HEIGHT
            bend = (from_y + y) / 2
            line = f"M{from_x:g} {from_y:g}C{from_x:g} {bend:g} {x:g} {bend:g} {x:g} {y:g}"
            parts.append(f'<path d="{line}" marker-end="url(#arrow)"/>')
    for name, (x, y) in middles.items():
        parts.append(
            f'<rect x="{x - widths[name] / 2:g}" y="{y:g}" width="{widths[name]}"'
            f' height="{_HEIGHT}" rx="6"/><text x="{x:g}" y="{y + 23:g}">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _rows(pipeline: Pipeline) -> list[list[str]]:
    """Steps by how many stand before them in a chain."""
    depths: dict[str, int] = {}
    rows: list[list[str]] = []
    for step in pipeline:
        depth = max((depths[name] + 1 for name in step.requires), default=0)
        depths[step.name] = depth
        rows[depth:] = rows[depth:] or [[]]
        rows[depth].append(step.name)
    return rows
