"""The figures of one or more models as a table in Markdown and as bars in SVG."""

from collections.abc import Mapping, Sequence
from statistics import mean

Tally = Mapping[str, tuple[int, int]]
"""(right, all) by attribute, as `train.evaluate.tally` makes it."""
SHOWN = {
    "colour": "colour",
    "shape": "shape",
    "count": "how many",
    "word": "word read",
    "direction": "direction",
    "speed": "speed",
    "order": "order",
    "second": "time, to the second",
    "within 1 s": "time, within 1 s",
    "caption": "whole caption",
}
BARS = ("colour", "shape", "direction", "speed", "order", "second", "caption")
"""What a picture has room for."""
CHANCE = {"direction": 1 / 4, "speed": 1 / 2}
"""Shares that guessing gives."""
COLOURS = ("#2a6f97", "#e09f3e", "#9e2a2b", "#7d8597", "#5b8e7d")


def table(columns: Mapping[str, Sequence[Tally]]) -> str:
    """A row for each attribute, a column for each name; over several tallies the mean, with the lowest and the highest."""
    lines = [f"| | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    for name, shown in SHOWN.items():
        lines.append(f"| {shown} | {' | '.join(_cell([each for each in tallies if name in each], name) for tallies in columns.values())} |")
    lines.append(f"| clips | {' | '.join(' + '.join(str(each['caption'][1]) for each in tallies) for tallies in columns.values())} |")
    return "\n".join(lines)


def _cell(tallies: Sequence[Tally], name: str) -> str:
    shares = [right / seen for right, seen in (each[name] for each in tallies)]
    if not shares:
        return "–"
    spread = f" ({min(shares):.3f}–{max(shares):.3f})" if len(shares) > 1 else ""
    return f"{mean(shares):.3f}{spread}"


def bars(columns: Mapping[str, Sequence[Tally]], names: Sequence[str] = BARS, *, chance: Mapping[str, float] = CHANCE) -> str:
    """An SVG of grouped bars: a group for each attribute, a bar for each column, a dash where guessing would be."""
    width, height, left, top = 900, 330, 50, 50
    group = (width - left - 20) / len(names)
    bar = group * 0.8 / len(columns)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + top + 40}" font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for tenth in range(0, 11, 2):
        y = top + height * (1 - tenth / 10)
        parts.append(f'<line x1="{left}" x2="{width - 20}" y1="{y:.0f}" y2="{y:.0f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.0f}" text-anchor="end">{tenth / 10:.1f}</text>')
    for place, name in enumerate(names):
        start = left + place * group + group * 0.1
        for index, (tallies, colour) in enumerate(zip(columns.values(), COLOURS, strict=False)):
            share = mean(each[name][0] / each[name][1] for each in tallies)
            x, tall = start + index * bar, height * share
            parts.append(f'<rect x="{x:.1f}" y="{top + height - tall:.1f}" width="{bar - 2:.1f}" height="{tall:.1f}" fill="{colour}"/>')
            middle, above = x + bar / 2 - 1, top + height - tall - 4
            parts.append(f'<text x="{middle:.1f}" y="{above:.1f}" text-anchor="middle" font-size="10">{100 * share:.0f}</text>')
        if name in chance:
            y = top + height * (1 - chance[name])
            parts.append(
                f'<line x1="{start - 4:.1f}" x2="{start + bar * len(columns) + 2:.1f}" y1="{y:.1f}" y2="{y:.1f}" '
                'stroke="black" stroke-dasharray="4 3"/>'
            )
        parts.append(f'<text x="{start + group * 0.4:.1f}" y="{top + height + 20}" text-anchor="middle">{SHOWN[name]}</text>')
    x = float(left)
    for label, colour in zip(columns, COLOURS, strict=False):
        parts.append(f'<rect x="{x:.0f}" y="14" width="12" height="12" fill="{colour}"/><text x="{x + 18:.0f}" y="25">{label}</text>')
        x += 40 + 7 * len(label)
    return "\n".join([*parts, "</svg>"]) + "\n"
