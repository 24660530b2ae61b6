"""Renders the test pictures, from the style (OpenMoji) and the photo set that training never sees.

    python make_testset.py OUT_DIR [--small]

OUT_DIR/single/<class>: the object fills most of the picture.
OUT_DIR/scenes/<class>: it takes 8 to 20 % (its square box) among things that are none of the classes.
OUT_DIR/photos/<class>: held-out photographs, where Debian's archive was at hand.
"""

import argparse
import json
import pathlib
import random

import numpy as np
from PIL import Image, ImageFilter

from fetch import fetch, folder
from sprites import cut_out, render_svg, stamps

HERE = pathlib.Path(__file__).parent
OTHERS = """2693 231B 1F56F 1FA91 1F6CF 1F6AA 1FAA3 1F9F9 1F9FC 1FAA5 1F9FD 1F4CE 270F 2709 1F9F2 1FA9C 1F9EA 1F9EC
1F392 1F9E6 1F454 1F456 1F9E4 1F453 1F3A9 1F48D 1F48E 1F3B2 1F9E9 1FA81 1FA80 1F3B3 1F3C6 1F3C5 1F50B 1F50C 1F9FB
1F9F7 1F9F5 2601 2744 2B50 1F4A7 26A1 1F319 1F9B4 1FAB6 1FAA8 1FAB5 1F9F1""".split()


class Artist:
    def __init__(self, raw):
        self.root, self.cache = folder(raw, "openmoji") / "color/svg", {}

    def cut(self, hexcode):
        if hexcode not in self.cache:
            svg = (self.root / f"{hexcode}.svg").read_text()
            straight = cut_out(render_svg(svg, 512)).astype(np.float32)
            straight[..., :3] *= 255 / np.maximum(straight[..., 3:], 1)
            self.cache[hexcode] = Image.fromarray(straight.clip(0, 255).round().astype(np.uint8))
        return self.cache[hexcode]

    def paste(self, canvas, hexcode, side, x, y):
        art = self.cut(hexcode).resize((side, side), Image.Resampling.BICUBIC)
        canvas.paste(art, (x, y), art)


def background(width, height, kind, rng):
    """White, a plain colour, a gradient, or sky over ground."""
    soft = lambda: np.array([rng.randint(120, 255) for _ in range(3)], np.float32)
    a, b = soft(), soft()
    rise = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    out = np.zeros((height, width, 3), np.float32)
    if kind == 0:
        out += 255
    elif kind == 1:
        out += a
    elif kind == 2:
        out += a + (b - a) * rise
    else:
        sky, ground = np.array([170, 215, 245.0]), np.array(rng.choice([(150, 200, 110), (225, 205, 150), (200, 200, 205)]))
        out += np.where(rise < rng.uniform(0.45, 0.7), sky, ground)
    image = Image.fromarray(out.clip(0, 255).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(2)) if kind == 3 else image


def single(artist, hexcode, n, rng, size=256):
    image = background(size, size, n % 4, rng)
    side = round(size * rng.uniform(0.65, 0.92))
    x, y = (rng.randint(0, size - side) for _ in range(2))
    artist.paste(image, hexcode, side, x, y)
    return image


def scene(artist, hexcode, n, rng, width=320, height=256):
    image = background(width, height, n % 3 + 1, rng)
    side = round((rng.uniform(0.08, 0.2) * width * height) ** 0.5)
    # Inside the centre square, so that a centre crop does not cut it off.
    x = rng.randint((width - height) // 2, (width + height) // 2 - side)
    taken = [(x, rng.randint(0, height - side), side)]
    for other in rng.sample(OTHERS, rng.randint(3, 5)):
        for _ in range(40):
            s = rng.randint(44, 76)
            spot = (rng.randint(0, width - s), rng.randint(0, height - s), s)
            if all(abs(spot[0] + s / 2 - u - t / 2) > (s + t) / 2 or abs(spot[1] + s / 2 - v - t / 2) > (s + t) / 2
                   for u, v, t in taken):
                taken.append(spot)
                artist.paste(image, other, s, *spot[:2])
                break
    artist.paste(image, hexcode, side, *taken[0][:2])
    return image


def photos(raw, names, out):
    for path, note in stamps(raw, held_out=True):
        name = next((n for n in names if note["text"] in (n, n + "s", n.rstrip("s"))), None)
        if name and path.endswith(".png"):
            art = Image.open(path).convert("RGBA")
            side = max(art.size)
            image = Image.new("RGB", (side, side), "white")
            image.paste(art, ((side - art.width) // 2, (side - art.height) // 2), art)
            (out / name).mkdir(parents=True, exist_ok=True)
            image.resize((256, 256), Image.Resampling.LANCZOS).save(out / name / f"{pathlib.Path(path).stem}.png")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--cache", type=pathlib.Path, default=pathlib.Path("~/.cache/crossalign-mini"))
    p.add_argument("--small", action="store_true", help="one small picture of each kind a class")
    p.add_argument("--seed", type=int, default=7)
    a = p.parse_args()
    raw = a.cache.expanduser() / "raw"
    fetch(raw)
    artist, rng = Artist(raw), random.Random(a.seed)
    classes = json.loads((HERE / "classes.json").read_text())
    for number, (name, codes) in enumerate(classes.items()):
        for kind, make in (("single", single), ("scenes", scene)):
            folder_ = a.out / kind / name
            folder_.mkdir(parents=True, exist_ok=True)
            for n in range(4):
                image = make(artist, codes[n % len(codes)], n, rng)
                if not a.small:
                    image.save(folder_ / f"{n}.png")
                elif n == number % 4:
                    size = (96, 96) if kind == "single" else (160, 128)
                    image = image.resize(size, Image.Resampling.LANCZOS)
                    image.quantize(64, dither=Image.Dither.NONE).save(folder_ / f"{n}.png", optimize=True)
    if not a.small and folder(raw, "tuxpaint-stamps-default").exists():
        photos(raw, classes, a.out / "photos")


if __name__ == "__main__":
    main()
