"""The hair of a synthetic face: what falls behind the neck, and what frames the face."""

from __future__ import annotations

import numpy as np

from mrdist.datasets._face_canvas import Canvas, Floats, smoothstep
from mrdist.datasets._face_traits import HEAD_TOP, HEAD_Y, Person


def paint_back_hair(canvas: Canvas, person: Person) -> None:
    """Hair that falls behind the neck."""
    length = {"bob": 0.86, "long": 1.3}.get(person.style)
    if length is None:
        return
    canvas = canvas.window(0, 0.38, 1, 1)
    half = person.width + person.volume + 0.02
    # A wavy column with round corners below.
    u = np.abs(canvas.x - 0.5) + np.float32(0.006) * np.sin(11 * canvas.y - 5.5)
    v = np.maximum(canvas.y - length + 0.3, 0)
    fall = np.hypot(np.maximum(u - half + 0.12, 0) / 0.12, v / 0.3) - 1
    cover = canvas.inside(fall * np.float32(0.12), 0.008) * smoothstep((canvas.y - 0.38) / 0.06)
    _paint_hair(canvas, person, cover, _strands(canvas, person), 0.72)


def paint_front_hair(canvas: Canvas, person: Person) -> None:
    """Hair over the forehead and along the sides."""
    long = person.style in ("bob", "long")
    if not long:
        canvas = canvas.window(0, 0, 1, 0.56)
    strands = _strands(canvas, person)
    u = (canvas.x - 0.5) / (person.width - 0.025)
    line = person.hairline + (0.26 if long else 0.24) * np.abs(u) ** (3.0 if long else 5.0)
    if person.style == "fringe":
        line += 0.06
    elif person.style == "parted":
        sweep = u * (1 if person.part < 0 else -1)
        line += 0.13 * smoothstep((0.6 - sweep) / 1.6) - 0.045
    line = line + np.float32(0.01 if person.style == "curly" else 0.03) * strands
    spread = person.volume + (0.035 if person.style == "curly" else 0.0)
    side = person.width + (0.012 if person.style in ("short", "parted", "fringe") else spread + 0.025 * long)
    centre, lower = (HEAD_Y, 6.0) if long else (0.38, 0.15)
    v = canvas.y - np.float32(centre)
    v = np.where(v < 0, v / (centre - HEAD_Y + HEAD_TOP + spread), v / lower).astype(np.float32)
    du = (canvas.x - 0.5) / side
    outline = np.sqrt(du * du + v * v - 0.25 * np.minimum(du * du, 1) * v * v) - 1
    if person.style == "curly":
        outline += np.float32(0.05) * canvas.waves(np.arctan2(v, du), (16.0, 27.0))
    cover = canvas.inside(outline * np.float32(side), 0.006) * (1 - canvas.below(line, 0.018))
    if person.style == "bob":
        cover *= smoothstep((0.80 - canvas.y) / 0.06)
    _paint_hair(canvas, person, cover, strands, 1.0)


def _strands(canvas: Canvas, person: Person) -> Floats:
    """Lightness of the hairs, about -0.5 to 0.5: they fall from the parting."""
    dx, dy = canvas.x - np.float32(0.5 + 0.35 * person.part), canvas.y + np.float32(0.12)
    distance = np.sqrt(dx * dx + dy * dy)
    angle = np.arctan2(dx, dy)
    if person.style == "curly":
        angle += np.float32(0.035) * np.sin(60 * distance) + np.float32(0.02) * np.sin(90 * dx)
    else:
        angle += np.float32(0.03) * np.sin(9 * distance + 7 * angle)
    return canvas.waves(angle, (13.0, 37.0, 71.0, 127.0, 211.0, 331.0), 1 / distance)


def _paint_hair(canvas: Canvas, person: Person, cover: Floats, strands: Floats, tone: float) -> None:
    """Hair with a band of sheen, brighter towards the light."""
    dx, dy = canvas.x - np.float32(0.5), canvas.y - np.float32(0.42)
    arc = (np.sqrt(dx * dx + dy * dy) - 0.35 + 0.04 * strands) / 0.04
    sheen = np.exp(-arc * arc) * smoothstep(-dy / 0.2)
    side = 1 + np.float32(0.7 * person.light[0]) * dx
    value = np.float32(tone) * side * (0.95 + np.float32(0.45) * strands)
    color = np.array(person.hair, np.float32)[:, None, None] * value
    canvas.paint(color + np.float32(30 * tone) * sheen * (0.6 + strands) * side, cover)
