"""What each kernel moves and computes for a batch: one picture's 61 views through a vision tower, and their scores.

The formulas are those of kernels/README.md ("What a kernel moves at least"), each operand once, with this backend's
element types: activations and weights f16, the residual stream f32.
"""

from dataclasses import dataclass

F16 = 2
F32 = 4

VIEWS = 61
SIZE = 224
# The similarities of benches/similarity.rs: 1,000 classes of 50 descriptions.
CLASSES = 1000
TEXTS = 50_000
# The views of benches/crop_resize.rs: a picture of 1024×768, the square in its middle and 60 crops with sides of 0.5 to
# 0.9 of the shorter one (ViewSampling's default).
SHORTER = 768
SMALLEST, LARGEST = 0.5, 0.9
# Texts for the text tower's kernel: CLIP's context of 77 tokens.
TEXT_ROWS = 64 * 77


@dataclass(frozen=True)
class Model:
    """A published architecture, as src/model/config.rs has it."""

    name: str
    width: int
    layers: int
    heads: int
    patch: int
    embedding: int
    text_width: int

    @property
    def mlp(self) -> int:
        return 4 * self.width

    @property
    def patches(self) -> int:
        return (SIZE // self.patch) ** 2

    @property
    def tokens(self) -> int:
        return self.patches + 1


MODELS = [
    Model("ViT-B/32", width=768, layers=12, heads=12, patch=32, embedding=512, text_width=512),
    Model("ViT-L/14", width=1024, layers=24, heads=16, patch=14, embedding=768, text_width=768),
]


@dataclass(frozen=True)
class Call:
    """A kernel's call, and how often a batch has it; 0 when it is not of this path."""

    entry: str
    what: str
    times: int
    bytes: int
    operations: int
    integer: bool = False


def crop_resize(model: Model) -> Call:
    # Mean side and mean square of a side that is uniform between the smallest and the largest, as shares.
    mean = (SMALLEST + LARGEST) / 2
    mean_square = (LARGEST**3 - SMALLEST**3) / (LARGEST - SMALLEST) / 3
    sides = SHORTER * (1 + (VIEWS - 1) * mean)
    squares = SHORTER**2 * (1 + (VIEWS - 1) * mean_square)
    # Bicubic: 4·side/SIZE taps; side · SIZE pixels across, then SIZE · SIZE down; 6 operations a tap.
    taps = 4 * (squares + SIZE * sides)
    pixels = VIEWS * SIZE**2
    what = f"{VIEWS} views of {SIZE}²"
    return Call("crop_resize_f16", what, 1, round(3 * squares + 3 * F16 * pixels), round(6 * taps), integer=True)


def linear(entry: str, name: str, times: int, rows: int, outputs: int, inputs: int, output_bytes: int) -> Call:
    """`output_bytes` of an element of the output: 2 or 4, or 8 to accumulate; the entry's name ends in its weights."""
    operand = F32 if entry.startswith("linear_f32") else F16
    moved = operand * (rows * inputs + outputs * inputs) + F32 * outputs + output_bytes * rows * outputs
    return Call(entry, f"{name} [{rows}, {inputs}] · [{outputs}, {inputs}]", times, moved, 2 * rows * outputs * inputs)


def layer_norm(entry: str, name: str, times: int, rows: int, width: int, bytes_a_pair: int) -> Call:
    """`bytes_a_pair` of an element of the input and one of the output."""
    moved = bytes_a_pair * rows * width + 2 * F32 * width
    return Call(entry, f"{name} [{rows}, {width}]", times, moved, 8 * rows * width)


def attention(entry: str, times: int, model: Model, element: int = F16) -> Call:
    """Each token of a view sees all of the view's tokens."""
    rows, width = VIEWS * model.tokens, model.width
    what = f"{VIEWS} views of {model.tokens} tokens, {model.heads} heads of {width // model.heads}"
    return Call(entry, what, times, 4 * element * rows * width, 4 * rows * model.tokens * width)


def gather_rows(entry: str, times: int, width: int, bytes_a_pair: int) -> Call:
    return Call(entry, f"[{VIEWS}, {width}]", times, bytes_a_pair * VIEWS * width + 4 * VIEWS, 0)


def calls(model: Model) -> list[Call]:
    """In the order of the forward pass.

    Once the last block has keys and values it computes the class tokens alone: left out, but for their choice.
    """
    width, mlp, layers, embedding = model.width, model.mlp, model.layers, model.embedding
    rows, patch_rows = VIEWS * model.tokens, VIEWS * model.patches
    positions = F16 * patch_rows * width + F32 * (model.tokens + 1) * width + F32 * rows * width
    # As `Tile::choose` does with 132 multiprocessors.
    large = "linear_128x96" if rows < 4096 else "linear_128x128"
    return [
        crop_resize(model),
        linear(f"{large}_f16", "patches", 1, patch_rows, width, 3 * model.patch**2, F16),
        Call("add_positions_f16_f32", f"[{rows}, {width}]", 1, positions, rows * width),
        layer_norm("layer_norm_f32_f16", "before the blocks", 1, rows, width, F32 + F16),
        layer_norm("layer_norm_f16_f16", "of the blocks", 2 * layers - 1, rows, width, 2 * F16),
        linear(f"{large}_f16", "key_value", layers, rows, 2 * width, width, F16),
        linear(f"{large}_f16", "query", layers - 1, rows, width, width, F16),
        attention("attention_64", layers - 1, model),
        linear(f"{large}_f16", "output", layers - 1, rows, width, width, 2 * F16),
        linear(f"{large}_f16", "up", layers - 1, rows, mlp, width, F16),
        linear(f"{large}_f16", "down", layers - 1, rows, width, mlp, 2 * F16),
        gather_rows("gather_rows_f16_f16", 1, width, 2 * F16),
        gather_rows("gather_rows_f16_f32", 1, width, F16 + F32),
        linear("linear_64x64_f32", "projection", 1, VIEWS, embedding, width, F32),
        Call("l2_normalize", f"[{VIEWS}, {embedding}]", 1, 2 * F32 * VIEWS * embedding, 3 * VIEWS * embedding),
        alignment_weights(embedding),
        weighted_similarity(embedding),
        *elsewhere(model, rows),
    ]


def alignment_weights(width: int) -> Call:
    moved = F32 * (VIEWS * width + width + VIEWS)
    return Call("alignment_weights", f"[{VIEWS}, {width}], 1 segment", 1, moved, 2 * VIEWS * width)


def weighted_similarity(width: int) -> Call:
    moved = F32 * VIEWS * width + F16 * TEXTS * width + F32 * (VIEWS + TEXTS + CLASSES)
    what = f"{VIEWS} views, {TEXTS:,} texts of {width} in f16, {CLASSES:,} classes"
    return Call("weighted_similarity_f16", what, 1, moved, 2 * VIEWS * TEXTS * width)


def elsewhere(model: Model, rows: int) -> list[Call]:
    """Kernels that no batch in f16 calls: the text tower's, and those for weights in f32."""
    text = model.text_width
    return [
        Call("embed_tokens_f16", f"[{TEXT_ROWS}, {text}]", 0, (2 * F32 + F16) * TEXT_ROWS * text + 8 * TEXT_ROWS, TEXT_ROWS * text),
        linear("linear_f32_f32_128x128", "up", 0, rows, model.mlp, model.width, F32),
        attention("attention_f32", 0, model, F32),
    ]
