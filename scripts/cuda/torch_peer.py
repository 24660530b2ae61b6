"""The vision tower of CLIP in PyTorch: fp16, scaled_dot_product_attention, with and without a CUDA graph.

What scripts/gpu-check sets beside `crossalign bench`: the same architectures on random weights, 61 views a run, from the
patch matrix on (cropping is not part of it, which favours PyTorch). Medians of event times.
"""

import statistics

import torch
from torch import nn

# Image side, patch side, width, layers, heads, embedding: as src/model/config.rs names them.
ARCHITECTURES = {
    "ViT-B-32": (224, 32, 768, 12, 12, 512),
    "ViT-B-16": (224, 16, 768, 12, 12, 512),
    "ViT-L-14": (224, 14, 1024, 24, 16, 768),
}
VIEWS = 61


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        views, tokens, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(views, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.output(attended.transpose(1, 2).reshape(views, tokens, width))
        hidden = self.up(self.norm2(x))
        return x + self.down(hidden * torch.sigmoid(1.702 * hidden))


class Vision(nn.Module):
    def __init__(self, side, patch, width, layers, heads, embedding):
        super().__init__()
        self.patches = nn.Linear(3 * patch * patch, width, bias=False)
        self.class_token = nn.Parameter(torch.randn(width) * 0.02)
        self.positions = nn.Parameter(torch.randn((side // patch) ** 2 + 1, width) * 0.02)
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.projection = nn.Linear(width, embedding, bias=False)

    def forward(self, patches):
        x = self.patches(patches)
        x = torch.cat([self.class_token.expand(len(x), 1, -1), x], dim=1) + self.positions
        x = self.blocks(self.before(x))
        return nn.functional.normalize(self.projection(self.after(x[:, 0])), dim=-1)


def median_ms(run):
    for _ in range(5):
        run()
    times = []
    for _ in range(50):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


@torch.inference_mode()
def main():
    print(f"PyTorch {torch.__version__} on {torch.cuda.get_device_name()}, fp16")
    for name, architecture in ARCHITECTURES.items():
        side, patch = architecture[:2]
        model = Vision(*architecture).cuda().half().eval()
        patches = torch.randn(VIEWS, (side // patch) ** 2, 3 * patch * patch, device="cuda", dtype=torch.half)
        eager = median_ms(lambda: model(patches))
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            model(patches)
        replayed = median_ms(graph.replay)
        print(f"{name}: {VIEWS / eager * 1e3:.0f} views/s eager, {VIEWS / replayed * 1e3:.0f} views/s as a CUDA graph")


main()
