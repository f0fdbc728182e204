#!/usr/bin/env python3
"""Checks what `caracal save` writes: transformers must load it to the same weights.

    python tools/check_weights.py [CASE_DIRECTORY ...]        by default every case of tests/data/models

Each case is saved four times: as it is, in small shards, in bfloat16, and in int8 and then as float32 again. The judge
is transformers, which loads and saves the same checkpoint: no missing or unexpected keys, equal tensors bit for bit in
the stored dtype (close ones after int8), the same names in the files, an equal configuration, an index that tells the
truth. Freshly drawn weights are compared by shape. What is in int8 itself transformers must refuse.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from goldens.common import DATA, read_metadata
from safetensors.torch import load_file
from transformers import AutoConfig
from transformers.utils import logging

ROOT = Path(__file__).resolve().parent.parent
WAYS = {"stored": [], "sharded": ["--max-shard-size", "5KB"], "bfloat16": ["--dtype", "bfloat16"],
        "int8": ["--dtype", "float32"]}  # fmt: skip
DTYPES = {"bfloat16": torch.bfloat16, "int8": torch.float32}  # others stay in the stored one
SHARD = 5000  # bytes: KB is 1000 here as in transformers
MODEL_ARGUMENTS = ("add_pooling_layer", "use_mask_token")  # of the class, not of the checkpoint


def open_model(path, task, arguments, dtype):
    auto = getattr(transformers, task)
    return auto.from_pretrained(path, dtype=dtype, output_loading_info=True, **arguments)


def stored(folder):
    """(tensors of all weight files, the files' sizes without headers)"""
    tensors, sizes = {}, {}
    for file in sorted(folder.glob("*.safetensors")):
        part = load_file(file)
        sizes[file.name] = sum(x.nbytes for x in part.values()), len(part)
        tensors |= part
    return tensors, sizes


def same_bits(a, b):
    return torch.equal(a.contiguous().view(-1).view(torch.uint8), b.contiguous().view(-1).view(torch.uint8))


def close(a, b):
    return same_bits(a, b) or torch.linalg.norm(a - b) <= 0.01 * torch.linalg.norm(b)


def config_of(folder):
    return {key: value for key, value in AutoConfig.from_pretrained(folder).to_dict().items() if key != "_name_or_path"}


def check_index(folder, sizes, tensors):
    file = folder / "model.safetensors.index.json"
    if len(sizes) == 1:
        return [] if not file.exists() and list(sizes) == ["model.safetensors"] else [f"one file, but {list(sizes)}"]
    if not file.exists():
        return ["no index"]
    index, wrong = json.loads(file.read_text()), []
    if set(index["weight_map"]) != set(tensors) or set(index["weight_map"].values()) != set(sizes):
        wrong.append("weight_map")
    if index["metadata"].get("total_size") != sum(size for size, _ in sizes.values()):
        wrong.append(f"total_size {index['metadata'].get('total_size')}")
    wrong += [f"{name} holds {size} bytes" for name, (size, count) in sizes.items() if size > SHARD and count > 1]
    return wrong


def save(caracal, source, task, output, options, arguments):
    command = [caracal, "save", source, "--task", task, "--output", output, *options]
    for key, value in arguments.items():
        command += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    done = subprocess.run([str(x) for x in command], capture_output=True, text=True)
    return [] if done.returncode == 0 else [f"exit {done.returncode}: {done.stderr.strip()}"]


def check_refused(folder, task):
    if not any(tensor.dtype == torch.int8 for tensor in stored(folder)[0].values()):
        return ["nothing in int8"]
    try:
        open_model(folder, task, {}, "auto")
    except ValueError as error:
        return [] if "quant" in str(error) else [str(error)]
    return ["transformers loads int8"]


def check_case(caracal, case, way, temporary):
    """What is wrong, as a list."""
    metadata = read_metadata(case / "reference.0.safetensors")
    task, arguments = metadata["task"], json.loads(metadata["load"])
    arguments.pop("dtype", None)  # that of the reference; here the stored one counts
    output, expected = temporary / "output", temporary / "expected"
    source = case
    if way == "int8":
        source = temporary / "int8"
        if wrong := save(caracal, case, task, source, ["--dtype", "int8"], arguments) or check_refused(source, task):
            return wrong
    kept = {k: v for k, v in arguments.items() if k in MODEL_ARGUMENTS}
    if wrong := save(caracal, source, task, output, WAYS[way], arguments if source == case else kept):
        return wrong

    theirs, info = open_model(case, task, arguments, DTYPES.get(way, "auto"))
    theirs.save_pretrained(expected)
    ours, report = open_model(output, task, kept, "auto")
    wrong = [f"{kind}: {sorted(report[kind])}" for kind in report if report[kind]]
    if type(ours) is not type(theirs):
        wrong.append(f"{type(ours).__name__} for {type(theirs).__name__}")

    fresh = set(info["missing_keys"]) | {key for key, *_ in info["mismatched_keys"]}
    a, b = ours.state_dict(), theirs.state_dict()
    wrong += [f"only in one state_dict: {name}" for name in sorted(set(a) ^ set(b))]
    for name in sorted(set(a) & set(b)):
        if a[name].dtype != b[name].dtype or a[name].shape != b[name].shape:
            wrong.append(f"{name}: {a[name].dtype} {list(a[name].shape)} for {b[name].dtype} {list(b[name].shape)}")
        elif name not in fresh and not (close if way == "int8" else same_bits)(a[name], b[name]):
            wrong.append(f"{name}: other values")

    tensors, sizes = stored(output)
    names = stored(expected)[0]
    wrong += [f"{name} is written, transformers does not" for name in sorted(set(tensors) - set(names))]
    wrong += [f"{name} is not written, transformers does" for name in sorted(set(names) - set(tensors))]
    wrong += [f"{name} in the file: {tensors[name].dtype} for {names[name].dtype}"
              for name in sorted(set(tensors) & set(names)) if tensors[name].dtype != names[name].dtype]  # fmt: skip
    wrong += check_index(output, sizes, tensors)
    got, want = config_of(output), config_of(expected)
    wrong += [f"config {key}: {got.get(key)!r} for {want.get(key)!r}"
              for key in sorted(set(got) | set(want)) if got.get(key) != want.get(key)]  # fmt: skip
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", type=Path, metavar="CASE_DIRECTORY")
    parser.add_argument("--caracal", type=Path, default=ROOT / "build/release/tools/caracal")
    args = parser.parse_args()
    if not args.caracal.exists():
        sys.exit(f"no {args.caracal}: build it, or say --caracal PATH")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    cases = args.cases or sorted(file.parent for file in (DATA / "models").rglob("reference.0.safetensors"))
    failed = 0
    for case in cases:
        for way in WAYS:
            with tempfile.TemporaryDirectory() as temporary:
                wrong = check_case(args.caracal, case, way, Path(temporary))
            failed += bool(wrong)
            for line in wrong:
                print(f"{case.parent.name}/{case.name} {way}: {line}")
    print(f"{len(cases)} cases, {len(cases) * len(WAYS)} saved checkpoints, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
