"""What the scripts that train the checkpoints of tests/data/trained share: seeds, the loop, and what they write."""

import itertools
import math
import random
import shutil
import sys
import textwrap
import time
from pathlib import Path

import numpy
import torch
from safetensors.torch import load_file

sys.path.append(str(Path(__file__).resolve().parent.parent))
from goldens.common import CHECK, DATA, load, run, save_reference, task_of, worst  # brings the stand-in Detectron2

TRAINED = DATA / "trained"


def start(seed=0):
    """One thread and every generator seeded: the same weights from every run on the same machine."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    numpy.random.seed(seed)
    return random.Random(seed)


def fit(model, batches, steps, learning_rate, weight_decay=0.01, warmup=0.1):
    """AdamW on `steps` batches of keyword arguments: the rate rises linearly, then falls as a cosine."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0}], lr=learning_rate
    )
    first = warmup * steps
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: min((i + 1) / first, 0.5 + 0.5 * math.cos(math.pi * max(0, i - first) / (steps - first)))
    )
    model.train()
    began, total = time.time(), 0.0
    for i, batch in enumerate(itertools.islice(batches, steps), start=1):
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        total += float(loss.detach())
        if i % 100 == 0 or i == steps:
            mean = total / ((i - 1) % 100 + 1)
            print(f"step {i} of {steps}: loss {mean:.4f}, {time.time() - began:.0f} s", flush=True)
            total = 0.0
    model.eval()
    print(f"trained in {time.process_time():.0f} s of processor time", flush=True)


def batches_of(examples, size, rng, collate):
    """Endless batches of shuffled examples."""
    while True:
        order = rng.sample(examples, len(examples))
        for i in range(0, len(order) - size + 1, size):
            yield collate(order[i : i + size])


def save(name, model, *processors):
    """A fresh folder with what save_pretrained writes, and a WordPiece vocabulary as vocab.txt also."""
    path = TRAINED / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    model.save_pretrained(path)
    for processor in processors:
        processor.save_pretrained(path)
        tokenizer = getattr(getattr(processor, "tokenizer", processor), "backend_tokenizer", None)
        if tokenizer:
            tokenizer.model.save(str(path))
    for file in path.iterdir():
        file.chmod(0o644)
    return path


def write_card(name, task, what, data, metric):
    """README.md, with the header that the hub reads."""
    script = f"tools/train/{name.replace('-', '_')}.py"
    parameters = f"{sum(x.numel() for x in load_file(TRAINED / name / 'model.safetensors').values()):,}"
    header = f"---\nlicense: apache-2.0\nlibrary_name: transformers\npipeline_tag: {task}\n---\n# {name}\n\n"
    intro = f"{what} {parameters} parameters, trained from scratch: for tests and demonstrations, and of no other use."
    points = [
        f"Data: {data}",
        f"Held out: {metric}",
        "Licence: Apache-2.0, as the rest of caracal.",
        f"Made by `python {script}`; expected.json and reference.0.safetensors by tools/train/expected.py.",
    ]
    lines = [textwrap.fill(intro, 120), "", *(textwrap.fill(f"- {x}", 120, subsequent_indent="  ") for x in points)]
    (TRAINED / name / "README.md").write_text(header + "\n".join(lines) + "\n", encoding="utf-8")
