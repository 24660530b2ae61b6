"""Lists every field that the four configuration files can have: prints fields.json, which `fields.rs` goes through.

Usage: fields.py OLD_TRANSFORMERS    in an environment with transformers==5.23.0 and open_clip_torch==3.3.0; OLD_TRANSFORMERS is
a folder with transformers==4.44.2 (`pip install --target`), whose configurations had more fields.
"""

import dataclasses
import inspect
import json
import os
import subprocess
import sys

TRANSFORMERS = """
import json
from transformers import CLIPConfig, CLIPImageProcessor, CLIPTextConfig, CLIPVisionConfig
from transformers.processing_utils import ImagesKwargs

print(json.dumps({
    "config.json": [*CLIPConfig().to_dict(), "text_config_dict", "vision_config_dict"],
    "config.json text_config": [*CLIPTextConfig().to_dict()],
    "config.json vision_config": [*CLIPVisionConfig().to_dict()],
    "preprocessor_config.json": [*ImagesKwargs.__annotations__, *CLIPImageProcessor().to_dict(), "use_square_size"],
}))
"""


def transformers(path):
    environment = {**os.environ, "PYTHONPATH": path}
    run = subprocess.run([sys.executable, "-c", TRANSFORMERS], env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def open_clip():
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
    from open_clip.transform import PreprocessCfg

    def names(cls):
        return [field.name for field in dataclasses.fields(cls)]

    model = [name for name in inspect.signature(CLIP).parameters]
    # Of older versions: global_average_pool, input_patchnorm, scaled_cosine.
    older = ["global_average_pool", "input_patchnorm", "scaled_cosine"]
    return {
        "open_clip_config.json": ["model_cfg", "preprocess_cfg"],
        "open_clip_config.json model_cfg": [*model, "custom_text", "multimodal_cfg"],
        "open_clip_config.json model_cfg.vision_cfg": [*names(CLIPVisionCfg), *older],
        "open_clip_config.json model_cfg.text_cfg": names(CLIPTextCfg),
        "open_clip_config.json preprocess_cfg": names(PreprocessCfg),
    }


fields = open_clip()
for listed in (transformers(""), transformers(sys.argv[1])):
    for place, names in listed.items():
        fields[place] = [*fields.get(place, []), *names]
fields["processor_config.json"] = ["auto_map", "image_processor", "processor_class"]
print(json.dumps({place: sorted(set(names)) for place, names in sorted(fields.items())}, indent=1))
