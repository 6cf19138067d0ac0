"""Bars as SVG: a report's charts, without a plotting library."""

from collections.abc import Sequence
from html import escape

BAR, GAP, LEFT, WIDTH = 22, 10, 190, 640
COLOURS = ("#2f6f9f", "#b9c7d3", "#7a9e5a", "#c98b3b")


def bars(
    title: str, rows: Sequence[tuple[str, Sequence[float | None]]], *, series: Sequence[str] = (), most: float = 1.0, unit: str = "%"
) -> str:
    """One group of bars a row, one bar a series; `None` has none. With the unit "%" values are shares, 0 to 1."""
    per_row = max((len(values) for _, values in rows), default=1)
    height = 40 + len(rows) * (per_row * BAR + GAP) + (24 if series else 0)
    parts = [f'<text x="10" y="22" class="t">{escape(title)}</text>']
    y = 36
    for name, values in rows:
        parts.append(f'<text x="{LEFT - 8}" y="{y + per_row * BAR / 2 + 4:.0f}" class="n">{escape(name)}</text>')
        for number, value in enumerate(values):
            parts += _bar(y + number * BAR, value, most, unit, COLOURS[number % len(COLOURS)])
        y += per_row * BAR + GAP
    for number, name in enumerate(series):
        x = LEFT + number * 140
        parts.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="{COLOURS[number % len(COLOURS)]}"/>')
        parts.append(f'<text x="{x + 18}" y="{y + 11}">{escape(name)}</text>')
    style = "text{font:13px sans-serif;fill:#222}.t{font-weight:bold}.n{text-anchor:end}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
    return f'{head}<style>{style}</style><rect width="{WIDTH}" height="{height}" fill="#fff"/>{"".join(parts)}</svg>\n'


def _bar(y: float, value: float | None, most: float, unit: str, colour: str) -> list[str]:
    if value is None:
        return [f'<text x="{LEFT + 4}" y="{y + 15:.0f}">not measured</text>']
    length = (WIDTH - LEFT - 90) * min(max(value / most, 0.0), 1.0)
    told = f"{value:.0%}" if unit == "%" else f"{value:.3g} {unit}"
    return [
        f'<rect x="{LEFT}" y="{y:.0f}" width="{length:.1f}" height="{BAR - 4}" fill="{colour}"/>',
        f'<text x="{LEFT + length + 6:.1f}" y="{y + 14:.0f}">{escape(told)}</text>',
    ]
