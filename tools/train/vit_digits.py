"""Trains tests/data/trained/vit-digits: a ViT on the 8 x 8 digits of scikit-learn.

    python tools/train/vit_digits.py
"""

import numpy
import torch
from common import batches_of, fit, save, start, write_card
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

NAME = "vit-digits"
SAMPLES = 12  # held-out images stored beside the model


def pixels(images):
    """(N, 8, 8) grey levels to the (N, 3, 8, 8) that the processor makes of them."""
    x = torch.tensor(images, dtype=torch.float32)[:, None].repeat(1, 3, 1, 1)
    return (x / 255 - 0.5) / 0.5


def shifted(image, rng):
    """Moved by up to a pixel each way, and a little lighter or darker."""
    down, right = rng.choice((-1, 0, 0, 1)), rng.choice((-1, 0, 0, 1))
    padded = numpy.pad(image, 1)[1 - down : 9 - down, 1 - right : 9 - right]
    return numpy.clip(padded * rng.uniform(0.8, 1.2), 0, 255)


def main():
    rng = start()
    digits = load_digits()
    images = numpy.round(digits.images * 255 / 16).astype(numpy.uint8)
    train, test, train_labels, test_labels = train_test_split(
        images, digits.target, test_size=0.25, stratify=digits.target, random_state=0
    )
    model = ViTForImageClassification(
        ViTConfig(
            image_size=8, patch_size=2, hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
            intermediate_size=128, hidden_dropout_prob=0.1, num_labels=10,
            id2label={i: str(i) for i in range(10)}, label2id={str(i): i for i in range(10)},
        )
    )  # fmt: skip

    def collate(rows):
        return {"pixel_values": pixels(numpy.stack([shifted(image, rng) for image, _ in rows])),
                "labels": torch.tensor([label for _, label in rows])}  # fmt: skip

    fit(model, batches_of(list(zip(train, train_labels)), 64, rng, collate), steps=2000, learning_rate=2e-3)
    with torch.inference_mode():
        guesses = model(pixel_values=pixels(test)).logits.argmax(-1).numpy()
    metric = f"{(guesses == test_labels).mean():.1%} of {len(test)} images right."
    print(metric)

    size = {"height": 8, "width": 8}
    path = save(NAME, model, ViTImageProcessor(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3))
    count = {}
    for image, label in list(zip(test, test_labels))[: 10 * SAMPLES]:
        n = count[label] = count.get(label, 0) + 1
        if n == 1 or (n == 2 and label < SAMPLES - 10):
            Image.fromarray(image).save(path / f"{label}{'ab'[n - 1]}.png")
    write_card(
        NAME, "image-classification", "A ViT that reads handwritten digits of 8 x 8 pixels, white on black.",
        f"{len(train)} images of scikit-learn's digits (UCI ML hand-written digits, E. Alpaydin and C. Kaynak, 1998, "
        "CC BY 4.0), moved by up to a pixel. The PNG files here, named by their digit, are held-out ones.",
        metric,
    )  # fmt: skip


if __name__ == "__main__":
    main()
