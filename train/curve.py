"""A line chart as SVG: a few series of points over one axis."""

import math
from collections.abc import Mapping, Sequence

COLOURS = ("#2a6f97", "#e09f3e", "#9e2a2b", "#5b8e7d", "#7d8597")
WIDTH, HEIGHT, LEFT, TOP = 760, 320, 70, 40


def curves(series: Mapping[str, Sequence[tuple[float, float]]], *, across: str, up: str, low: float | None = None) -> str:
    """The series (x, y) as lines with dots; the axes are named `across` and `up`, and y begins at `low` or a little below the least."""
    points = [point for each in series.values() for point in each]
    least_x, most_x = min(x for x, _ in points), max(x for x, _ in points)
    least_y, most_y = min(y for _, y in points) if low is None else low, max(y for _, y in points)
    step = _step(most_y - least_y)
    least_y, most_y = math.floor(least_y / step + 1e-9) * step, math.ceil(most_y / step - 1e-9) * step

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - least_x) / (most_x - least_x or 1) * (WIDTH - LEFT - 30),
            TOP + HEIGHT * (1 - (y - least_y) / (most_y - least_y or 1)),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT + TOP + 55}" font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number in range(round((most_y - least_y) / step) + 1):
        value = least_y + number * step
        _, y = place(least_x, value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 30}" y1="{y:.0f}" y2="{y:.0f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{value:.3g}</text>')
    along = _step(most_x - least_x)
    for number in range(math.ceil(least_x / along - 1e-9), math.floor(most_x / along + 1e-9) + 1):
        x, _ = place(number * along, least_y)
        parts.append(f'<text x="{x:.0f}" y="{TOP + HEIGHT + 20}" text-anchor="middle">{number * along:.3g}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{TOP + HEIGHT + 42}" text-anchor="middle">{across}</text>')
    parts.append(f'<text transform="translate(18 {TOP + HEIGHT / 2:.0f}) rotate(-90)" text-anchor="middle">{up}</text>')
    for index, ((name, found), colour) in enumerate(zip(series.items(), COLOURS, strict=False)):
        placed = [place(x, y) for x, y in found]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed]
        x = LEFT + index * (WIDTH - LEFT) / len(series)
        parts.append(f'<rect x="{x:.0f}" y="12" width="12" height="12" fill="{colour}"/><text x="{x + 18:.0f}" y="23">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _step(span: float) -> float:
    """A round distance of which four to nine fit into a span."""
    if span <= 0:
        return 1.0
    unit = float(10 ** math.floor(math.log10(span)))
    return next(unit * share for share in (1, 0.5, 0.2, 0.1) if span / (unit * share) >= 4)
