"""Draws example.png: a pig on a meadow, in the style training never sees."""

import argparse
import pathlib

import numpy as np
from PIL import Image, ImageDraw

from make_testset import Artist


def meadow(artist, hexcode, side=150):
    width, height, big = 320, 240, 3
    rise = np.linspace(0, 1, height * big)[:, None, None]
    sky = np.array([120, 185, 240]) * (1 - rise) + np.array([225, 242, 252]) * rise
    image = Image.fromarray(np.broadcast_to(sky, (height * big, width * big, 3)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for x, y, radius, colour in ((60, 420, 270, (150, 200, 120)), (290, 470, 320, (130, 188, 105)),
                                 (160, 640, 480, (112, 174, 88))):
        draw.ellipse([big * (x - radius), big * (y - radius), big * (x + radius), big * (y + radius)], fill=colour)
    image = image.resize((width, height), Image.Resampling.LANCZOS)
    artist.paste(image, "2601", 58, 20, 18)
    artist.paste(image, "2601", 44, 256, 34)
    artist.paste(image, hexcode, side, 160 - side // 2, 218 - side)
    return image


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--cache", type=pathlib.Path, default=pathlib.Path("~/.cache/crossalign-mini"))
    a = p.parse_args()
    image = meadow(Artist(a.cache.expanduser() / "raw"), "1F416")
    image.quantize(128, dither=Image.Dither.NONE).save(a.out, optimize=True)
