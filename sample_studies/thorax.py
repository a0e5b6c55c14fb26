"""What stands where in a made-up chest, in Hounsfield units?

One anatomy serves the CT slices and, projected, the radiograph. Coordinates are millimetres in the
patient: x to the left, y to the back, z to the head; the origin lies in the middle of the chest at
the level of the lung apices (the chest is at negative z). Shapes have edges about one pixel wide.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Point = tuple[float, float, float]

AIR, LUNG, FAT, WATER, BLOOD, MUSCLE, LIVER = -1000.0, -860.0, -100.0, 0.0, 42.0, 55.0, 62.0
MARROW, CORTEX = 240.0, 780.0
NODULE_HU = 35.0
NODULE_CENTRE: Point = (-78.0, -12.0, -92.0)
NODULE_RADIUS = 7.0
LUNG_BASE = -235.0


@dataclass(frozen=True)
class Ellipse:
    """A superellipse in one plane: `power` 2 is an ellipse, more is squarer; `turn` in radians."""

    x: float
    y: float
    a: float
    b: float
    power: float = 2.0
    turn: float = 0.0


@dataclass(frozen=True)
class Tube:
    """A vessel, airway or straight bone between two points."""

    start: Point
    end: Point
    radius: float


@dataclass
class Slice:
    """One plane being painted, shape (len(y), len(x)), values in HU."""

    x: Plane
    y: Plane
    edge: float
    hu: Plane = field(init=False)

    def __post_init__(self) -> None:
        """Begin with air."""
        self.hu = np.full((self.y.size, self.x.size), AIR, np.float32)

    def window(self, x: float, y: float, a: float, b: float) -> tuple[slice, slice]:
        """Rows and columns within `a` and `b` of a point, an edge more on each side."""
        left, right = np.searchsorted(self.x, (x - a - self.edge, x + a + self.edge))
        top, bottom = np.searchsorted(self.y, (y - b - self.edge, y + b + self.edge))
        return slice(top, bottom), slice(left, right)

    def share(self, shape: Ellipse, part: tuple[slice, slice]) -> Plane:
        """How much of each pixel of `part` lies inside `shape`, 0 to 1."""
        x, y = (self.x[part[1]] - shape.x)[None, :], (self.y[part[0]] - shape.y)[:, None]
        if shape.turn:
            c, s = math.cos(shape.turn), math.sin(shape.turn)
            x, y = c * x + s * y, c * y - s * x
        power = np.float32(shape.power)
        u, v = np.abs(x / np.float32(shape.a)), np.abs(y / np.float32(shape.b))
        inside = 1 - (u**power + v**power) ** (1 / power)
        share = np.clip(inside * min(shape.a, shape.b) / self.edge + 0.5, 0, 1)
        return np.asarray(share, np.float32)

    def paint(self, shape: Ellipse, hu: float) -> None:
        """Fill a shape."""
        reach = (max(shape.a, shape.b),) * 2 if shape.turn else (shape.a, shape.b)
        part = self.window(shape.x, shape.y, *reach)
        self.blend(part, self.share(shape, part), hu)

    def blend(self, part: tuple[slice, slice], share: Plane, hu: float | Plane) -> None:
        """Mix `hu` into a part of the plane."""
        self.hu[part] += share * (hu - self.hu[part])

    def tube(self, tube: Tube, z: float, hu: float) -> None:
        """Fill the cut of a tube with the plane at height `z`."""
        (x0, y0, z0), (x1, y1, z1), r = tube.start, tube.end, tube.radius
        if not min(z0, z1) - r < z < max(z0, z1) + r:
            return
        part = self.window((x0 + x1) / 2, (y0 + y1) / 2, abs(x1 - x0) / 2 + r, abs(y1 - y0) / 2 + r)
        x, y = self.x[part[1]][None, :] - x0, self.y[part[0]][:, None] - y0
        if not x.size or not y.size:
            return
        dx, dy, dz, up = x1 - x0, y1 - y0, z1 - z0, z - z0
        length = dx * dx + dy * dy + dz * dz + 1e-6
        along = np.clip((x * dx + y * dy + up * dz) / length, 0, 1)
        away = np.sqrt((x - along * dx) ** 2 + (y - along * dy) ** 2 + (up - along * dz) ** 2)
        self.blend(part, np.clip((r - away) / self.edge + 0.5, 0, 1), hu)


def _bump(value: float, low: float, high: float) -> float:
    """0 below `low`, 1 above `high`, smooth between."""
    t = min(max((value - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


# --- outlines ----------------------------------------------------------------------------------


def skin(z: float) -> Ellipse:
    """The outline of the body: chest, shoulders above it, then the neck."""
    wide = 168 - 10 * _bump(-z, 230, 330)
    if z > -40:
        wide += 42 * _bump(z, -40, 8)
    if z > 18:
        wide -= 146 * _bump(z, 18, 62)
    deep = 112 - 26 * _bump(z, -60, 30) - 22 * _bump(z, 30, 70)
    return Ellipse(0, 4 + 10 * _bump(z, -60, 40), wide, deep, 2.5)


def cage(z: float) -> Ellipse:
    """The wall of the thoracic cavity (middle of the ribs)."""
    growth = math.sqrt(max(0.0, 1 - (1 - min(1.0, max(0.0, (8 - z) / 150))) ** 2))
    return Ellipse(0, 3, 60 + 80 * growth, 46 + 44 * growth, 2.25)


def _dome(x: Plane, y: Plane, side: float) -> Plane:
    """Height of the diaphragm on one side (+1 left), shape (len(y), len(x))."""
    top = -206.0 if side < 0 else -218.0
    return np.asarray(
        top
        - ((x[None, :] - side * 70) / 74) ** 2 * 34
        - np.maximum(0, (y[:, None] - 0) / 78) ** 2 * 62
        - np.maximum(0, -(y[:, None] + 8) / 78) ** 2 * 22,
        np.float32,
    )


# --- vessels -----------------------------------------------------------------------------------


def _inside_lung(point: Point, side: float) -> bool:
    x, y, z = point
    wall = cage(z)
    near = ((x - wall.x) / (wall.a - 12)) ** 2 + ((y - wall.y) / (wall.b - 12)) ** 2
    floor = float(_dome(np.array([x], np.float32), np.array([y], np.float32), side)[0, 0])
    return near < 1 and side * x > 16 and floor + 3 < z < 4


def _branch(
    start: Point,
    heading: NDArray[np.float64],
    radius: float,
    side: float,
    random: np.random.Generator,
) -> Iterator[Tube]:
    """A vessel and what grows from it, thinner at each fork."""
    if radius < 0.42:
        return
    point = np.array(start)
    for _ in range(3):
        step = (4.2 + 3.4 * radius) * random.uniform(0.7, 1.2)
        heading = heading + random.normal(0, 0.16, 3)
        heading /= np.linalg.norm(heading)
        following = point + step * heading
        if not _inside_lung((following[0], following[1], following[2]), side):
            return
        yield Tube(
            (point[0], point[1], point[2]), (following[0], following[1], following[2]), radius
        )
        point = following
    for sign in (-1, 1):
        turn = random.normal(0, 0.62, 3) + sign * random.uniform(0.2, 0.5)
        shrink = random.uniform(0.66, 0.84)
        yield from _branch(
            (point[0], point[1], point[2]), heading + turn, radius * shrink, side, random
        )


def lung_vessels(seed: int = 3) -> list[Tube]:
    """The trees of both lungs, grown from the hila."""
    random = np.random.default_rng(seed)
    tubes: list[Tube] = []
    for side in (-1.0, 1.0):
        for _ in range(30):
            start = (
                side * random.uniform(30, 40),
                random.uniform(-8, 18),
                random.uniform(-138, -100),
            )
            up = random.choice([1.3, 0.5, -0.4, -1.0, -1.6])
            heading = np.array([side * random.uniform(0.35, 1.1), random.normal(0, 0.75), up])
            tubes += _branch(start, heading, random.uniform(2.2, 3.6), side, random)
    return tubes


# --- bones -------------------------------------------------------------------------------------


def _straight_bones() -> list[tuple[Tube, float]]:
    """Collar bones and shoulder blades, as tubes with their core's HU."""
    bones: list[tuple[Tube, float]] = []
    for side in (-1, 1):
        inner, bend, outer = (side * 22, -52, -18), (side * 75, -42, -2), (side * 140, 8, 14)
        bones += [(Tube(inner, bend, 5.5), 420.0), (Tube(bend, outer, 5.0), 420.0)]
        for i in range(14):
            top = (side * (148 - 3.5 * i), 52 + 2.5 * i, 4.0)
            bottom = (side * (116 - 1.5 * i), 84.0 + i, -116.0)
            bones.append((Tube(top, bottom, 2.6), 300.0))
        bones.append((Tube((side * 148, 20, 4), (side * 150, 48, -8), 11.0), 330.0))
    return bones


def _ribs(plane: Slice, z: float) -> None:
    """Paint the cuts of the ribs, which fall from the spine to the front."""
    wall = cage(z)
    part = plane.window(wall.x, wall.y, wall.a + 8, wall.b + 8)
    u = (plane.x[part[1]] - wall.x)[None, :] / np.float32(wall.a)
    v = (plane.y[part[0]] - wall.y)[:, None] / np.float32(wall.b)
    radius = np.sqrt(np.abs(u) ** 2 + np.abs(v) ** 2) + np.float32(1e-6)
    away = (((np.abs(u) ** 2.25 + np.abs(v) ** 2.25) ** (1 / 2.25)) - 1) * min(wall.a, wall.b)
    band = np.abs(away) < 7
    # 0 at the spine, 1 at the breastbone; the fall is steepest at the side.
    forward = np.arccos(np.clip(v / radius, -1, 1)) / np.pi
    spacing = np.float32(25.5)
    # Ribs overlap the upper chest closely and spread further down.
    height = z + 88 * forward**1.35 - 6
    nearest = np.rint(-height / spacing)
    off = np.abs(height + nearest * spacing)
    rib = np.hypot(away / 4.2, off / 6.2)
    bony = band & (nearest >= 0) & (nearest < 12) & (forward < 0.86) & (forward > 0.045)
    soft = plane.edge / 4.2
    share = np.where(bony, np.clip((1 - rib) / soft + 0.5, 0, 1), 0).astype(np.float32)
    core = np.clip((0.62 - rib) / soft + 0.5, 0, 1)
    plane.blend(part, share, (CORTEX - 120 + core * (MARROW - CORTEX + 120)).astype(np.float32))


def _spine(plane: Slice, z: float) -> None:
    """Paint vertebra or disc, canal, processes."""
    in_body = (z % 26.0) / 26.0
    disc = in_body < 0.2
    middle = 66.0 - 8 * _bump(z, -60, 30)
    waist = 1 - 0.09 * math.sin(math.pi * max(0.0, (in_body - 0.2) / 0.8))
    if disc:
        plane.paint(Ellipse(0, middle, 19, 15, 2.3), 90)
    else:
        plane.paint(Ellipse(0, middle, 20 * waist, 16 * waist, 2.3), 560)
        plane.paint(Ellipse(0, middle, 18.4 * waist, 14.4 * waist, 2.3), 190)
    if not 0.28 < in_body < 0.5:
        plane.paint(Ellipse(0, middle + 24, 14, 12), 520)
        plane.paint(Ellipse(0, middle + 35, 3.2, 9), 430)
    if 0.55 < in_body < 0.95:
        for side in (-1, 1):
            plane.paint(Ellipse(side * 26, middle + 25, 12, 4.5), 420)
    plane.paint(Ellipse(0, middle + 23.5, 9.5, 8.5), 22)
    plane.paint(Ellipse(0, middle + 23.5, 5.2, 4.6), 40)


# --- soft parts --------------------------------------------------------------------------------


def _wall(plane: Slice, z: float) -> None:
    """Skin, fat, muscle; shoulder muscles above."""
    body = skin(z)
    plane.paint(body, 20)
    plane.paint(Ellipse(body.x, body.y, body.a - 2, body.b - 2, body.power), FAT)
    ring = cage(z)
    muscle = max(ring.a + 13, (body.a - 16) * _bump(z, -70, -20))
    deep = max(min(ring.b + 11, body.b - 7), 0.74 * body.b)
    plane.paint(Ellipse(0, 6, min(muscle, body.a - 6), deep, 2.35), MUSCLE)
    for side in (-1, 1):
        # The long muscles beside the spine, the chest muscles in front.
        plane.paint(Ellipse(side * 27, 95, 24, 14), MUSCLE)
        chest = 1 - _bump(-z, 90, 150)
        if chest > 0.2:
            plane.paint(Ellipse(side * 70, -82 + 2 * chest, 52, 12 * chest), MUSCLE)


def _lungs(plane: Slice, z: float) -> None:
    """Paint both lungs above their diaphragms, denser towards the back."""
    apex = min(1.0, max(0.0, (10 - z) / 55))
    dome = math.sqrt(1 - (1 - apex) ** 2)
    if dome < 0.05:
        return
    ring = cage(z)
    inner = 12 - 2 * _bump(-z, 10, 60)
    for side in (-1.0, 1.0):
        half = (ring.a - 7 - inner) / 2
        lung = Ellipse(
            side * (inner + half), ring.y + 2, (half + 3) * dome, (ring.b - 6) * dome, 2.15
        )
        part = plane.window(lung.x, lung.y, lung.a, lung.b)
        share = plane.share(lung, part)
        x, y = plane.x[part[1]], plane.y[part[0]]
        share = share * plane.share(Ellipse(0, ring.y, ring.a - 6, ring.b - 5, 2.25), part)
        share = share * np.clip((z - _dome(x, y, side)) / max(plane.edge, 2.0) + 0.5, 0, 1)
        u, v = x[None, :], y[:, None]
        mottle = np.sin(u / 3.1 + z / 4) * np.sin(v / 2.7 - z / 5) + np.sin((u + v) / 5.3 + z / 7)
        hu = LUNG + 0.42 * (v - 10) + 11 * mottle
        plane.blend(part, share, np.asarray(hu, np.float32))


def _organs_below(plane: Slice, z: float) -> None:
    """Paint liver, spleen and stomach under the diaphragm."""
    if z > -196:
        return
    ring = cage(z)
    inner = Ellipse(0, ring.y, ring.a - 7, ring.b - 6, 2.25)
    part = plane.window(0, ring.y, inner.a, inner.b)
    cavity, x, y = plane.share(inner, part), plane.x[part[1]], plane.y[part[0]]
    for side, shape, hu in (
        (-1.0, Ellipse(-56, -4, 78, 84, 2.2), LIVER),
        (1.0, Ellipse(96, 42, 34, 46, 2.1), 50.0),
        (1.0, Ellipse(62, -22, 46, 50, 2.0), 28.0),
    ):
        under = np.clip((_dome(x, y, side) - 3 - z) / max(plane.edge, 2.0) + 0.5, 0, 1)
        plane.blend(part, cavity * under * plane.share(shape, part), hu)
    under = np.clip((_dome(x, y, 1.0) - 9 - z) / max(plane.edge, 2.0) + 0.5, 0, 1)
    gas = plane.share(Ellipse(62, -44, 36, 19), part) * (1 - _bump(-z, 262, 280))
    plane.blend(part, cavity * under * gas, AIR)


def _mediastinum(plane: Slice, z: float) -> None:
    """Paint the middle of the chest: fat, great vessels, heart, airways, gullet."""
    width = 21 + 5 * _bump(-z, 40, 120)
    below = _bump(-z, 205, 235)
    length = (62 + 12 * _bump(-z, 30, 90)) * (1 - 0.62 * below)
    plane.paint(Ellipse(3 * below, 2 + 44 * below, width, length, 2.6), FAT + 10)
    plane.paint(Ellipse(0, 70, 30, 22), MUSCLE - 10)
    if below:
        plane.paint(Ellipse(-6, 42, 7, 14 * below, 2, 0.4), MUSCLE - 5)
    _heart(plane, z)
    _great_vessels(plane, z)
    if z > -112:
        plane.paint(Ellipse(0, 10 + 0.12 * -z, 10.2, 10.2), 30)
        plane.paint(Ellipse(0, 10 + 0.12 * -z, 8.4, 8.6), AIR)
    for side, drop in ((-1, 34), (1, 46)):
        bronchus = Tube((side * 4, 23, -108), (side * drop, 28, -108 - 0.75 * drop), 6.2)
        plane.tube(Tube(bronchus.start, bronchus.end, 7.6), z, 30)
        plane.tube(bronchus, z, AIR)
    plane.paint(Ellipse(6, 42, 7, 5.4), 36)
    if z < -25:
        plane.paint(Ellipse(0, -84 - 4 * _bump(-z, 30, 120), 15, 6.2, 2.4), 430)
        plane.paint(Ellipse(0, -84 - 4 * _bump(-z, 30, 120), 12.6, 4.0, 2.4), 150)


def _great_vessels(plane: Slice, z: float) -> None:
    """Paint aorta, upper vena cava, trunk of the pulmonary artery, vessels of the neck."""
    if z > -62:
        for x, y, r in (
            (-14, -8, 6.5),
            (13, -2, 4.6),
            (-22, -22, 7.0),
            (22, -20, 6.2),
            (19, 20, 4.8),
        ):
            plane.paint(Ellipse(x, y, r, r), BLOOD)
    for start, end, radius in (
        ((-10, -32, -165), (-8, -31, -88), 16.0),
        ((-8, -31, -86), (8, -4, -74), 14.5),
        ((8, -4, -74), (22, 24, -74), 14.0),
        ((22, 24, -74), (28, 50, -88), 13.6),
        ((28, 50, -88), (24, 50, -345), 13.0),
        ((-30, -18, -70), (-31, -13, -165), 9.8),
        ((20, -30, -62), (-28, -20, -70), 6.0),
    ):
        plane.tube(Tube(start, end, radius), z, BLOOD)
    plane.tube(Tube((14, -46, -128), (24, 2, -118), 13.6), z, BLOOD)
    plane.tube(Tube((22, 0, -120), (-40, 12, -122), 11.5), z, BLOOD)
    plane.tube(Tube((22, 0, -120), (50, 20, -114), 11.0), z, BLOOD)


def _heart(plane: Slice, z: float) -> None:
    """Paint the heart with a little fat around it, apex to the left and front."""
    depth = (-124 - z) / 116
    if not 0 < depth < 1:
        return
    swell = math.sqrt(max(0.0, 1 - abs(2 * depth - 1) ** 2.4))
    turn = math.radians(-28 - 8 * depth)
    x, y = 12 + 10 * depth, -22 + 2 * depth
    plane.paint(Ellipse(x, y, 62 * swell + 4, 45 * swell + 4, 2.2, turn), FAT + 20)
    plane.paint(Ellipse(x, y, 62 * swell, 45 * swell, 2.2, turn), BLOOD)
    if swell > 0.6:
        # A little fat in the groove between the chambers.
        plane.paint(Ellipse(x + 12, y - 40 * swell, 7, 3, 2, turn), FAT + 30)
        plane.paint(Ellipse(x - 32, y - 12 * swell, 5, 8, 2, turn), FAT + 40)


# --- the whole ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Thorax:
    """A chest, optionally with a nodule in the right upper lobe or pneumonia in the right base."""

    nodule: bool = True
    pneumonia: bool = False
    vessels: tuple[Tube, ...] = field(default_factory=lambda: tuple(lung_vessels()))

    @cached_property
    def _reach(self) -> NDArray[np.float64]:
        """Lowest and highest z of each vessel, shape (2, vessels)."""
        ends = [(v.start[2], v.end[2], v.radius) for v in self.vessels]
        return np.array([(min(a, b) - r, max(a, b) + r) for a, b, r in ends]).T

    def plane(self, z: float, x: Plane, y: Plane, edge: float) -> Plane:
        """The cut at height `z` over pixel centres `x` and `y` (mm), in HU, (len(y), len(x))."""
        cut = Slice(x, y, edge)
        _wall(cut, z)
        _lungs(cut, z)
        for i in np.flatnonzero((self._reach[0] < z) & (z < self._reach[1])):
            cut.tube(self.vessels[i], z, BLOOD)
        if self.pneumonia:
            self._consolidate(cut, z)
        if self.nodule:
            self._nodule(cut, z)
        _middle(cut, z)
        body = skin(z)
        share = cut.share(body, (slice(0, y.size), slice(0, x.size)))
        return np.asarray(AIR + share * (cut.hu - AIR), np.float32)

    def _nodule(self, cut: Slice, z: float) -> None:
        x, y, height = NODULE_CENTRE
        cut.tube(Tube(NODULE_CENTRE, (x - 0.1, y, height), NODULE_RADIUS), z, NODULE_HU)
        for turn in range(9):
            angle = 0.7 * turn
            tip = (
                x + 12 * math.cos(angle),
                y + 12 * math.sin(angle),
                height + 8 * math.sin(2.3 * turn),
            )
            cut.tube(Tube(NODULE_CENTRE, tip, 0.7), z, -250)

    def _consolidate(self, cut: Slice, z: float) -> None:
        x, y, height = -74.0, 22.0, -172.0
        reach = 1 - ((z - height) / 36) ** 2
        if reach <= 0:
            return
        size = 38 * math.sqrt(reach)
        part = cut.window(x, y, size, size)
        gx, gy = cut.x[part[1]][None, :], cut.y[part[0]][:, None]
        ripple = 0.22 * np.sin(gx / 4.1 + z / 5) * np.sin(gy / 3.7 - z / 6)
        near = 1 - np.sqrt((gx - x) ** 2 + (gy - y) ** 2) / size + ripple
        lung = np.clip((-350 - cut.hu[part]) / 300, 0, 1)
        cut.blend(part, (np.clip(1.6 * near, 0, 1) * lung * 0.85).astype(np.float32), 10.0)


_BONES = _straight_bones()


def _middle(cut: Slice, z: float) -> None:
    """Paint what lies between and below the lungs, then the bones over everything."""
    _organs_below(cut, z)
    _mediastinum(cut, z)
    _spine(cut, z)
    _ribs(cut, z)
    for bone, core in _BONES:
        cut.tube(bone, z, CORTEX - 150)
        cut.tube(Tube(bone.start, bone.end, max(0.5, bone.radius - 1.6)), z, core)
