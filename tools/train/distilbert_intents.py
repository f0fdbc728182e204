"""Trains tests/data/trained/distilbert-intents: DistilBERT that tells what a sentence asks a home assistant to do.

    python tools/train/distilbert_intents.py
"""

import string

import torch
from common import batches_of, fit, save, start, write_card
from intents import INTENTS, sentence
from transformers import DistilBertConfig, DistilBertForSequenceClassification
from vocabulary import train_wordpiece

NAME = "distilbert-intents"


def main():
    rng = start()
    train = [sentence(rng, held_out=False) for _ in range(8000)]
    test = [sentence(rng, held_out=True) for _ in range(1000)]
    characters = string.ascii_lowercase + string.digits + string.punctuation
    tokenizer = train_wordpiece("DistilBertTokenizer", [text for text, _ in train], 900, True, 64, alphabet=characters)
    labels = INTENTS
    model = DistilBertForSequenceClassification(
        DistilBertConfig(
            vocab_size=len(tokenizer), max_position_embeddings=64, dim=96, n_layers=2, n_heads=4, hidden_dim=256,
            dropout=0.2, seq_classif_dropout=0.2, num_labels=len(labels), id2label=dict(enumerate(labels)),
            label2id={label: i for i, label in enumerate(labels)},
        )
    )  # fmt: skip

    def collate(rows):
        batch = dict(tokenizer([text for text, _ in rows], padding=True, return_tensors="pt"))
        pieces = batch["attention_mask"].bool() & (batch["input_ids"] >= 5)
        hidden = pieces & (torch.rand(pieces.shape) < 0.15)  # unknown words exist
        batch["input_ids"] = batch["input_ids"].masked_fill(hidden, tokenizer.unk_token_id)
        return batch | {"labels": torch.tensor([labels.index(intent) for _, intent in rows])}

    fit(model, batches_of(train, 32, rng, collate), steps=2000, learning_rate=1e-3)
    correct = 0
    for text, intent in test:
        with torch.inference_mode():
            correct += labels[model(**tokenizer(text, return_tensors="pt")).logits.argmax()] == intent
    share = correct / len(test)
    metric = f"{share:.1%} of {len(test)} sentences in other phrasings, half of the time with other words."
    print(metric)
    save(NAME, model, tokenizer)
    write_card(
        NAME, "text-classification",
        f"A DistilBERT that tells which of {len(labels)} things a sentence asks a home assistant to do.",
        f"{len(train)} sentences that `tools/train/intents.py` makes of three quarters of its phrasings and words.",
        metric,
    )  # fmt: skip


if __name__ == "__main__":
    main()
