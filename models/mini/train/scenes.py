"""Composes training pictures on the fly: a background, some cut-outs, then what cameras do."""

import torch
from torch.nn import functional as F

SIZE = 64


def pyramid(sprites):
    """The cut-outs at 128, 64 and 32 pixels, channels first."""
    levels = [sprites.permute(0, 3, 1, 2).contiguous()]
    for _ in range(2):
        parts = [F.avg_pool2d(p.float(), 2).round().byte() for p in levels[-1].split(1024)]
        levels.append(torch.cat(parts))
    return levels


def uniform(n, low, high, g):
    return torch.rand(n, generator=g) * (high - low) + low


def backgrounds(n, levels, g):
    """Plain colours, gradients, skies over ground, stripes, soft noise and blurred pictures."""
    kind = torch.rand(n, generator=g)
    a, b = torch.rand(n, 3, 1, 1, generator=g), torch.rand(n, 3, 1, 1, generator=g)
    light = torch.rand(n, 1, 1, 1, generator=g) < 0.4
    a = torch.where(light, 1 - 0.25 * a, a)
    axis = torch.linspace(-1, 1, SIZE)
    angle = uniform(n, 0, 6.2832, g).view(n, 1, 1)
    ramp = (axis.view(1, 1, SIZE) * angle.cos() + axis.view(1, SIZE, 1) * angle.sin()).unsqueeze(1)
    mix = torch.zeros(n, 1, SIZE, SIZE)
    use = lambda low, high: ((kind >= low) & (kind < high)).view(n, 1, 1, 1)
    mix = torch.where(use(0.25, 0.45), ramp * 0.5 + 0.5, mix)
    horizon = uniform(n, -0.5, 0.6, g).view(n, 1, 1, 1)
    mix = torch.where(use(0.45, 0.6), (axis.view(1, 1, SIZE, 1) > horizon).float().expand(n, 1, SIZE, SIZE), mix)
    waves = torch.sin(ramp * uniform(n, 6, 30, g).view(n, 1, 1, 1))
    mix = torch.where(use(0.6, 0.68), (waves * 4).clamp(-1, 1) * 0.5 + 0.5, mix)
    out = a + (b - a) * mix.clamp(0, 1)
    for size in (3, 8, 24):
        amount = uniform(n, 0, 0.5, g) * (torch.rand(n, generator=g) < 0.25)
        noise = torch.rand(n, 3, size, size, generator=g) - 0.5
        out = out + F.interpolate(noise, SIZE, mode="bilinear") * amount.view(n, 1, 1, 1)
    # A cut-out blurred beyond recognition has the colours of real things.
    soft = torch.nonzero(kind > 0.8).flatten()
    picks = torch.randint(len(levels[2]), (len(soft),), generator=g)
    blur = F.avg_pool2d(levels[2][picks].float() / 255, 4)[:, :, 1:-1, 1:-1]
    blur = F.interpolate(blur, SIZE, mode="bicubic")
    out[soft] = out[soft] * (1 - blur[:, 3:]) + blur[:, :3]
    return out.clamp(0, 1)


def recolour(rgb, alpha, g):
    """Turns the hue of a third of the cut-outs about the grey axis; other gains for every channel of each."""
    n = len(rgb)
    turn = (uniform(n, -0.7, 0.7, g) * (torch.rand(n, generator=g) < 0.35)).view(n, 1, 1)
    around = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / 3**0.5
    mix = turn.cos() * torch.eye(3) + (1 - turn.cos()) / 3 + turn.sin() * around
    mix = mix * uniform(n * 3, 0.8, 1.2, g).view(n, 3, 1) * uniform(n, 0.75, 1.2, g).view(n, 1, 1)
    return torch.minimum(torch.bmm(mix, rgb.flatten(2)).view_as(rgb).clamp(min=0), alpha)


def paste(canvas, rows, sprites, scale, x, y, levels, g):
    """Draws one cut-out on each of `rows`; scale 1 fills the picture, x and y are in -1..1."""
    level = torch.where(scale > 0.95, 0, torch.where(scale > 0.42, 1, 2))
    for number, stack in enumerate(levels):
        at = torch.nonzero(level == number).flatten()
        if not len(at):
            continue
        n, s = len(at), scale[at]
        turn = uniform(n, -0.35, 0.35, g) * (torch.rand(n, generator=g) < 0.4)
        flip = torch.where(torch.rand(n, generator=g) < 0.5, -1.0, 1.0)
        wide = torch.exp(uniform(n, -0.15, 0.15, g))
        cos, sin = turn.cos() / s, turn.sin() / s
        theta = torch.stack([flip * wide * cos, flip * wide * sin, -flip * wide * (cos * x[at] + sin * y[at]),
                             -sin / wide, cos / wide, (sin * x[at] - cos * y[at]) / wide], 1).view(n, 2, 3)
        grid = F.affine_grid(theta, (n, 4, SIZE, SIZE), align_corners=False)
        art = F.grid_sample(stack[sprites[at]].float() / 255, grid, align_corners=False)
        rgb, alpha = art[:, :3], art[:, 3:]
        # Line drawing: few colours, dark edges and a black rim, as many illustrators do.
        # Ink would drown what is tiny.
        inked = torch.nonzero(torch.rand(n, generator=g) < (1.2 * s - 0.1).clamp(0, 0.2)).flatten()
        grey = rgb[inked].mean(1, keepdim=True)
        edge = F.max_pool2d(grey, 3, 1, 1) + F.max_pool2d(-grey, 3, 1, 1)
        steps = torch.randint(3, 9, (len(inked), 1, 1, 1), generator=g)
        rgb[inked] = torch.minimum((rgb[inked] * steps).round() / steps, alpha[inked])
        rgb[inked] *= 1 - (edge * uniform(len(inked), 0.5, 3, g).view(-1, 1, 1, 1)).clamp(0, 1)
        alpha[inked] = F.max_pool2d(alpha[inked], 3, 1, 1)
        rgb = recolour(rgb, alpha, g)
        canvas[rows[at]] = canvas[rows[at]] * (1 - alpha) + rgb


def camera(x, g):
    """Brightness, contrast, saturation, grey, blur and grain."""
    n = len(x)
    one = lambda low, high: uniform(n, low, high, g).view(n, 1, 1, 1)
    grey = x.mean(1, keepdim=True)
    saturation = one(0.6, 1.4) * (torch.rand(n, 1, 1, 1, generator=g) > 0.05)
    x = grey + (x - grey) * saturation
    x = (x - 0.5) * one(0.75, 1.2) + 0.5 + one(-0.12, 0.12)
    blurred = torch.nonzero(torch.rand(n, generator=g) < 0.15).flatten()
    x[blurred] = F.avg_pool2d(F.pad(x[blurred], (1, 1, 1, 1), mode="replicate"), 3, 1)
    grainy = torch.nonzero(torch.rand(n, generator=g) < 0.2).flatten()
    x[grainy] += torch.randn(x[grainy].shape, generator=g) * 0.04
    return x.clamp(0, 1)


def compose(targets, draw, levels, crowd, g):
    """Pictures of `targets`, with `draw(n)` giving cut-outs to put around them.

    `crowd` is the share in which the target is small and has company.
    Returns the pictures, how each target is placed and the sprites in each picture, target first.
    """
    n = len(targets)
    x = backgrounds(n, levels, g)
    kind = torch.rand(n, generator=g)
    small, close = kind < crowd, kind > 0.84
    scale = torch.where(small, uniform(n, 0.2, 0.55, g), torch.where(close, uniform(n, 1.1, 2.2, g), uniform(n, 0.55, 1.1, g)))
    reach = torch.where(small, 1 - 0.8 * scale, torch.where(close, 0.7 * scale - 0.3, 1.1 - 0.8 * scale)).clamp(min=0.1)
    px, py = (uniform(n, -1, 1, g) * reach for _ in range(2))
    around = torch.where(small, torch.randint(0, 6, (n,), generator=g), torch.randint(0, 3, (n,), generator=g))
    around[close] = 0
    inside = [[int(t)] for t in targets]
    for turn in range(int(around.max())):
        rows = torch.nonzero(around > turn).flatten()
        extra = draw(len(rows))
        s = uniform(len(rows), 0.15, 0.5, g)
        ex, ey = (uniform(len(rows), -1, 1, g) for _ in range(2))
        # Kept off the target: pushed away from it when too near.
        near = torch.hypot(ex - px[rows], ey - py[rows]) < (s + scale[rows]) * 0.8
        ex = torch.where(near, torch.where(px[rows] > 0, -1.0, 1.0) * uniform(len(rows), 0.5, 1.1, g), ex)
        paste(x, rows, extra, s, ex, ey, levels, g)
        for row, sprite in zip(rows.tolist(), extra.tolist()):
            inside[row].append(sprite)
    paste(x, torch.arange(n), targets, scale, px, py, levels, g)
    placing = ["small" if a else "close" if b else "plain" for a, b in zip(small.tolist(), close.tolist())]
    return camera(x, g), placing, inside
