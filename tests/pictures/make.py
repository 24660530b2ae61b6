"""Makes the pictures beside it, and expected.json with what Pillow decodes them to.

Versions: Python 3.11.7, pillow 13.0.0, numpy 2.4.6. The same files every time: python tests/pictures/make.py

expected.json: "pictures" has, for each file, the name of its pixels and the most levels that a decoder may differ by
(0 where decoding is exact; JPEG decoders round differently); "pixels" has width, height and RGB as hex. Pixels come from
`ImageOps.exif_transpose(Image.open(file)).convert("RGB")`, except where `expect=` says otherwise: there Pillow does not
decode the file or follows another rule than the crate documents.
"""

import hashlib
import io
import json
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin

HERE = Path(__file__).parent
PIXELS, PICTURES = {}, {}
WIDTH, HEIGHT = 27, 19


def pillow(file):
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file))).convert("RGB"))


def add(name, file, tolerance=0, expect=None):
    (HERE / name).write_bytes(file)
    pixels = (pillow(file) if expect is None else expect).astype(np.uint8)
    raw = pixels.tobytes()
    key = hashlib.sha256(raw).hexdigest()[:8]
    PIXELS[key] = {"width": pixels.shape[1], "height": pixels.shape[0], "rgb": raw.hex()}
    PICTURES[name] = {"pixels": key, "tolerance": tolerance}


def save(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def base():
    """Smooth colours with some texture: every block has coefficients."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    texture = 12 * np.sin(x * 1.7) * np.cos(y * 1.3)
    channels = [x * 6 + texture, y * 12 - texture, 220 - x * 3 - y * 4 + texture]
    return np.clip(np.stack(channels, -1), 0, 255).astype(np.uint8)


BASE = base()
RGB = Image.fromarray(BASE)
SMALL = Image.fromarray(BASE[:3, :5])


# JPEG


def segment(marker, content):
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def segments(file):
    """(marker, start, end) up to the first scan's header; JPEGs of Pillow have no fill bytes."""
    at, found = 2, []
    while True:
        marker, length = file[at + 1], struct.unpack(">H", file[at + 2 : at + 4])[0]
        found.append((marker, at, at + 2 + length))
        at += 2 + length
        if marker == 0xDA:
            return found


def jpegs():
    jpeg = save(RGB, "JPEG", quality=70)
    decoded = pillow(jpeg)
    other = save(SMALL, "JPEG")
    add("base.jpg", jpeg, 4)
    add("trailer_scan.jpg", jpeg + b"video" + b"\xff\xda\x00\x08" + bytes(range(256)), 4)
    add("trailer_jpeg.jpg", jpeg + other, 4)
    add("trailer_cut_jpeg.jpg", jpeg + bytes(7) + other[: len(other) // 2], 4)
    add("noeoi.jpg", jpeg[:-2], 4, expect=decoded)
    add("noeoi_trailer.jpg", jpeg[:-2] + b"trailer \xff\xda trailer \xff\xd8\xff\xe0 trailer", 4, expect=decoded)
    progressive = save(RGB, "JPEG", quality=70, progressive=True)
    add("progressive.jpg", progressive, 4)
    add("progressive_noeoi.jpg", progressive[:-2], 4, expect=pillow(progressive))
    add("progressive_trailer.jpg", progressive + other, 4)
    add("restart.jpg", save(RGB, "JPEG", quality=70, restart_marker_blocks=2), 4)
    add("progressive_restart.jpg", save(RGB, "JPEG", quality=70, progressive=True, restart_marker_blocks=1), 4)
    add("444.jpg", save(RGB, "JPEG", quality=70, subsampling="4:4:4", optimize=True), 4)
    add("422.jpg", save(RGB, "JPEG", quality=70, subsampling="4:2:2"), 4)
    add("grey.jpg", save(RGB.convert("L"), "JPEG", quality=70), 4)
    add("cmyk.jpg", save(RGB.convert("CMYK"), "JPEG", quality=70), 4)

    parts, filled = segments(jpeg), jpeg[:2]
    for _, start, end in parts:
        filled += b"\xff\xff" + jpeg[start:end]
    filled += jpeg[end:-2] + b"\xff\xff" + jpeg[-2:]
    add("fill_bytes.jpg", filled, 4)

    # A thumbnail in EXIF's second directory, with its own scan and end.
    tiff = b"MM\0*\0\0\0\x08\0\0\0\0\0\x0e\0\x02" + struct.pack(">HHIIHHII", 0x201, 4, 1, 44, 0x202, 4, 1, len(other))
    exif = segment(0xE1, b"Exif\0\0" + tiff + bytes(4) + other)
    add("thumbnail.jpg", jpeg[:2] + exif + jpeg[2:], 4)

    # The height behind the scan (DNL), which Pillow does not know.
    (start,) = [start for marker, start, _ in parts if marker == 0xC0]
    low = jpeg[: start + 5] + b"\0\0" + jpeg[start + 7 : -2] + segment(0xDC, struct.pack(">H", HEIGHT)) + jpeg[-2:]
    add("dnl.jpg", low, 4, expect=decoded)

    # One scan for each component: three grey JPEGs, whose tables are the same, in one frame.
    greys = [save(plane, "JPEG", quality=70) for plane in RGB.convert("YCbCr").split()]
    frame = struct.pack(">BHHB", 8, HEIGHT, WIDTH, 3) + b"\1\x11\0\2\x11\0\3\x11\0"
    file, scans = b"", b""
    for i, grey in enumerate(greys):
        for marker, start, end in segments(grey):
            if marker == 0xDA:
                scans += segment(0xDA, bytes([1, i + 1, 0, 0, 63, 0])) + grey[end:-2]
            elif i == 0:
                file += segment(0xC0, frame) if marker == 0xC0 else grey[start:end]
    add("scans.jpg", b"\xff\xd8" + file + scans + b"\xff\xd9", 4)
    return jpeg


# PNG


def chunk(kind, data):
    import zlib

    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png16(samples, colour):
    """16 bits a channel; colour 0: grey, 4: grey and alpha."""
    import zlib

    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def spread(grey):
    return np.repeat(grey[..., None], 3, -1)


def pngs():
    small = Image.fromarray(BASE[:9, :13])
    png = save(small, "PNG")
    add("base.png", png)
    add("noiend.png", png[:-12])
    add("cut_iend.png", png[:-5])
    add("noiend_nocrc.png", png[:-16], expect=pillow(png))
    add("noiend_palette.png", save(small.quantize(16), "PNG")[:-12])
    add("noiend_text.png", png[:-12] + chunk(b"tEXt", b"Comment\0cut")[:-3], expect=pillow(png))
    # Adam7, whose passes Pillow only reads: of one pixel in each of two passes.
    import zlib

    header = struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 1)
    adam7 = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\x0a\0\x14\0\x1e\x28"))
    add("noiend_adam7.png", adam7)

    grey = np.arange(15, dtype=np.uint16).reshape(3, 5)
    add("grey16_low.png", png16(grey * 17, 0))
    add("grey16_255.png", png16(np.array([[0, 255]]), 0))
    add("grey16_256.png", png16(np.array([[0, 256]]), 0), expect=spread(np.array([[0, 1]])))
    add("grey16.png", png16(grey * 4369, 0), expect=spread(grey * 4369 >> 8))
    add("grey16_alpha_low.png", png16(np.stack([grey * 17, grey * 4369], -1), 4), expect=spread(grey * 17))


# TIFF


def tiff(tags, strips, big=False, order="<"):
    """A TIFF of one directory; tags: {number: (type, values)}, types 3 SHORT, 4 LONG, 5 RATIONAL, 1 BYTE."""
    offset, count, head = ("Q", "Q", 16) if big else ("I", "H", 8)
    file = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    file += struct.pack(order + "HHQ", 8, 0, 0) if big else struct.pack(order + "I", 0)
    starts = []
    for strip in strips:
        starts.append(len(file))
        file += strip + b"\0" * (len(strip) % 2)
    tags = dict(tags) | {273: (4, starts), 279: (4, [len(strip) for strip in strips])}
    size = struct.calcsize(order + offset)
    entries = b""
    for tag, (kind, values) in sorted(tags.items()):
        code = {1: "B", 3: "H", 4: "I", 5: "II"}[kind]
        content = b"".join(struct.pack(order + code, *(v if kind == 5 else [v])) for v in values)
        if len(content) > size:
            where = len(file)
            file += content + b"\0" * (len(content) % 2)
            content = struct.pack(order + offset, where)
        entries += struct.pack(order + "HH" + offset, tag, kind, len(values)) + content.ljust(size, b"\0")
    directory = struct.pack(order + count, len(tags)) + entries + bytes(size)
    pointer = struct.pack(order + offset, len(file))
    return file[: head - size] + pointer + file[head:] + directory


def header(samples, photometric, bits=8, **more):
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    tags = {256: (3, [width]), 257: (3, [height]), 258: (3, [bits] * channels), 259: (3, [1]), 262: (3, [photometric])}
    return tags | {277: (3, [channels]), 278: (3, [height])} | more.get("tags", {})


def packed(indices, bits):
    """Rows of whole bytes."""
    as_bits = (indices[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(as_bits.reshape(len(indices), -1), axis=1).tobytes()


def tiffs():
    rgb = BASE[:5, :7]
    height, width = rgb.shape[:2]
    image = Image.fromarray(rgb)
    add("base.tif", save(image, "TIFF"))
    add("lzw.tif", save(image, "TIFF", compression="tiff_lzw", tiffinfo={317: 2}))
    add("big.tif", save(image, "TIFF", big_tiff=True))
    add("big_be.tif", tiff(header(rgb, 2), [rgb.tobytes()], big=True, order=">"), expect=rgb)
    add("big_palette.tif", palette(4, big=True))
    for bits in (1, 2, 4, 8):
        add(f"palette{bits}.tif", palette(bits, order=">" if bits == 4 else "<"))
    # A map of bytes, as some old writers make it (libtiff's checkcmap): Pillow divides it by 256.
    indices = np.arange(35).reshape(5, 7) % 4
    colours = np.array([[0, 0, 0], [255, 10, 20], [30, 200, 40], [50, 60, 150]])
    old = tiff(header(indices, 3, 8, tags={320: (3, byte_map(colours, 8))}), [indices.astype(np.uint8).tobytes()])
    add("palette_bytes.tif", old, expect=colours[indices])

    grey, alpha = rgb[..., 0], rgb[..., 1]
    both = np.stack([grey, alpha], -1)
    add("grey_alpha.tif", save(Image.fromarray(both, "LA"), "TIFF"))
    extra = {338: (3, [2])}
    add("grey_alpha_be.tif", tiff(header(both, 1, tags=extra), [both.tobytes()], order=">"), expect=spread(grey))
    white = tiff(header(both, 0, tags=extra), [both.tobytes()])
    add("white_is_zero_alpha.tif", white, expect=spread(255 - grey))
    add("white_is_zero.tif", tiff(header(grey, 0), [grey.tobytes()]))
    add("bilevel.tif", save(image.convert("1"), "TIFF", compression="group4"))
    low = (grey.astype(np.uint16) // 2).astype("<u2")
    add("grey16_low.tif", tiff(header(low, 1, 16), [low.tobytes()]))
    wide = grey.astype("<u2") * 257
    add("grey16.tif", tiff(header(wide, 1, 16), [wide.tobytes()]), expect=spread(grey))
    four = grey >> 4
    add("grey4.tif", tiff(header(four, 1, 4), [packed(four, 4)]))

    ycbcr = np.asarray(image.convert("YCbCr"))
    add("ycbcr.tif", tiff(header(ycbcr, 6, tags={530: (3, [1, 1])}), [ycbcr.tobytes()]), 1)
    add("rgb_jpeg.tif", save(RGB, "TIFF", compression="jpeg", quality=90), 6)
    subsampled = header(BASE, 6, tags={259: (3, [7]), 530: (3, [2, 2])})
    add("ycbcr_jpeg.tif", tiff(subsampled, [save(RGB, "JPEG", quality=70)]), 6)
    full = save(RGB.convert("YCbCr"), "TIFF", compression="jpeg", quality=70)
    add("ycbcr_jpeg_full.tif", full, 6)
    add("cmyk.tif", save(image.convert("CMYK"), "TIFF"))
    planes = [rgb[..., channel].tobytes() for channel in range(3)]
    add("planar.tif", tiff(header(rgb, 2, tags={284: (3, [2])}), planes))
    low_planes = [low.tobytes(), wide.tobytes()]
    grey_alpha = header(np.stack([low, wide], -1), 1, 16, tags={284: (3, [2]), 338: (3, [2])})
    add("planar16_low.tif", tiff(grey_alpha, low_planes), expect=spread(low))
    rgba = np.concatenate([rgb // 2, np.full((height, width, 1), 128, np.uint8)], -1)
    rgba[0, 0] = [0, 0, 0, 0]
    add("associated_alpha.tif", tiff(header(rgba, 2, tags={338: (3, [1])}), [rgba.tobytes()]))
    add("unassociated_alpha.tif", tiff(header(rgba, 2, tags={338: (3, [2])}), [rgba.tobytes()]))
    add("orientation_long.tif", tiff(header(rgb, 2, tags={274: (4, [6])}), [rgb.tobytes()]))
    xmp = list(b'<x xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="8"/>')
    add("orientation_xmp.tif", tiff(header(rgb, 2, tags={700: (1, xmp)}), [rgb.tobytes()]))

    refused = {
        "float": tiff(header(grey, 1, 32, tags={339: (3, [3])}), [(grey / 255).astype("<f4").tobytes()]),
        "float_rgb": tiff(header(rgb, 2, 32, tags={339: (3, [3] * 3)}), [(rgb / 255).astype("<f4").tobytes()]),
        "signed": tiff(header(grey, 1, 16, tags={339: (3, [2])}), [low.tobytes()]),
        "bits32": tiff(header(grey, 1, 32), [grey.astype("<u4").tobytes()]),
        "preview": tiff(header(rgb, 2, tags={254: (4, [1])}), [rgb.tobytes()]),
        "bands": tiff(header(rgba, 1), [rgba.tobytes()]),
        "coefficients": tiff(
            header(ycbcr, 6, tags={530: (3, [1, 1]), 529: (5, [(2126, 10000), (7152, 10000), (722, 10000)])}),
            [ycbcr.tobytes()],
        ),
    }
    for name, file in refused.items():
        (HERE / f"refused_{name}.tif").write_bytes(file)


def byte_map(colours, bits):
    table = np.zeros((1 << bits, 3), int)
    table[: len(colours)] = colours
    return table.T.flatten().tolist()


def palette(bits, **options):
    colours = np.array([[250, 0, 10], [5, 180, 90], [70, 40, 230], [255, 255, 0], [0, 130, 200]])[: 1 << bits]
    indices = np.arange(35).reshape(5, 7) % len(colours)
    colour_map = [value * 257 for value in byte_map(colours, bits)]
    return tiff(header(indices, 3, bits, tags={320: (3, colour_map)}), [packed(indices, bits)], **options)


# Orientation


def exif(orientation, kind=3):
    value = struct.pack(">HH", orientation, 0) if kind == 3 else struct.pack(">I", orientation)
    return b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHI", 0x112, kind, 1) + value + bytes(4)


XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description {}</rdf:Description></x:xmpmeta>'
ATTRIBUTE, ELEMENT = 'tiff:Orientation="{}">', "><tiff:Orientation>{}</tiff:Orientation>"


def orientations(jpeg):
    for orientation in range(1, 9):
        add(f"orientation{orientation}.png", save(SMALL, "PNG", exif=exif(orientation)))
    app1 = lambda content: jpeg[:2] + segment(0xE1, content) + jpeg[2:]
    add("orientation_short.jpg", app1(b"Exif\0\0" + exif(3)), 4)
    add("orientation_long.jpg", app1(b"Exif\0\0" + exif(6, kind=4)), 4)
    name = b"http://ns.adobe.com/xap/1.0/\0"
    attribute, element = (XMP.format(form).format(6).encode() for form in (ATTRIBUTE, ELEMENT))
    add("orientation_attribute.jpg", app1(name + attribute), 4)
    add("orientation_element.jpg", app1(name + element), 4)
    # Pillow knows double quotes alone.
    quoted = attribute.replace(b'="6"', b" = '6'")
    add("orientation_quotes.jpg", app1(name + quoted), 4, expect=pillow(app1(name + attribute)))
    both = segment(0xE1, b"Exif\0\0" + exif(1)) + segment(0xE1, name + attribute)
    add("orientation_both.jpg", jpeg[:2] + both + jpeg[2:], 4)
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", attribute.decode())
    add("orientation_xmp.png", save(SMALL, "PNG", pnginfo=text))
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", element.decode(), zip=True)
    add("orientation_xmp_deflated.png", save(SMALL, "PNG", pnginfo=text))
    # Behind the rows, too.
    behind = save(SMALL, "PNG")
    add("orientation_behind.png", behind[:-12] + chunk(b"eXIf", exif(7)) + behind[-12:])
    add("orientation_behind_noiend.png", behind[:-12] + chunk(b"eXIf", exif(7)), expect=pillow((HERE / "orientation7.png").read_bytes()))
    add("orientation_exif.webp", save(SMALL, "WEBP", lossless=True, exif=b"Exif\0\0" + exif(5)))
    add("orientation_xmp.webp", save(SMALL, "WEBP", lossless=True, xmp=attribute))


# GIF


def gif(canvas, frame, at, indices, transparent=None, background=0):
    """One frame of the colours red, green, blue, black, without compression: a clear code before every index."""
    width, height = frame
    file = b"GIF89a" + struct.pack("<HHBBB", *canvas, 0x81, background, 0)
    file += bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0])
    if transparent is not None:
        file += b"\x21\xf9\x04\x01\0\0" + bytes([transparent]) + b"\0"
    codes = [code for index in indices for code in (4, index)] + [5]
    bits = "".join(f"{code:03b}"[::-1] for code in codes)
    data = bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))
    file += b"," + struct.pack("<HHHHB", *at, width, height, 0) + b"\x02" + bytes([len(data)]) + data + b"\0"
    return file + b";"


def gifs():
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 0]])
    white = np.full((4, 5, 3), 255)
    indices = [1, 2, 3, 0, 1, 2]
    framed = white.copy()
    framed[1:3, 1:4] = colours[indices].reshape(2, 3, 3)
    # Pillow fills with the background's colour, red.
    add("frame.gif", gif((5, 4), (3, 2), (1, 1), indices), expect=framed)
    rows = white.copy()
    rows[1:3] = colours[(indices * 2)[:10]].reshape(2, 5, 3)
    add("frame_rows.gif", gif((5, 4), (5, 2), (0, 1), (indices * 2)[:10]), expect=rows)
    holes = framed.copy()
    holes[1:3, 1:4][np.array(indices).reshape(2, 3) == 2] = 255
    add("frame_transparent.gif", gif((5, 4), (3, 2), (1, 1), indices, transparent=2), expect=holes)
    whole = colours[indices].reshape(2, 3, 3)
    add("whole.gif", gif((3, 2), (3, 2), (0, 0), indices))
    hole = whole.copy()
    hole[np.array(indices).reshape(2, 3) == 0] = 255
    add("transparent.gif", gif((3, 2), (3, 2), (0, 0), indices, transparent=0), expect=hole)
    add("notrailer.gif", gif((3, 2), (3, 2), (0, 0), indices)[:-1])
    rgba = np.concatenate([BASE[:3, :5], np.zeros((3, 5, 1), np.uint8)], -1)
    add("alpha.png", save(Image.fromarray(rgba), "PNG"))
    add("alpha.webp", save(Image.fromarray(rgba), "WEBP", lossless=True, exact=True))
    add("lossy.webp", save(RGB, "WEBP", quality=60), 6)
    add("base.bmp", save(SMALL, "BMP"))


jpeg = jpegs()
pngs()
tiffs()
orientations(jpeg)
gifs()
(HERE / "expected.json").write_text(json.dumps({"pictures": PICTURES, "pixels": PIXELS}, indent=0) + "\n")
