#!/usr/bin/env python3
"""Compares `caracal parity` with transformers on random configurations of every class.

    python tools/parity.py --draws 300
    python tools/parity.py --seed 7 --only BertLMHeadModel --draw 12     one draw again
    python tools/parity.py --plant --draws 60                            one wrong weight each; must name its output

A draw is a configuration, weights and one call (goldens/grammar.py), run in float32 and in float64: where the two
differ by more than half of the tolerance the draw is repeated, for such a model says nothing about the library.
A temporary directory gets the checkpoint and a reference file (goldens/__init__.py describes it), and the command
compares. Exit status 0 when every draw passes.

--plant changes one weight of a layer in the checkpoint after the reference was made, finds with transformers which
output is the first to change (in the order of the computation, see order()), and expects the command to name it.
"""

import argparse
import copy
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
import transformers
from goldens.common import CHECK, load, randomize, run, save_file, save_reference, store, task_of, worst
from goldens.grammar import CLASSES, draw_case
from goldens.wav2vec2 import frame_mask
from safetensors.torch import load_file
from transformers.utils import logging

ROOT = Path(__file__).resolve().parent.parent
VISIBLE = 1e-2  # a planted weight moves some output by this much, or another is planted
WHOLE = ("pooler_output", "seq_relationship_logits", "embeddings", "codevector_perplexity")  # no tokens, no frames
NO_INFO = {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": []}


@dataclass
class Tally:
    draws: int = 0
    worst: float = 0.0
    failures: list = field(default_factory=list)


@dataclass
class Draw:
    case: object
    path: Path
    task: str
    load: dict
    inputs: dict
    arguments: dict
    outputs: dict
    redrawn: int = 0


def make_draw(path, class_name, seed, number, plain=False):
    """Writes checkpoint and reference into `path`; plain: one float32 file."""
    rng = random.Random(f"{seed} {class_name} {number}")
    for redrawn in range(50):
        case = draw_case(class_name, rng)
        if plain:
            case.dtype, case.save = torch.float32, {}
        generator = torch.Generator().manual_seed(rng.getrandbits(40))
        case.config._attn_implementation = "eager"
        model = randomize(getattr(transformers, class_name)(case.config, **case.init), generator, case.embedding_range)
        exact, single = copy.deepcopy(model).double(), copy.deepcopy(model)
        model.to(case.dtype)
        for each in (exact, single):  # rounds the weights to what is stored; what is not stored stays
            each.load_state_dict(model.state_dict())
        inputs, arguments = case.sets[0].make(case.config, generator, single)
        outputs = run(single, inputs, arguments)
        error = worst(outputs, run(exact, inputs, arguments))
        if error <= CHECK:
            break
    else:
        sys.exit(f"{class_name} draw {number}: no well-conditioned configuration in 50")
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    store(case, path, model)
    task, arguments_of_load = task_of(class_name), dict(case.load)
    if case.extra:  # what loading adds to the weights
        case.extra(path, model, generator)
        outputs = run(load(path, task, case.load, torch.float32)[0], inputs, arguments)
    if case.dtype != torch.float32:
        arguments_of_load["dtype"] = "float32"
    metadata = {"class": class_name, "task": task, "set": "drawn", "arguments": arguments, "load": arguments_of_load,
                "loading_info": NO_INFO}  # fmt: skip
    save_reference(path / "reference.0.safetensors", inputs, outputs, metadata)
    return Draw(case, path, task, arguments_of_load, inputs, arguments, outputs, redrawn)


def ask(caracal, path):
    """(report, error): the command's JSON line, or what went wrong."""
    command = [caracal, "parity", "--model", path, "--reference", path / "reference.0.safetensors", "--json"]
    try:
        done = subprocess.run([str(x) for x in command], capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return None, "no answer in two minutes"
    lines = done.stdout.strip().splitlines()
    if done.returncode not in (0, 1) or not lines:  # a signal, a refusal
        said = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        return None, f"exit {done.returncode}: {said}"
    report = json.loads(lines[-1])
    if (done.returncode == 0) != (report["first_diverging"] is None):
        return report, f"exit {done.returncode}, but first_diverging is {report['first_diverging']}"
    return report, None


def check(draw, class_name, caracal):
    """(worst, what is wrong or None)"""
    report, error = ask(caracal, draw.path)
    if error is not None:
        return 0.0, error
    if report["first_diverging"] is not None:
        return report["worst"], f"first diverging {report['first_diverging']}, worst {report['worst_name']}"
    if report["class"] != class_name:
        return report["worst"], f"opened as {report['class']}"
    if report["compared"] != len(draw.outputs):
        return report["worst"], f"compared {report['compared']} of {len(draw.outputs)} outputs"
    return report["worst"], None


def order(name):
    """Where an output stands in the computation: layer by layer, then the final norm, the pooler, the head."""
    parts = name.split(".")
    if name == "extract_features":
        return -1, 0
    if len(parts) == 1:
        return 10**6, {"last_hidden_state": 0, "pooler_output": 1, "embeddings": 1}.get(name, 2)
    kind = parts[0] + (f".{parts[2]}" if len(parts) == 3 else "")
    in_layer = ["hidden_states", "past_key_values.keys", "past_key_values.values", "attentions",
                "past_key_values.cross_keys", "past_key_values.cross_values", "cross_attentions"]  # fmt: skip
    return int(parts[1]), in_layer.index(kind)


def plant(draw, rng):
    """Changes one weight of the checkpoint. (its name, the first output that changes)"""
    file = draw.path / "model.safetensors"
    tensors = load_file(file)
    for _ in range(50):
        name = rng.choice(sorted(tensors))
        wrong = {key: tensor.clone() for key, tensor in tensors.items()}
        values = wrong[name].view(-1)
        values[rng.randrange(len(values))] += rng.choice([-3.0, 3.0])
        save_file(wrong, file, {"format": "pt"})
        model, _ = load(draw.path, draw.task, draw.load, torch.float32)
        outputs = run(model, draw.inputs, draw.arguments)
        changes = {key: worst({key: outputs[key]}, {key: draw.outputs[key].double()}) for key in draw.outputs}
        changed = sorted((key for key in changes if changes[key] > 0), key=order)
        counted = {key: masked_change(draw, key, outputs[key]) for key in changed}
        if changed and counted[changed[0]] > VISIBLE:
            return name, changed[0]
    return None, None  # nothing in this model is seen clearly


def masked_change(draw, name, got):
    """The largest difference at positions that count (goldens/__init__.py)."""
    change = (got - draw.outputs[name]).abs() / draw.outputs[name].abs().clamp(min=1)
    mask, encoder_mask = draw.inputs.get("attention_mask"), draw.inputs.get("encoder_attention_mask")
    if name.startswith("past_key_values") and "cross" in name:
        return float(change.max() if encoder_mask is None else change.transpose(1, 2)[encoder_mask.bool()].max())
    per_token = name not in WHOLE and not (name == "logits" and got.dim() == 2)
    if mask is None or not per_token:
        return float(change.max())
    if "input_values" in draw.inputs:
        behind_adapter = name in ("last_hidden_state", "logits")
        mask = frame_mask(draw.case.config, mask, got.shape[2 if "attentions" in name else 1], behind_adapter)
    mask = mask.reshape(-1, mask.shape[-1]).bool()
    if "image" in draw.inputs:  # behind the text, whole
        length = got.shape[2 if "attentions" in name else 1]
        mask = torch.nn.functional.pad(mask, (0, length - mask.shape[1]), value=True)
    if name.startswith("past_key_values"):
        return float(change.transpose(1, 2)[mask].max())
    if "attentions" in name:
        return float(change.transpose(1, 2)[mask[:, -got.shape[2] :]].max())
    return float(change[mask[:, -got.shape[1] :]].max())


def describe(draw):
    inputs = {name: list(x.shape) for name, x in draw.inputs.items()}
    config = {key: value for key, value in draw.case.config.to_diff_dict().items() if key != "transformers_version"}
    return json.dumps({"config": config, "load": draw.load, "arguments": draw.arguments, "inputs": inputs})


def progress(done, total, name):
    if sys.stderr.isatty():
        filled = 40 * done // total
        end = "\n" if done == total else ""
        print(f"\r[{'#' * filled}{'.' * (40 - filled)}] {done}/{total} {name:36}", end=end, file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=300, help="in total, spread over the classes (default 300)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="CLASS", nargs="+", choices=CLASSES, help="these classes alone")
    parser.add_argument("--draw", metavar="K", type=int, help="draw K alone, of each class")
    parser.add_argument("--caracal", type=Path, default=ROOT / "build/release/tools/caracal")
    parser.add_argument("--keep", metavar="DIR", type=Path, help="keep every draw as DIR/CLASS/K")
    parser.add_argument("--plant", action="store_true", help="plant one wrong weight in each draw")
    args = parser.parse_args()
    if not args.caracal.exists():
        sys.exit(f"no {args.caracal}: build it, or say --caracal PATH")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)

    classes = args.only or CLASSES
    numbers = [(k % len(classes), k // len(classes)) for k in range(args.draws)]
    if args.draw is not None:
        numbers = [(i, args.draw) for i in range(len(classes))]
    tallies = {name: Tally() for name in classes}
    redrawn, unseen, planted = 0, 0, Counter()
    with tempfile.TemporaryDirectory() as temporary:
        for done, (index, number) in enumerate(numbers):
            name, tally = classes[index], tallies[classes[index]]
            progress(done, len(numbers), name)
            path = args.keep / name / str(number) if args.keep else Path(temporary) / "draw"
            draw = make_draw(path, name, args.seed, number, plain=args.plant)
            redrawn += draw.redrawn
            if args.plant:
                weight, first = plant(draw, random.Random(f"plant {args.seed} {name} {number}"))
                if weight is None:
                    unseen += 1
                    continue
                report, wrong = ask(args.caracal, path)
                if wrong is None and report["first_diverging"] != first:
                    wrong = f"expected {first}, but {report['first_diverging']} was named"
                wrong = wrong and f"planted in {weight}: {wrong}"
                planted[first] += 1
            else:
                gap, wrong = check(draw, name, args.caracal)
                tally.worst = max(tally.worst, float("inf") if gap is None else gap)
            tally.draws += 1
            if wrong is not None:
                again = f"--seed {args.seed} --only {name} --draw {number}"
                tally.failures.append(f"{again}: {wrong}\n    {describe(draw)}")
        progress(len(numbers), len(numbers), "")
    print(f"{'class':36}{'draws':>6}{'failed':>8}{'worst |Δ|':>12}")
    for name, tally in tallies.items():
        print(f"{name:36}{tally.draws:6}{len(tally.failures):8}{tally.worst:12.1e}")
    total, failed = sum(t.draws for t in tallies.values()), sum(len(t.failures) for t in tallies.values())
    print(f"{'all':36}{total:6}{failed:8}{max(t.worst for t in tallies.values()):12.1e}  ({redrawn} redrawn)")
    if args.plant:
        where = ", ".join(f"{name} {planted[name]}" for name in sorted(planted, key=order))
        print(f"planted, by the first output that changes: {where}; {unseen} models show nothing")
    for tally in tallies.values():
        for failure in tally.failures:
            print(failure)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
