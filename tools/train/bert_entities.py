"""Trains tests/data/trained/bert-entities: BERT that marks persons, places and organisations.

    python tools/train/bert_entities.py
"""

import string

import torch
from common import batches_of, fit, save, start, write_card
from entities import labels_of, sentence
from transformers import BertConfig, BertForTokenClassification
from vocabulary import train_wordpiece

NAME = "bert-entities"
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]


def entities_of(labels):
    """{(first, last, kind)} in words."""
    found, open_at = set(), None
    for i, label in enumerate([*labels, "O"]):
        if open_at is not None and label != f"I-{labels[open_at][2:]}":
            found.add((open_at, i - 1, labels[open_at][2:]))
            open_at = None
        if label.startswith("B-") or (label.startswith("I-") and open_at is None):
            open_at = i
    return found


def main():
    rng = start()
    train = [sentence(rng, held_out=False) for _ in range(12000)]
    test = [sentence(rng, held_out=True) for _ in range(1000)]
    characters = string.ascii_letters + string.digits + string.punctuation
    tokenizer = train_wordpiece("BertTokenizer", [text for text, _ in train], 1000, False, 64, alphabet=characters)
    config = BertConfig(
        vocab_size=len(tokenizer), max_position_embeddings=64, hidden_size=96, num_hidden_layers=3,
        num_attention_heads=4, intermediate_size=256, num_labels=len(LABELS), id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
    )  # fmt: skip
    model = BertForTokenClassification(config)

    def encode(rows):
        batch = tokenizer([text for text, _ in rows], padding=True, return_offsets_mapping=True, return_tensors="pt")
        offsets = batch.pop("offset_mapping").tolist()
        return dict(batch), [labels_of(pieces, spans) for pieces, (_, spans) in zip(offsets, rows)]

    def collate(rows):
        batch, labels = encode(rows)
        hidden = (batch["input_ids"] >= 5) & (torch.rand(batch["input_ids"].shape) < 0.05)  # so that context counts
        batch["input_ids"] = batch["input_ids"].masked_fill(hidden, tokenizer.mask_token_id)
        labels = [[-100 if x is None else LABELS.index(x) for x in row] for row in labels]
        return batch | {"labels": torch.tensor(labels)}

    fit(model, batches_of(train, 32, rng, collate), steps=3000, learning_rate=1e-3)
    right = got = want = 0
    for row in test:
        batch, [labels] = encode([row])
        with torch.inference_mode():
            guesses = [LABELS[i] for i in model(**batch).logits[0].argmax(-1)]
        words = tokenizer(row[0]).word_ids()
        firsts = [i for i, word in enumerate(words) if word is not None and word != words[i - 1]]  # pieces of words
        a, b = (entities_of([each[i] for i in firsts]) for each in (guesses, labels))
        right, got, want = right + len(a & b), got + len(a), want + len(b)
    scores = f"precision {right / got:.1%}, recall {right / want:.1%}, F1 {2 * right / (got + want):.1%}"
    metric = f"{scores} of {want} entities (by words' first pieces) in {len(test)} sentences, other phrasings and names."
    print(metric)
    save(NAME, model, tokenizer)
    write_card(
        NAME, "token-classification", "A cased BERT that marks persons, places and organisations.",
        f"{len(train)} sentences that `tools/train/entities.py` makes of three quarters of its phrasings and names.",
        metric,
    )  # fmt: skip


if __name__ == "__main__":
    main()
