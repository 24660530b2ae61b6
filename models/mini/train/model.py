"""CLIP, written with transformers' parameter names so that its weights load there unchanged.

Plain batched products do attention here: for 65 tokens they beat the fused CPU kernel.
"""

import torch
from torch import nn
from torch.nn import functional as F

CONFIG = {
    "image_size": 64, "patch_size": 8, "projection_dim": 192,
    "vision": {"hidden_size": 192, "num_hidden_layers": 6, "num_attention_heads": 3},
    "text": {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 2},
    "vocab_size": 3072, "context": 32,
}


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x, mask):
        b, n, w = x.shape
        parts = (self.q_proj, self.k_proj, self.v_proj)
        weight, bias = torch.cat([p.weight for p in parts]), torch.cat([p.bias for p in parts])
        qkv = F.linear(x, weight, bias).view(b, n, 3, self.heads, w // self.heads)
        q, k, v = (t.reshape(b * self.heads, n, -1) for t in qkv.permute(2, 0, 3, 1, 4))
        scores = torch.bmm(q, k.transpose(1, 2)) * (w // self.heads) ** -0.5
        if mask is not None:
            scores = scores + mask[:n, :n].to(scores.dtype)
        out = torch.bmm(scores.softmax(-1), v).view(b, self.heads, n, -1)
        return self.out_proj(out.transpose(1, 2).reshape(b, n, w))


class MLP(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.self_attn, self.mlp = Attention(width, heads), MLP(width)

    def forward(self, x, mask=None):
        x = x + self.self_attn(self.layer_norm1(x), mask)
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.layers = nn.ModuleList(
            Layer(c["hidden_size"], c["num_attention_heads"]) for _ in range(c["num_hidden_layers"]))

    def forward(self, x, mask=None):
        for layer in self.layers:
            x = layer(x, mask)
        return x


def waves(side, width):
    """Where a patch is, as sines and cosines: a start from which places are learnt faster."""
    turn = torch.arange(side)[:, None] * 100 ** -(torch.arange(width // 4) / (width // 4))
    line = torch.cat([turn.sin(), turn.cos()], 1)
    grid = torch.cat([line[:, None].expand(side, side, -1), line[None].expand(side, side, -1)], 2)
    return torch.cat([torch.zeros(1, width), grid.flatten(0, 1)])


class VisionEmbeddings(nn.Module):
    def __init__(self, width, image, patch):
        super().__init__()
        self.class_embedding = nn.Parameter(torch.randn(width) * width**-0.5)
        self.patch_embedding = nn.Conv2d(3, width, patch, patch, bias=False)
        self.position_embedding = nn.Embedding((image // patch) ** 2 + 1, width)

    def forward(self, pixels):
        conv = self.patch_embedding
        patches = F.unfold(pixels, conv.kernel_size, stride=conv.stride).transpose(1, 2)
        x = F.linear(patches.to(conv.weight.dtype), conv.weight.flatten(1))
        cls = self.class_embedding.to(x.dtype).expand(len(x), 1, -1)
        return torch.cat([cls, x], 1) + self.position_embedding.weight


class VisionTower(nn.Module):
    def __init__(self, c):
        super().__init__()
        v = c["vision"]
        self.embeddings = VisionEmbeddings(v["hidden_size"], c["image_size"], c["patch_size"])
        self.pre_layrnorm = nn.LayerNorm(v["hidden_size"])  # transformers' own spelling
        self.encoder = Encoder(v)
        self.post_layernorm = nn.LayerNorm(v["hidden_size"])

    def forward(self, pixels, keep=None):
        x = self.embeddings(pixels)
        if keep is not None:
            x = x.gather(1, keep[:, :, None].expand(-1, -1, x.shape[2]))
        x = self.encoder(self.pre_layrnorm(x))
        return self.post_layernorm(x[:, 0])


class TextEmbeddings(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.token_embedding = nn.Embedding(c["vocab_size"], c["text"]["hidden_size"])
        self.position_embedding = nn.Embedding(c["context"], c["text"]["hidden_size"])

    def forward(self, ids):
        return self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]


class TextTower(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embeddings = TextEmbeddings(c)
        self.encoder = Encoder(c["text"])
        self.final_layer_norm = nn.LayerNorm(c["text"]["hidden_size"])
        causal = torch.full((c["context"], c["context"]), float("-inf")).triu(1)
        self.register_buffer("causal", causal, persistent=False)

    def forward(self, ids):
        x = self.final_layer_norm(self.encoder(self.embeddings(ids), self.causal))
        # The end token has the largest id; argmax finds the first of them.
        return x[torch.arange(len(x)), ids.argmax(1)]


class CLIP(nn.Module):
    def __init__(self, c=CONFIG):
        super().__init__()
        self.config = c
        self.vision_model, self.text_model = VisionTower(c), TextTower(c)
        self.visual_projection = nn.Linear(c["vision"]["hidden_size"], c["projection_dim"], bias=False)
        self.text_projection = nn.Linear(c["text"]["hidden_size"], c["projection_dim"], bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(2.6593))
        for name, p in self.named_parameters():
            if name == "vision_model.embeddings.position_embedding.weight":
                p.data = 0.2 * waves(c["image_size"] // c["patch_size"], p.shape[1])
            elif "embedding" in name and "patch" not in name and "class" not in name:
                nn.init.normal_(p, std=0.02)
            elif p.dim() == 2:
                nn.init.normal_(p, std=p.shape[1] ** -0.5 * (0.5 if "out_proj" in name or "fc2" in name else 1))

    def image(self, pixels, keep=None):
        return F.normalize(self.visual_projection(self.vision_model(pixels, keep)).float(), dim=-1)

    def text(self, ids):
        return F.normalize(self.text_projection(self.text_model(ids)).float(), dim=-1)
