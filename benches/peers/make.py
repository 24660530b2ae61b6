"""Makes what the other programs here time: a ViT-B/32 of random weights in transformers' layout, also for fastembed as ONNX, and JPEGs of 640x480
cut out of photographs. For all of them: pip install torch torchvision transformers open_clip_torch fastembed onnx onnxscript "ray[data]" and the wheel.

usage: make.py OUT REFERENCE [PICTURES]   REFERENCE: a folder with tokenizer.json and pictures/*.png; into OUT/model, OUT/onnx, OUT/pictures
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

SIZE = (640, 480)


class Embeds(torch.nn.Module):
    """The image tower with its projection."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixel_values):
        return self.model.visual_projection(self.model.vision_model(pixel_values=pixel_values).pooler_output)


def make_model(out, tokenizer):
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(projection_dim=512)).eval()  # its defaults are ViT-B/32
    # The initial weights are so small that all pictures would look alike; time does not depend on them.
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2 and "layers" in name:
                parameter.normal_(0, 0.03)
    model.save_pretrained(out / "model")
    CLIPImageProcessor().save_pretrained(out / "model")
    shutil.copy(tokenizer, out / "model")
    (out / "onnx").mkdir()
    shutil.copy(out / "model/preprocessor_config.json", out / "onnx")
    names = {"input_names": ["pixel_values"], "output_names": ["image_embeds"]}
    count = torch.export.Dim("count", min=1, max=256)
    torch.onnx.export(
        Embeds(model).eval(),
        (torch.randn(2, 3, 224, 224),),
        out / "onnx/model.onnx",
        dynamo=True,
        external_data=False,
        dynamic_shapes={"pixel_values": {0: count}},
        **names,
    )


def make_pictures(out, photographs, count):
    out.mkdir()
    random = np.random.default_rng(0)
    photographs = [Image.open(path).convert("RGB") for path in photographs]
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        height = random.uniform(0.5, 1) * min(photograph.height, photograph.width * SIZE[1] / SIZE[0])
        width = height * SIZE[0] / SIZE[1]
        left, top = random.uniform(0, photograph.width - width), random.uniform(0, photograph.height - height)
        cut = photograph.resize(SIZE, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
        grain = random.normal(0, 4, (SIZE[1], SIZE[0], 1))  # enlarged, they are smoother than what a camera gives
        pixels = np.clip(np.asarray(cut) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(out / f"{number:04}.jpg", quality=90)


def main(out, reference, count="64"):
    out, reference = Path(out), Path(reference)
    out.mkdir(parents=True)
    make_model(out, reference / "tokenizer.json")
    make_pictures(out / "pictures", sorted((reference / "pictures").glob("*.png")), int(count))


main(*sys.argv[1:])
