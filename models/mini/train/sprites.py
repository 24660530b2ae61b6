"""Renders every picture once: 128x128 premultiplied RGBA cut-outs, with what each one shows."""

import io
import json
import multiprocessing
import pathlib
import random
import re

import numpy as np
import resvg_py
from PIL import Image

from fetch import ICONS, STYLES, folder

HERE = pathlib.Path(__file__).parent
SIZE = 128
# emojibase's groups and how often each is drawn: what can be photographed comes first.
GROUPS = {0: 0.2, 1: 0.15, 3: 3.0, 4: 3.0, 5: 1.5, 6: 1.5, 7: 1.5, 8: 0.15}
CLASS_BOOST = 20.0
# The photo set that training never sees.
HELD_OUT_STAMPS = "food/fruit"
CLIPART = ["animals", "food", "tools", "transportation", "plants", "buildings", "recreation/music",
           "recreation/sports", "recreation/toys", "electronics", "containers", "office", "education",
           "people/clothing", "science"]


SVG = ('<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
       'viewBox="{0} {1} {2} {3}" width="{2}" height="{3}">{4}</svg>')
OUTLINED = ["noto", "noto-v1", "twemoji", "fluent-emoji", "fluent-emoji-flat", "emojione", "fxemoji"]
INKS = ["#000", "#111", "#2a1a10", "#223", "#803020", "#205080", "#306030"]


def code(hexcode):
    return "-".join(c for c in hexcode.upper().split("-") if c != "FE0F")


def slug(name):
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def concepts(raw):
    """Emoji concepts: {hexcode: {names, tags, kind, key, weight}} and the slugs that lead to them."""
    base = folder(raw, "emojibase-data") / "en"
    cldr = json.load(open(folder(raw, "cldr-annotations-full") / "annotations/en/annotations.json"))
    cldr = {code("-".join(f"{ord(c):X}" for c in k)): v
            for k, v in cldr["annotations"]["annotations"].items()}
    subgroup = {s["order"]: s["key"] for s in json.load(open(base / "messages.json"))["subgroups"]}
    everyday = {h: n for n, hs in json.load(open(HERE / "classes.json")).items() for h in hs}
    found, slugs = {}, {}
    for e in json.load(open(base / "data.json")):
        hexcode = code(e["hexcode"])
        if e.get("group") not in GROUPS or "200D" in hexcode:
            continue
        label = e["label"].replace("’", "'")
        name = everyday.get(hexcode, re.sub(r" face$", "", label) if e["group"] == 3 else label)
        more = cldr.get(hexcode, {})
        tags = [t for t in dict.fromkeys(e.get("tags", []) + more.get("default", []))
                if re.fullmatch(r"[a-zA-Z' -]{2,24}", t)]
        kind = re.sub(r"^(animal|food|plant|place|transport)-", "", subgroup[e["subgroup"]])
        found[hexcode] = {
            "names": list(dict.fromkeys([name, label] + more.get("tts", []))), "tags": tags,
            "kind": kind, "group": e["group"], "key": name.lower(), "everyday": hexcode in everyday,
            "weight": GROUPS[e["group"]] * (CLASS_BOOST if hexcode in everyday else 1),
        }
        for n in found[hexcode]["names"]:
            slugs.setdefault(slug(n), hexcode)
    return found, slugs


def cut_out(image):
    """Crops to what is visible, pads to a square, scales to SIZE."""
    image = image.convert("RGBA")
    image.thumbnail((512, 512))
    a = np.asarray(image).astype(np.float32)
    a[..., :3] *= a[..., 3:] / 255
    rows, cols = (np.flatnonzero((a[..., 3] > 16).any(axis)) for axis in (1, 0))
    if len(rows) < 8 or len(cols) < 8:
        return None
    a = a[rows[0]:rows[-1] + 1, cols[0]:cols[-1] + 1].round().astype(np.uint8)
    side = max(a.shape[:2])
    square = np.zeros((side, side, 4), np.uint8)
    y, x = (side - a.shape[0]) // 2, (side - a.shape[1]) // 2
    square[y:y + a.shape[0], x:x + a.shape[1]] = a
    # Premultiplied channels are resized one by one; Pillow would take them for straight alpha.
    planes = [Image.fromarray(p).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
              for p in np.moveaxis(square, 2, 0)]
    out = np.stack([np.asarray(p) for p in planes], 2)
    return np.minimum(out, out[..., 3:])


def render_svg(svg, side=256):
    return Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=side, skip_system_fonts=True))))


def draw(job):
    """A job is (path or SVG text, note); a picture that cannot be drawn is left out."""
    source, note = job
    try:
        if source.startswith("<svg"):
            image = render_svg(source)
        elif source.endswith(".svg"):
            image = render_svg(pathlib.Path(source).read_text(errors="replace"))
        else:
            image = Image.open(source)
        return cut_out(image), note
    except (OSError, ValueError, RuntimeError, SyntaxError):
        return None, note


def iconify(raw, style, found, slugs):
    """One set's pictures as SVG text; the coloured ones once more with outlines, as illustrators draw them."""
    root = folder(raw, f"@iconify-json/{style}")
    data = json.load(open(root / "icons.json"))
    chars = json.load(open(root / "chars.json")) if (root / "chars.json").exists() else {}
    by_name = {}
    for k, name in chars.items():
        by_name.setdefault(name, code(k))
    # A mouse among icons is the computer's.
    wanted = {h for h, c in found.items() if style not in ICONS or c["everyday"]}
    for name, icon in data["icons"].items():
        plain = re.sub(r"-(\d|fill|duotone|outline)$", "", name)
        hexcode = by_name.get(name) or next(
            (slugs[s] for s in (slug(plain), re.sub("side$", "", slug(plain))) if s in slugs), None)
        if hexcode not in wanted:
            continue
        rng = random.Random(f"{style} {name}")
        x, y, w, h = (icon.get(k, data.get(k, d)) for k, d in (("left", 0), ("top", 0), ("width", 16), ("height", 16)))
        body = icon["body"].replace("currentColor", rng.choice(INKS))
        note = {"concept": hexcode, "style": style, "weight": 0.2 if style in ICONS else 0.4 if "contrast" in style else 1.0}
        yield SVG.format(x, y, w, h, body), note
        if style in OUTLINED:
            ink = rng.uniform(0.015, 0.04) * max(w, h)
            body = (f'<g stroke="{rng.choice(INKS[:3])}" stroke-width="{ink}" stroke-linejoin="round" '
                    f'stroke-linecap="round">{body}</g>')
            yield SVG.format(x - ink, y - ink, w + 2 * ink, h + 2 * ink, body), {**note, "style": f"{style}, outlined"}


def fluent3d(raw, found):
    for path in sorted(folder(raw, "@lobehub/fluent-emoji-3d").glob("assets/*.webp")):
        if code(path.stem) in found:
            yield str(path), {"concept": code(path.stem), "style": "fluent-3d", "weight": 1.0}


def stamps(raw, held_out=False):
    root = folder(raw, "tuxpaint-stamps-default") / "usr/share/tuxpaint/stamps"
    for text in sorted(root.rglob("*.txt")):
        inside = str(text.parent.relative_to(root))
        if inside.startswith(("symbols", "town/flags", "town/roadsigns")) or (inside == HELD_OUT_STAMPS) != held_out:
            continue
        path = next((p for p in (text.with_suffix(".png"), text.with_suffix(".svg")) if p.exists()), None)
        caption = text.read_text(errors="replace").split("\n")[0].strip().rstrip(".!").lower()
        if path and caption:
            name = re.sub(r"^(a|an|the|some) ", "", caption)
            yield str(path), {"text": name, "tags": [], "style": "stamps", "weight": 0.7}


def clipart(raw):
    root = folder(raw, "openclipart-svg") / "usr/share/openclipart/svg"
    for path in sorted(p for d in CLIPART for p in (root / d).rglob("*.svg")):
        head = path.read_text(errors="replace")
        title = re.search(r"<dc:title[^>]*>([^<]+)</dc:title>", head)
        tags = [t.strip().lower() for t in re.findall(r"<rdf:li[^>]*>([^<]+)</rdf:li>", head)]
        name = re.sub(r"[^a-z' ]+", " ", (title[1] if title else "").lower())
        name = re.sub(r"\s+", " ", name).strip()
        if 3 <= len(name) <= 30 and len(head) < 400_000:
            tags = [t for t in tags if re.fullmatch(r"[a-z' -]{3,20}", t)]
            yield str(path), {"text": name, "tags": tags, "style": "clipart", "weight": 0.15}


def key_of(text, keys):
    """The emoji concept a free caption names last ("a white kitten" -> itself, "red apple" -> apple)."""
    words = text.split()
    for n in (3, 2, 1):
        tail = " ".join(words[-n:])
        if tail in keys:
            return tail
    return text


def build(raw, out, smoke=False):
    """Writes sprites.npy and sprites.json."""
    out = pathlib.Path(out)
    if (out / "sprites.json").exists():
        return
    found, slugs = concepts(raw)
    jobs = []
    for style in STYLES + ICONS:
        if folder(raw, f"@iconify-json/{style}").exists():
            jobs += iconify(raw, style, found, slugs)
    jobs += [*fluent3d(raw, found), *stamps(raw), *clipart(raw)]
    if smoke:
        jobs = [j for j in jobs if found[j[1]["concept"]]["weight"] > CLASS_BOOST * 2][:24]
    images, notes = [], []
    with multiprocessing.Pool() as pool:
        for image, note in pool.imap(draw, jobs, 16):
            if image is not None:
                images.append(image)
                notes.append(note)
    keys = {c["key"] for c in found.values()}
    styles = {}
    for n in notes:
        styles[n["style"]] = styles.get(n["style"], 0) + 1
        n["key"] = found[n["concept"]]["key"] if "concept" in n else key_of(n["text"], keys)
    print(styles)
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "sprites.npy", np.stack(images))
    (out / "sprites.json").write_text(json.dumps({"concepts": found, "sprites": notes}))
