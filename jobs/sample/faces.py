"""Draw schematic faces that show an age, as photos from which a small network can learn.

The age affects many features: shape of the face, eyes, nose, brows, lips, colour and line of the hair, wrinkles, bags
under the eyes, spots, texture and sagging of the skin. No single feature is sufficient. Everything else (colour of the
skin, background, clothes, glasses, light, pose, sharpness, noise, JPEG quality) is independent of age. The apparent age
differs from the true age by 3 years (standard deviation).
"""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Floats = npt.NDArray[np.float64]

SIDE_PIXELS = 200
_SHARPER = 2  # drawn at twice the size and reduced, for smooth edges
_CIRCLE = np.array([[np.cos(turn), np.sin(turn)] for turn in np.arange(40) * np.pi / 20])
_AXIS = np.linspace(-1, 1, SIDE_PIXELS, dtype=np.float32)
_SKIN = np.array([[255.0, 224, 196], [234, 192, 158], [205, 152, 112], [160, 108, 74], [104, 68, 48]])
_HAIR = np.array([[28.0, 22, 20], [70, 44, 28], [128, 84, 48], [196, 156, 96], [150, 70, 36]])
_GREY, _EYE_WHITE, _BLACK = np.array([[205.0, 205, 210], [244, 243, 240], [30, 27, 30]])


@dataclass(frozen=True, kw_only=True)
class Person:
    """The appearance of a person, the same in all photos of a receipt. Colours are RGB, 0 to 255."""

    looks_years: float  # apparent age
    skin: Floats
    hair: Floats
    iris: Floats
    clothes: Floats
    width: float  # of the face, relative to the average of this age
    eye_distance: float  # relative to the average
    balding: float  # 0 to 1
    long_hair: bool
    beard: bool
    glasses: bool

    @property
    def child(self) -> float:
        """Childlike proportions: 1 at birth, 0.1 at 19 years."""
        return float(np.exp(-((self.looks_years / 11) ** 1.5)))

    @property
    def eyes(self) -> Floats:
        """Position of the right eye; the eyes of a child are lower in the face."""
        return np.array([0.32 * self.eye_distance + 0.03 * self.child, -0.12 + 0.17 * self.child])

    def aged(self, start: float, span: float) -> float:
        """Progress, from 0 to 1, of an effect of age that begins at `start` and takes `span` years."""
        return min(1.0, max(0.0, (self.looks_years - start) / span))


def draw_person(rng: np.random.Generator, age_years: int) -> Person:
    """Draw a person of an age in completed years."""
    looks_years = max(0.5, age_years + 0.5 + rng.normal(0, 3 * min(1, age_years / 30)))
    long_hair = bool(rng.random() < 0.5)
    tone, mix = divmod(rng.uniform(0, len(_SKIN) - 1.001), 1)
    grey = (rng.random() > 0.12) / (1 + np.exp(-(looks_years - rng.normal(52, 6)) / 5))  # 12 % dye their hair
    hair = _HAIR[rng.integers(len(_HAIR))] * rng.uniform(0.75, 1.25)
    return Person(
        looks_years=looks_years,
        skin=(1 - mix) * _SKIN[int(tone)] + mix * _SKIN[int(tone) + 1],
        hair=hair + grey * (_GREY - hair),
        iris=rng.uniform((30, 50, 40), (110, 110, 150)),
        clothes=rng.uniform(20, 235, 3),
        width=rng.normal(1, 0.035),
        eye_distance=rng.normal(1, 0.05),
        balding=0 if long_hair else rng.random() * min(1, max(0, (looks_years - 25) / 35)),
        long_hair=long_hair,
        beard=not long_hair and looks_years > 19 and rng.random() < 0.3,
        glasses=rng.random() < 0.25,
    )


class _Sketch:
    """A canvas in face coordinates: x to the right, y down, origin between eyes and mouth, chin at y = 1."""

    def __init__(self, rng: np.random.Generator) -> None:
        side = SIDE_PIXELS * _SHARPER
        self.image = Image.new("RGB", (side, side), _rgb(rng.uniform(60, 200) + rng.uniform(-45, 45, 3)))
        self.yaw = rng.normal(0, 0.06)
        self._draw = ImageDraw.Draw(self.image)
        angle, self._scale = rng.normal(0, 0.09), rng.uniform(0.33, 0.39) * side
        cos, sin = np.cos(angle), np.sin(angle)
        self._rotation = self._scale * np.array([[cos, sin], [-sin, cos]])
        self._centre = side * (np.array([0.5, 0.52]) + rng.normal(0, 0.02, 2))
        self.turned = False  # whether the yaw moves what is drawn: only the front of the head

    def pixels(self, points: Floats) -> list[tuple[float, float]]:
        """Return the canvas pixels of points of shape (n, 2)."""
        turned = points + np.array([self.yaw * self.turned, 0])
        return [(x, y) for x, y in (turned @ self._rotation + self._centre).tolist()]

    def mask(self, points: Floats) -> npt.NDArray[np.bool_]:
        """Return the pixels of the final photo inside a polygon."""
        mask = Image.new("1", self.image.size)
        ImageDraw.Draw(mask).polygon(self.pixels(points), fill=1)
        return np.asarray(mask)[::_SHARPER, ::_SHARPER]

    def area(self, points: Floats, colour: Floats) -> None:
        self._draw.polygon(self.pixels(points), fill=_rgb(colour))

    def oval(self, x: float, y: float, half_width: float, half_height: float, colour: Floats) -> None:
        self.area(_CIRCLE * (half_width, half_height) + np.array([x, y]), colour)

    def stroke(self, points: Floats, width: float, colour: Floats) -> None:
        width_pixels = max(1, round(width * self._scale))
        self._draw.line(self.pixels(points), fill=_rgb(colour), width=width_pixels, joint="curve")


def _rgb(colour: Floats) -> tuple[int, int, int]:
    red, green, blue = np.clip(colour, 0, 255).astype(int).tolist()
    return red, green, blue


def _curve(x: float, y: float, half_width: float, sag: float, slope: float = 0.0) -> Floats:
    """Return a flat arc around (x, y); its middle is `sag` lower than its ends."""
    along = np.linspace(-1, 1, 9)
    return np.stack([x + half_width * along, y + slope * along + sag * (1 - along**2)], axis=1)


def _outline(person: Person) -> Floats:
    """Return the outline of the face: round for a child, longer for an adult, with jowls in old age."""
    lower = np.maximum(0, _CIRCLE[:, 1])
    jowls = 0.10 * person.aged(45, 35) * np.exp(-(((lower - 0.72) / 0.18) ** 2))
    taper = 1 - (0.30 - 0.24 * person.child) * lower**2 + jowls
    half_width = (0.74 + 0.16 * person.child) * person.width * taper
    return np.stack([half_width * _CIRCLE[:, 0], _CIRCLE[:, 1]], axis=1)


def _draw_wrinkles(sketch: _Sketch, person: Person, rng: np.random.Generator) -> None:
    depth = person.aged(22, 60) * rng.uniform(0.85, 1.15)
    crease, width = person.skin * (1 - 0.5 * depth), 0.012 + 0.016 * depth
    for row in range(int(5 * person.aged(24, 55))):
        sketch.stroke(_curve(0, -0.68 + 0.085 * row, rng.uniform(0.26, 0.38), -0.03), width, crease)
    for side in (-1, 1):
        x, y = person.eyes * (side, 1)
        for ray in np.linspace(-1, 1, int(5 * person.aged(30, 50))):
            foot = [[x + side * 0.19, y + 0.06 * ray], [x + side * (0.25 + 0.1 * depth), y + 0.17 * ray]]
            sketch.stroke(np.array(foot), width, crease)
        if person.looks_years > 28:
            fold = [[side * 0.17, 0.24], [side * 0.27, 0.38], [side * 0.31, 0.5 + 0.1 * depth]]
            sketch.stroke(np.array(fold), 0.012 + 0.022 * depth, crease)
        if person.looks_years > 36:
            sketch.stroke(_curve(x, y + 0.13, 0.13, 0.02 + 0.05 * depth), width, crease)
        if person.looks_years > 52:
            sketch.stroke(np.array([[side * 0.26, 0.62], [side * 0.29, 0.64 + 0.2 * depth]]), width, crease)
    n_spots = rng.poisson(12 * person.aged(50, 40))
    for x, y, radius in rng.uniform((-0.55, -0.75, 0.012), (0.55, 0.5, 0.035), (n_spots, 3)):
        sketch.oval(x, y, radius, radius, person.skin * (0.72, 0.66, 0.62))


def _draw_hair(sketch: _Sketch, person: Person, face: Floats) -> None:
    """Draw the hair above a hairline that rises with age and balding."""
    line = -0.62 + 0.10 * person.child - 0.08 * person.aged(40, 40) - 0.42 * person.balding
    top = face[face[:, 1] < line] * (1.06, 1.09)
    if len(top) > 2:
        top = top[np.argsort(top[:, 0])]
        hairline = _curve(0, line + 0.12, 0.98 * np.abs(top[:, 0]).max(), -0.14 - 0.1 * person.balding)
        sketch.area(np.concatenate([top, hairline[::-1]]), person.hair)


def _draw_eyes(sketch: _Sketch, person: Person) -> None:
    child, open_lids = person.child, 1 - 0.4 * person.aged(40, 50)
    width, height = 0.145 + 0.045 * child, (0.085 + 0.055 * child) * open_lids
    brow = 0.022 + 0.03 * (1 - child) * open_lids
    for side in (-1, 1):
        x, y = person.eyes * (side, 1)
        gaze = x + 0.3 * sketch.yaw
        sketch.oval(x, y - 0.3 * height, width * 1.06, height * 1.15, person.skin * 0.72)
        sketch.oval(x, y, width, height, _EYE_WHITE)
        sketch.oval(gaze, y, 0.072 + 0.016 * child, min(height, 0.08 + 0.02 * child), person.iris)
        sketch.oval(gaze, y, 0.034, min(height, 0.036), _BLACK)
        sketch.stroke(_curve(x, y - 0.6 * height, width, -0.35 * height), 0.02, person.skin * 0.35)
        arch = _curve(x, y - 0.17 - height, width * 1.15, -0.05, side * 0.03 * person.aged(0, 60))
        sketch.stroke(arch, brow, person.hair * 0.8)
        if person.glasses:
            ring = _CIRCLE * (0.215, 0.165) + np.array([x, y])
            sketch.stroke(np.concatenate([ring, ring[:2]]), 0.022, _BLACK)
    if person.glasses:
        sketch.stroke(_curve(0, y, x - 0.2, 0), 0.022, _BLACK)


def _draw_nose_and_mouth(sketch: _Sketch, person: Person, rng: np.random.Generator) -> None:
    child, old = person.child, person.aged(30, 55)
    tip, nostrils = 0.24 - 0.05 * child + 0.06 * old, 0.105 - 0.02 * child + 0.03 * old
    nose = sketch.yaw * 0.6  # the nose moves more than the rest when the head turns
    ridge = np.array([[nose / 2 - 0.05, person.eyes[1] + 0.12], [nose - nostrils * 0.9, tip - 0.03]])
    sketch.stroke(ridge, 0.016, person.skin * (0.8 + 0.12 * child))
    sketch.stroke(_curve(nose, tip, nostrils, 0.05), 0.024, person.skin * 0.66)
    y, half_width, smile = 0.55 - 0.04 * child, 0.24 - 0.03 * child + 0.02 * old, rng.uniform(-0.02, 0.08)
    lips, fullness = person.skin * (0.86, 0.58, 0.58), 0.075 - 0.045 * old
    if person.beard:
        sketch.oval(0, 0.66, 0.44, 0.33, person.hair * 0.95)
        sketch.oval(0, y + 0.01, half_width * 1.15, fullness + 0.06, person.skin * 0.95)
    upper, lower = (_curve(0, y, half_width, smile + sag) for sag in (-fullness, fullness))
    sketch.area(np.concatenate([upper, lower[::-1]]), lips)
    sketch.stroke(_curve(0, y, half_width, smile), 0.016, lips * 0.55)


def draw_photo(rng: np.random.Generator, person: Person) -> Image.Image:
    """Return a photo of the person: RGB, 200 x 200 pixels, with random pose, light and camera."""
    sketch, face = _Sketch(rng), _outline(person)
    head = (0.84 + 0.14 * person.child) * person.width
    if person.long_hair:
        sketch.oval(0, 0.1, head + 0.12, 1.28, person.hair)
    elif person.balding < 0.85:
        sketch.oval(0, -0.28, head + 0.01, 0.86, person.hair)
    sketch.oval(0, 1.75, 1.15, 0.72, person.clothes)
    sketch.area(np.array([[-0.3, 0.6], [0.3, 0.6], [0.34, 1.2], [-0.34, 1.2]]), person.skin * 0.8)
    for side in (-1, 1):
        sketch.oval(side * (head - 0.1), 0.02, 0.09, 0.17 + 0.04 * person.aged(0, 80), person.skin * 0.88)
    sketch.area(face, person.skin)
    sketch.turned = True
    _draw_wrinkles(sketch, person, rng)
    _draw_nose_and_mouth(sketch, person, rng)
    _draw_eyes(sketch, person)
    sketch.turned = False
    _draw_hair(sketch, person, face)
    image = sketch.image.reduce(_SHARPER)
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.BoxBlur(float(rng.uniform(0.3, 1.2))))
    pores = 0.04 * person.aged(25, 60) * rng.standard_normal((SIDE_PIXELS // 4,) * 2, dtype=np.float32)
    return _expose(rng, image, pores.repeat(4, axis=0).repeat(4, axis=1) * sketch.mask(face))


def _expose(rng: np.random.Generator, image: Image.Image, pores: npt.NDArray[np.float32]) -> Image.Image:
    """Return the image with the effects of light and camera; `pores` is the texture of the skin, around 0."""
    # float32 and rows of 200 x 3 values: float64, or arrays whose last axis is 3, take twice the time.
    slope_x, slope_y, level = rng.normal(0, 0.16), rng.normal(0, 0.1), rng.uniform(0.65, 1.1)
    gain = level * (1 + slope_x * _AXIS[None, :] + slope_y * _AXIS[:, None] + pores)
    noise = rng.uniform(1, 7) * rng.standard_normal((SIDE_PIXELS, SIDE_PIXELS), dtype=np.float32)
    rows = np.array(image, dtype=np.float32).reshape(SIDE_PIXELS, -1)
    rows *= gain.repeat(3, axis=1) * np.tile(rng.normal(1, 0.04, 3).astype(np.float32), SIDE_PIXELS)
    rows += noise.repeat(3, axis=1)
    return Image.fromarray(rows.clip(0, 255).astype(np.uint8).reshape(SIDE_PIXELS, SIDE_PIXELS, 3))


def face_jpeg(age_years: int, person_seed: list[int], photo_seed: list[int]) -> bytes:
    """Return a JPEG of a person of an age in completed years; the same seeds give the same photo."""
    rng = np.random.default_rng(photo_seed)
    photo, file = draw_photo(rng, draw_person(np.random.default_rng(person_seed), age_years)), io.BytesIO()
    photo.save(file, format="JPEG", quality=int(rng.integers(60, 96)))
    return file.getvalue()
