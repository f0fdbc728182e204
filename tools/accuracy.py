#!/usr/bin/env python3
"""What bfloat16, float16 and int8 cost in accuracy, as markdown.

    python tools/accuracy.py build/release/tools/caracal --minilm build/models/all-MiniLM-L6-v2 --texts DIR

Sentences: embeddings of `--count` English sentences of the books in DIR (plain text files), by all-MiniLM-L6-v2, against
those of caracal in float32: cosine (least, mean) and Spearman's correlation of the similarities of all pairs. Retrieval:
how often the same sentence comes first as with float32 when the first half of a sentence's words is searched for ("same
found"), and when the nearest other sentence is ("same nearest"). Of sentences drawn by lot the nearest other one is seldom
related: every hundredth leads the next by less than 0.0004 in cosine, so that the latter counts how ties were broken, too.
Beside them ONNX Runtime's dynamic int8 (per channel) of the same model.
Tasks: the checkpoints of tests/data/trained on held-out examples that tools/train makes for them (with espeak-ng and
Tesseract; what Tesseract read is kept in build/train).
"""

import argparse
import functools
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from scipy.stats import rankdata
from transformers import AutoProcessor, AutoTokenizer

ROOT = Path(__file__).resolve().parents[1]
TRAINED = ROOT / "tests" / "data" / "trained"
DTYPES = ["float32", "bfloat16", "float16", "int8"]
sys.path += [str(ROOT / "bench"), str(ROOT / "tools" / "train")]


class Caracal:
    def __init__(self, program):
        self.program = program

    def run(self, model, task, inputs, dtype):
        """The outputs of an Auto class."""
        with tempfile.TemporaryDirectory() as folder:
            save_file({k: np.ascontiguousarray(v) for k, v in inputs.items()}, f"{folder}/in")
            command = [self.program, "run", "--model", str(model), "--task", task, "--inputs", f"{folder}/in",
                       "--outputs", f"{folder}/out", "--dtype", dtype]  # fmt: skip
            subprocess.run(command, check=True)
            return load_file(f"{folder}/out")


def sentences_of(folder, count):
    """Different sentences of 20 to 300 characters, drawn by lot (seeded) from the English books."""
    found = {}
    for file in sorted(Path(folder).rglob("*.txt")):
        text = file.read_text(encoding="utf-8", errors="replace")
        if sum(c in "etaoin" for c in text) < 0.3 * len(text):  # not English
            continue
        for sentence in re.split(r"(?<=[.!?])[\"”’]?\s+", re.sub(r"\s+", " ", text)):
            if 20 <= len(sentence) <= 300 and sentence[0].isupper():
                found[sentence] = None
    if len(found) < count:
        sys.exit(f"accuracy.py: expected at least {count} sentences in {folder} but got {len(found)}")
    return random.Random(0).sample(list(found), count)


def embed(forward, tokenizer, sentences, size=100):
    """Mean over the tokens, of length 1, as the model's card says; in batches of similar length."""
    order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
    result = [None] * len(sentences)
    for begin in range(0, len(order), size):
        batch = order[begin : begin + size]
        inputs = dict(tokenizer([sentences[i] for i in batch], padding=True, truncation=True, max_length=256, return_tensors="np"))
        states = forward(inputs)
        mask = inputs["attention_mask"][..., None].astype(np.float64)
        vectors = (states * mask).sum(1) / mask.sum(1)
        for i, vector in zip(batch, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)):
            result[i] = vector
    return np.array(result)


def first_half(sentence):
    words = sentence.split()
    return " ".join(words[: (len(words) + 1) // 2])


def compare(name, reference, got):
    """A row of the table, of (embeddings of the sentences, of their first halves)."""
    found = [np.argmax(halves @ all.T, axis=1) for all, halves in (reference, got)]
    same_found = np.mean(found[0] == found[1])
    (reference, _), (got, _) = reference, got
    cosine = (reference * got).sum(1)
    pairs = np.triu_indices(len(reference), 1)
    ranks = [rankdata(((x @ x.T)[pairs]).astype(np.float32)) for x in (reference, got)]
    nearest = [np.argmax(x @ x.T - 2 * np.eye(len(x)), axis=1) for x in (reference, got)]
    same = np.mean(nearest[0] == nearest[1])
    figures = f"{cosine.min():.6f} | {cosine.mean():.6f} | {np.corrcoef(*ranks)[0, 1]:.6f}"
    return f"| {name} | {figures} | {100 * same_found:.2f} % | {100 * same:.2f} % |"


def onnx_int8(model, work):
    """forward() of ONNX Runtime's dynamic int8."""
    import peers

    args = argparse.Namespace(model=str(model), work=str(work), threads=1, peer="ort-int8")
    session = peers.Onnx(args)

    def forward(inputs):
        return session.arrays(session.prepare(inputs)())["last_hidden_state"]

    return forward


def minilm_rows(caracal, args):
    tokenizer = AutoTokenizer.from_pretrained(args.minilm)
    sentences = sentences_of(args.texts, args.count)
    forward = lambda dtype: lambda inputs: caracal.run(args.minilm, "AutoModel", inputs, dtype)["last_hidden_state"]  # noqa: E731
    texts = [sentences, [first_half(sentence) for sentence in sentences]]
    vectors = {dtype: [embed(forward(dtype), tokenizer, part) for part in texts] for dtype in DTYPES}
    rows = [compare(dtype, vectors["float32"], vectors[dtype]) for dtype in DTYPES[1:]]
    with tempfile.TemporaryDirectory() as work:
        peer = onnx_int8(args.minilm, work)
        rows.append(compare("ONNX Runtime int8", vectors["float32"], [embed(peer, tokenizer, part) for part in texts]))
    return rows


def intents(forward):
    from intents import INTENTS, sentence

    rng = random.Random(1)
    test = [sentence(rng, held_out=True) for _ in range(4000)]
    tokenizer = AutoTokenizer.from_pretrained(TRAINED / "distilbert-intents")
    inputs = dict(tokenizer([text for text, _ in test], padding=True, return_tensors="np"))
    guesses = forward("distilbert-intents", "AutoModelForSequenceClassification", inputs)["logits"].argmax(-1)
    return np.mean([INTENTS[guess] == intent for guess, (_, intent) in zip(guesses, test)])


def entities(forward):
    from bert_entities import LABELS, entities_of
    from entities import labels_of, sentence

    rng = random.Random(1)
    test = [sentence(rng, held_out=True) for _ in range(4000)]
    tokenizer = AutoTokenizer.from_pretrained(TRAINED / "bert-entities")
    encoded = tokenizer([text for text, _ in test], padding=True, return_offsets_mapping=True, return_tensors="np")
    inputs = dict(encoded)
    offsets = inputs.pop("offset_mapping").tolist()
    guesses = forward("bert-entities", "AutoModelForTokenClassification", inputs)["logits"].argmax(-1)
    right = got = want = 0
    for n, (row, pieces, (_, spans)) in enumerate(zip(guesses, offsets, test)):
        labels, words = labels_of(pieces, spans), encoded.word_ids(n)
        first = [i for i, word in enumerate(words) if word is not None and word != words[i - 1]]  # pieces of words
        found, true = entities_of([LABELS[row[i]] for i in first]), entities_of([labels[i] for i in first])
        right, got, want = right + len(found & true), got + len(found), want + len(true)
    return 2 * right / (got + want)


def digits(forward):
    from sklearn.datasets import load_digits
    from vit_digits import pixels

    data = load_digits()
    images = np.round(data.images * 255 / 16).astype(np.uint8)
    from sklearn.model_selection import train_test_split

    _, test, _, labels = train_test_split(images, data.target, test_size=0.25, stratify=data.target, random_state=0)
    outputs = forward("vit-digits", "AutoModelForImageClassification", {"pixel_values": pixels(test).numpy()})
    return np.mean(outputs["logits"].argmax(-1) == labels)


@functools.cache
def spoken():
    from speech import HELD_OUT_VOICES, clips

    return clips(random.Random(1), HELD_OUT_VOICES, 400)


def speech(forward):
    from speech import RATE, word_errors

    name = "wav2vec2-spoken-digits"
    processor = AutoProcessor.from_pretrained(TRAINED / name)
    errors = words = 0
    for text, samples in spoken():  # one by one: padding would count in the group norm
        inputs = dict(processor(samples, sampling_rate=RATE, return_tensors="np"))
        heard = processor.decode(forward(name, "AutoModelForCTC", inputs)["logits"][0].argmax(-1))
        errors, words = errors + word_errors(heard, text), words + len(text.split())
    return 1 - errors / words


@functools.cache
def invoices():
    from forms import dataset
    from layoutlmv2_forms import CACHE
    from transformers import LayoutLMv2ImageProcessorPil

    forms, images = dataset(200, True, ROOT / CACHE), LayoutLMv2ImageProcessorPil(size={"height": 64, "width": 64})
    for form in forms:
        form["pixels"] = images(form["image"].convert("RGB"), apply_ocr=False, return_tensors="np").pixel_values[0]
    return forms


def fields(forward):
    from forms import FIELDS
    from layoutlmv2_forms import LABELS, fields_of

    tokenizer = AutoTokenizer.from_pretrained(TRAINED / "layoutlmv2-forms")
    forms = invoices()
    encoded = tokenizer([form["words"] for form in forms], boxes=[form["boxes"] for form in forms], padding=True,
                        return_tensors="np")  # fmt: skip
    inputs = dict(encoded) | {"image": np.stack([form["pixels"] for form in forms])}
    guesses = forward("layoutlmv2-forms", "AutoModelForTokenClassification", inputs)["logits"].argmax(-1)
    right = 0
    for n, form in enumerate(forms):
        labels = {}
        for guess, word in zip(guesses[n], encoded.word_ids(n)):
            if word is not None:
                labels.setdefault(word, LABELS[guess])  # that of the word's first piece
        found = fields_of(form["words"], [labels[i] for i in range(len(form["words"]))])
        want = fields_of(form["words"], form["labels"])
        right += sum(found.get(field) == want.get(field) for field in FIELDS)
    return right / (len(forms) * len(FIELDS))


TASKS = {"distilbert-intents (accuracy, 4000 sentences)": intents, "bert-entities (F1, 4000 sentences)": entities,
         "vit-digits (accuracy, 450 images)": digits,
         "wav2vec2-spoken-digits (words right, 400 clips)": speech,
         "layoutlmv2-forms (fields right, 200 invoices)": fields}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("caracal", help="the caracal command")
    parser.add_argument("--minilm", type=Path, help="all-MiniLM-L6-v2; without it, tasks alone")
    parser.add_argument("--texts", type=Path, help="folder of English books")
    parser.add_argument("--count", type=int, default=2000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    caracal = Caracal(args.caracal)
    print(subprocess.check_output([args.caracal, "version"], text=True))
    if args.minilm:
        print(f"| all-MiniLM-L6-v2, {args.count} sentences | cosine, least | cosine, mean | rank correlation | same found | same nearest |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        print("\n".join(minilm_rows(caracal, args)), flush=True)
    print(f"\n| task | {' | '.join(DTYPES)} |\n| --- |" + " ---: |" * len(DTYPES))
    for name, task in TASKS.items():
        scores = [task(lambda model, auto, x, d=dtype: caracal.run(TRAINED / model, auto, x, d)) for dtype in DTYPES]
        print(f"| {name} | " + " | ".join(f"{100 * s:.2f} %" for s in scores) + " |", flush=True)


if __name__ == "__main__":
    main()
