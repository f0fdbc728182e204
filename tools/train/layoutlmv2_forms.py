"""Trains tests/data/trained/layoutlmv2-forms: LayoutLMv2 that finds the fields of invoices read by Tesseract.

    apt-get install tesseract-ocr-eng fonts-dejavu-core
    python tools/train/layoutlmv2_forms.py
"""

import math
import string

import torch
from common import batches_of, fit, save, start, write_card
from forms import FIELDS, WORDS, dataset, imagined
from phrases import invented
from torch.nn import functional as F
from torch.nn.utils import parametrize
from transformers import (
    LayoutLMv2Config,
    LayoutLMv2ForTokenClassification,
    LayoutLMv2ImageProcessorPil,
    LayoutLMv2Processor,
)
from vocabulary import train_wordpiece

NAME = "layoutlmv2-forms"
CACHE = "build/train/forms"
LABELS = ["O", *(f"{part}-{field}" for field in FIELDS for part in "BI")]
SAMPLES = 5
NAMES = {part for seen, _ in WORDS.values() for name in seen for part in name.split()}
NAME_LIST = sorted(NAMES)
BACKBONE = LayoutLMv2Config.get_default_detectron2_config() | {
    "MODEL.RESNETS.DEPTH": 50, "MODEL.RESNETS.NUM_GROUPS": 4, "MODEL.RESNETS.WIDTH_PER_GROUP": 1,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8, "MODEL.RESNETS.RES2_OUT_CHANNELS": 8, "MODEL.FPN.OUT_CHANNELS": 16,
}  # fmt: skip


def make_model(tokenizer):
    model = LayoutLMv2ForTokenClassification(
        LayoutLMv2Config(
            vocab_size=len(tokenizer), hidden_size=96, num_hidden_layers=3, num_attention_heads=4,
            intermediate_size=192, hidden_dropout_prob=0.05, attention_probs_dropout_prob=0.0,
            max_position_embeddings=256, coordinate_size=16, shape_size=16, image_feature_pool_shape=[3, 3, 16],
            max_2d_position_embeddings=1001, convert_sync_batchnorm=False, detectron2_config_args=BACKBONE,
            num_labels=len(LABELS), id2label=dict(enumerate(LABELS)),
            label2id={label: i for i, label in enumerate(LABELS)},
        )
    )  # fmt: skip
    for name, buffer in model.named_buffers():
        if name.endswith("conv3.norm.weight"):
            buffer.fill_(0.3)  # the norms are frozen, and many residuals add up
    return model


class Interpolated(torch.nn.Module):
    """An embedding of places, given at every tenth of them and straight in between: what is learnt of one place holds
    for its neighbours, though few forms have a word at either."""

    def __init__(self, rows, step=10):
        super().__init__()
        self.step = step
        knots = torch.arange(math.ceil((rows - 1) / step) + 1)
        self.register_buffer("shares", (1 - (torch.arange(rows)[:, None] / step - knots).abs()).clamp(min=0))

    def forward(self, knots):
        return self.shares @ knots

    def right_inverse(self, weight):
        return weight[:: self.step].clone()


def look_along_lines(model):
    """Two heads begin with an eye for what stands on the same line, where a value has its label."""
    bias = model.layoutlmv2.encoder.rel_pos_y_bias.weight  # (heads, 32 distances up, then 32 down)
    with torch.no_grad():
        bias[:2, :12] = bias[:2, 32:44] = 3


def places_of(model):
    """The embeddings of boxes' corners, heights and widths."""
    for name, module in model.layoutlmv2.embeddings.named_children():
        if name.endswith("position_embeddings") and name != "position_embeddings":
            yield module


def reworded(words, rng):
    """Other names and numbers of the same form: so that places and labels count."""
    result = []
    for word in words:
        bare = word.strip(".,:")
        if bare in NAMES and rng.random() < 0.8:
            other = rng.choice(NAME_LIST) if rng.random() < 0.3 else invented(rng, NAME_LIST).capitalize()
            word = word.replace(bare, other)
        result.append("".join(rng.choice(string.digits) if c.isdigit() else c for c in word))
    return result


def moved(boxes, rng):
    """The whole page a little elsewhere and of another size."""
    scale, dx, dy = rng.uniform(0.9, 1.05), rng.randint(-30, 30), rng.randint(-30, 30)
    return [[min(1000, max(0, round(x * scale) + d)) for x, d in zip(box, (dx, dy, dx, dy))] for box in boxes]


def fields_of(words, labels):
    """{field: text}, of the words with each field's labels."""
    found = {}
    for word, label in zip(words, labels):
        if label != "O":
            found.setdefault(label[2:], []).append(word)
    return {field: " ".join(parts) for field, parts in found.items()}


def predict(model, tokenizer, form):
    """A label for each word: that of its first piece."""
    encoding = tokenizer(form["words"], boxes=form["boxes"], return_tensors="pt")
    with torch.inference_mode():
        guesses = model(**encoding, image=form["pixels"][None]).logits[0].argmax(-1)
    labels = {}
    for guess, word in zip(guesses.tolist(), encoding.word_ids()):
        if word is not None:
            labels.setdefault(word, LABELS[guess])
    return [labels[i] for i in range(len(form["words"]))]


def main():
    rng = start()
    train, test, more = dataset(500, False, CACHE), dataset(150, True, CACHE), imagined(3000)
    images = LayoutLMv2ImageProcessorPil(size={"height": 64, "width": 64})
    for form in train + test + more:
        form["pixels"] = images(form["image"].convert("RGB"), apply_ocr=False, return_tensors="pt").pixel_values[0]
    texts = [" ".join(form["words"]) for form in train]
    characters = string.ascii_lowercase + string.digits + string.punctuation
    tokenizer = train_wordpiece("LayoutLMv2Tokenizer", texts, 700, True, 256, alphabet=characters)
    model = make_model(tokenizer)
    look_along_lines(model)
    for places in places_of(model):
        torch.nn.init.normal_(places.weight, std=0.05)
        parametrize.register_parametrization(places, "weight", Interpolated(places.weight.shape[0]), unsafe=True)

    def collate(forms):
        boxes = [moved(form["boxes"], rng) for form in forms]
        labels = [[LABELS.index(label) for label in form["labels"]] for form in forms]
        words = [reworded(form["words"], rng) for form in forms]
        batch = tokenizer(words, boxes=boxes, word_labels=labels, padding=True, truncation=True, return_tensors="pt")
        hidden = (batch["input_ids"] >= 5) & (torch.rand(batch["input_ids"].shape) < 0.05)
        batch["input_ids"] = batch["input_ids"].masked_fill(hidden, tokenizer.mask_token_id)
        shift = F.pad(torch.stack([form["pixels"] for form in forms]).float(), [4] * 4, value=255.0)
        dy, dx = rng.randint(0, 8), rng.randint(0, 8)
        return dict(batch) | {"image": shift[:, :, dy : dy + 64, dx : dx + 64]}

    fit(model, batches_of(4 * train + more, 8, rng, collate), steps=3000, learning_rate=1e-3)
    for places in places_of(model):
        parametrize.remove_parametrizations(places, "weight")
    right = exact = total = 0
    for form in test:
        found = fields_of(form["words"], predict(model, tokenizer, form))
        want = fields_of(form["words"], form["labels"])
        for field in FIELDS:
            total += 1
            right += found.get(field) == want.get(field)
            exact += found.get(field) == form["fields"][field]
    metric = (
        f"{right / total:.1%} of {total} fields on {len(test)} forms with other names, in the words that Tesseract "
        f"read; {exact / total:.1%} exactly as printed."
    )
    print(metric)

    path = save(NAME, model, LayoutLMv2Processor(images, tokenizer))
    for i, form in enumerate(test[:SAMPLES]):
        form["image"].save(path / f"invoice{i}.png", optimize=True)
    write_card(
        NAME, "token-classification", "A LayoutLMv2 that finds vendor, customer, number, date and total of an invoice.",
        f"invoices that `tools/train/forms.py` invents and draws: {len(train)} read by Tesseract 5, {len(more)} by what "
        "imitates it. The PNG files here are held out.",
        metric,
    )  # fmt: skip


if __name__ == "__main__":
    main()
