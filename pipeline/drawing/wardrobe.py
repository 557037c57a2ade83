"""What an identity wears, as textures that wrap around each part of the body.

A texture is `(rows, 64, 3)` float32 RGB in 0 .. 255. Rows run along the part, from its upper end;
columns run once around it: column 32 faces forward, 48 is the left side, 0 the back, 16 the right.
Because a texture wraps, a shirt's front print vanishes when its wearer turns and the back print
appears: appearance is worth carrying over only from where it is seen.
"""

import colorsys
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Texture = npt.NDArray[np.float32]
COLUMNS = 64
FRONT = COLUMNS // 2

_SKINS = ((255, 224, 196), (241, 194, 155), (224, 172, 128), (198, 134, 88), (141, 85, 52), (92, 60, 40))
_HAIRS = ((28, 22, 20), (45, 32, 26), (84, 56, 38), (120, 84, 54), (176, 140, 92), (150, 150, 150), (104, 44, 30))
# Street clothes: blacks, greys, navies, denims, khakis, whites, with a few reds and greens.
_STREET = (
    (26, 26, 30), (48, 48, 54), (84, 86, 90), (140, 140, 142), (205, 203, 198), (236, 234, 230), (34, 42, 70), (54, 74, 112),
    (92, 116, 150), (128, 118, 92), (162, 148, 118), (92, 96, 68), (58, 76, 58), (122, 42, 44), (150, 80, 62), (88, 60, 84),
    (176, 132, 60), (60, 104, 112), (196, 150, 152), (214, 190, 110),
)  # fmt: skip


class Outfit(NamedTuple):
    """Textures of one identity. Arms and legs are the same on both sides."""

    torso: Texture
    upper_arm: Texture
    forearm: Texture
    hand: Texture
    thigh: Texture
    shin: Texture
    shoe: Texture
    head: Texture
    neck: Texture
    long_hair: Texture | None
    skirt: Texture | None  # a skirt, a dress's lower part, or a coat's tails
    skirt_length: float  # in lengths of a thigh
    skirt_flare: float
    backpack: Texture | None
    handbag: Texture | None
    bag_side: int  # 0 = right hand, 1 = left hand


def draw_outfit(rng: np.random.Generator, vivid: bool = False) -> Outfit:
    """Random clothes, hair, skin and bags; `vivid` widens the colours beyond those of a street."""
    skin, hair = _jitter(rng, _pick(rng, _SKINS), 10), _jitter(rng, _pick(rng, _HAIRS), 10)
    top, bottom = fabric(rng, 48, vivid), fabric(rng, 48, vivid, plain=0.75)
    shoe = _plain(8, _color(rng, vivid))
    shoe[6:] = _color(rng, vivid)  # the sole
    sleeve = rng.choice([0.0, 0.35, 0.6, 1.0, 2.0], p=[0.05, 0.15, 0.25, 0.1, 0.45])
    kind = rng.choice(["trousers", "shorts", "skirt", "dress", "coat"], p=[0.52, 0.16, 0.12, 0.1, 0.1])
    leg = {"trousers": 2.0, "shorts": rng.uniform(0.6, 1.1), "coat": 2.0}.get(kind, 0.0)
    tights = _color(rng, vivid) if kind in ("skirt", "dress") and rng.random() < 0.5 else None

    torso = top.copy()
    _decorate(rng, torso, vivid, open_front=kind == "coat" or rng.random() < 0.2)
    if kind not in ("dress", "coat"):
        torso[44:] = bottom[:4]
    backpack, handbag = None, None
    if rng.random() < 0.25:
        backpack = _bag(rng, vivid)
        torso[:26, FRONT - 8 : FRONT - 5] = torso[:26, FRONT + 6 : FRONT + 9] = backpack[4, 32]
    elif rng.random() < 0.3:
        handbag = _bag(rng, vivid)
        if rng.random() < 0.5:
            _strap(torso, handbag[4, 32], down_left=bool(rng.random() < 0.5))
    skirt = bottom if kind == "skirt" else top if kind in ("dress", "coat") else None
    return Outfit(
        torso=torso,
        upper_arm=_covered(top[:24], skin, sleeve),
        forearm=_covered(top[24:], skin, sleeve - 1),
        hand=_plain(8, skin),
        thigh=_covered(bottom, _filled(tights, skin), leg),
        shin=_covered(bottom, _filled(tights, skin), leg - 1),
        shoe=shoe,
        head=_head(rng, skin, hair, vivid),
        neck=_plain(8, skin * 0.9),
        long_hair=_plain(8, hair) if kind in ("skirt", "dress") or rng.random() < 0.3 else None,
        skirt=skirt,
        skirt_length=float(rng.uniform(0.6, 1.5) if kind != "coat" else rng.uniform(0.3, 1.3)),
        skirt_flare=float(rng.uniform(1.0, 1.5) if kind != "coat" else rng.uniform(0.95, 1.15)),
        backpack=backpack,
        handbag=handbag,
        bag_side=int(rng.integers(2)),
    )


def fabric(rng: np.random.Generator, rows: int, vivid: bool, plain: float = 0.35) -> Texture:
    """A cloth: plain, striped either way, in blocks, checked or dotted."""
    a, b, c = (_color(rng, vivid) for _ in range(3))
    cloth = _plain(rows, a)
    if rng.random() < plain:
        return cloth
    row, column = np.arange(rows)[:, None], np.arange(COLUMNS)[None, :]
    kind = rng.integers(6)
    if kind == 0:
        period = int(rng.integers(5, 14))
        cloth[(row % period < period * rng.uniform(0.25, 0.6)) & (column >= 0)] = b
    elif kind == 1:
        period = int(rng.choice([8, 16]))
        cloth[(column % period < period // 2) & (row >= 0)] = b
    elif kind == 2:  # two or three horizontal blocks
        cuts = np.sort(rng.integers(6, rows - 4, 2))
        cloth[cuts[0] :] = b
        cloth[cuts[1] :] = c if rng.random() < 0.5 else a
    elif kind == 3:
        period = int(rng.choice([8, 16]))
        cloth[(column % period < 3) | (row % period < 3)] = b
        cloth[(column % period < 3) & (row % period < 3)] = c
    elif kind == 4:
        period = int(rng.choice([8, 16]))
        cloth[((column % period) - period / 2) ** 2 + ((row % period) - period / 2) ** 2 < (period * 0.28) ** 2] = b
    else:  # right and left half of two colours, as a sports jersey's
        cloth[:, FRONT:] = b
    return cloth


def _decorate(rng: np.random.Generator, torso: Texture, vivid: bool, open_front: bool) -> None:
    """A print on the chest, another on the back, or an open jacket."""
    if open_front:
        half = int(rng.integers(2, 7))
        torso[:, FRONT - half : FRONT + half] = _color(rng, vivid)
    elif rng.random() < 0.6:
        _stamp(rng, torso, FRONT, _color(rng, vivid))
    if rng.random() < 0.5:
        turned = np.roll(torso, FRONT, axis=1)
        _stamp(rng, turned, FRONT, _color(rng, vivid))
        torso[:] = np.roll(turned, -FRONT, axis=1)


def _stamp(rng: np.random.Generator, cloth: Texture, centre: int, color: Texture) -> None:
    """A print: a plate with a symmetric glyph, a disc, a band of lettering, or a large letter."""
    top, half = int(rng.integers(8, 16)), int(rng.integers(5, 11))
    height = int(rng.integers(8, 22))
    ink = _color(rng, True)
    row, column = np.arange(height)[:, None], np.arange(2 * half)[None, :]
    kind = rng.integers(4)
    patch = cloth[top : top + height, centre - half : centre + half]
    if kind == 0:
        bits = rng.random((4, 2)) < 0.5
        glyph = np.concatenate([bits, bits[:, ::-1]], axis=1)
        patch[:] = color
        patch[glyph[row * 4 // height, column * 4 // (2 * half)]] = ink
    elif kind == 1:
        patch[((row - height / 2) / height) ** 2 + ((column - half) / (2 * half)) ** 2 < 0.2] = color
    elif kind == 2:
        patch[(row % 6 < 3) & (rng.random(2 * half)[None, :] < 0.75)] = color
    else:
        patch[(np.abs(column - half) < half * 0.4) | (row < height * 0.3)] = color


def _strap(torso: Texture, color: Texture, down_left: bool) -> None:
    """A strap from one shoulder to the other hip, over chest and back."""
    for row in range(44):
        shift = int((row / 44 - 0.5) * 24) * (1 if down_left else -1)
        for centre in (FRONT + shift, -shift):
            torso[row, [(centre + k) % COLUMNS for k in (-1, 0, 1)]] = color


def _head(rng: np.random.Generator, skin: Texture, hair: Texture, vivid: bool) -> Texture:
    """24 rows from crown to chin: hair or a hat, and a face that looks forward."""
    head = _plain(24, skin)
    style = rng.random()
    line = int(rng.integers(5, 9))  # the hairline, in rows
    if style < 0.9:
        head[:line] = hair
        head[:17, : FRONT - 13] = head[:17, FRONT + 13 :] = hair
        head[17:20, :12] = head[17:20, -12:] = hair
    if style < 0.14:  # a cap or a woollen hat
        head[: int(rng.integers(8, 11))] = _color(rng, vivid)
    dark = skin * 0.25
    for side in (-1, 1):
        head[11:13, FRONT + side * 6 - 2 : FRONT + side * 6 + 2] = dark
        head[9, FRONT + side * 6 - 2 : FRONT + side * 6 + 3] = hair
    if rng.random() < 0.12:  # glasses
        head[11:13, FRONT - 9 : FRONT + 10] = 30
    head[18:20, FRONT - 4 : FRONT + 5] = skin * np.array([0.8, 0.5, 0.5], np.float32)
    if rng.random() < 0.12:  # a beard
        head[17:, FRONT - 10 : FRONT + 11] = hair
    head[13:17, FRONT - 1 : FRONT + 2] = skin * 0.85
    return head


def _bag(rng: np.random.Generator, vivid: bool) -> Texture:
    bag = fabric(rng, 24, vivid, plain=0.6)
    bag[10:12] = bag[4, 32] * 0.6
    return bag


def _covered(cloth: Texture, skin: Texture, share: float) -> Texture:
    """Cloth over the upper `share` of the part, skin below (share <= 0: all skin)."""
    part = cloth.copy()
    part[max(0, round(share * len(part))) :] = skin
    return part


def _filled(tights: Texture | None, skin: Texture) -> Texture:
    return skin if tights is None else tights


def _plain(rows: int, color: Texture) -> Texture:
    return np.broadcast_to(color, (rows, COLUMNS, 3)).astype(np.float32)


def _color(rng: np.random.Generator, vivid: bool) -> Texture:
    if vivid and rng.random() < 0.5:
        rgb = colorsys.hsv_to_rgb(rng.random(), rng.random(), rng.uniform(0.1, 1.0))
        return np.array(rgb, np.float32) * 255
    return _jitter(rng, _pick(rng, _STREET), 14)


def _pick(rng: np.random.Generator, colors: tuple[tuple[int, int, int], ...]) -> tuple[int, int, int]:
    return colors[int(rng.integers(len(colors)))]


def _jitter(rng: np.random.Generator, color: tuple[int, int, int], by: float) -> Texture:
    return np.clip(np.array(color) + rng.normal(0, by, 3), 6, 250).astype(np.float32)
