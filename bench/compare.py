#!/usr/bin/env python3
"""Times caracal beside PyTorch eager and compiled, ONNX Runtime (raw and optimizer-fused) and OpenVINO, in float32, or
with --dtype in bfloat16 or int8.

    python bench/compare.py --threads 2 --cells bert-base:1x8,distilbert-base:1x128,vit-base-16-224:4
    python bench/compare.py --combine RUN1.json RUN2.json RUN3.json --tag all

A cell is MODEL:BATCHxLENGTH for texts; with a trailing r the lengths are ragged (of real paragraphs, mean 60 % of LENGTH):
caracal gets the real tokens, each peer gets them padded in the groups that it does fastest. For images it is MODEL:BATCH, of the configuration's
size, for audio MODEL:BATCHxSECONDSs, for LayoutLMv2's pages (of 224 x 224 pixels) MODEL:BATCHxLENGTH. MODEL is one of
CLASSES below, of random weights (seeded), or a checkpoint directory.
bench/README.md says how the measurement is kept fair. Needs tools/requirements.txt and g++.
"""

import argparse
import contextlib
import datetime
import hashlib
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from machine import Machine, choose_cores, cpu_info, floor_ms, last_level_cache_bytes
from results import AROUND, combine, file_name, summary, write
from worker import Worker

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BACKENDS = {"caracal": "native", "caracal-onednn": "onednn", "caracal-eigen": "eigen"}
PEERS = {"float32": ["torch", "compile", "compile-dynamic", "ort", "ort-fused", "openvino"],
         "bfloat16": ["torch-bf16", "compile-bf16", "openvino-bf16"],
         "int8": ["torch-int8", "ort-int8", "ort-fused-int8", "openvino-int8"]}  # fmt: skip
# Quantiles 0, 1/16 … 1 of the lengths of 1,274 paragraphs of two English novels in BERT's tokens, truncated to 56: mean 0.6.
LENGTHS = [0.09, 0.14, 0.18, 0.2, 0.23, 0.29, 0.36, 0.45, 0.55, 0.7, 0.86, 1, 1, 1, 1, 1, 1]
CLASSES = {"bert-base": "Bert", "distilbert-base": "DistilBert", "vit-base-16-224": "ViT", "wav2vec2-base": "Wav2Vec2",
           "layoutlmv2-base": "LayoutLMv2"}  # all of their default shape  # fmt: skip
SAMPLING_RATE = 16000
CELLS = ["bert-base:1x8", "bert-base:1x32", "bert-base:1x128", "distilbert-base:1x8", "distilbert-base:1x128",
         "vit-base-16-224:1", "vit-base-16-224:4"]  # fmt: skip
PACED_ROUNDS = 3
STOLEN = 0.005  # of the time of all cores: less does not move a median
TOLERANCE = 2e-5  # of max(1, |reference|), for outputs of float32 systems; printed, and flagged when exceeded


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def note(text):
    progress("")
    print(text, file=sys.stderr, flush=True)


# ---- the systems ----------------------------------------------------------------------------------------------------


class Peer(Worker):
    """A worker process of peers.py, or of another program that answers as it does."""

    def __init__(self, name, model, threads, program=HERE / "peers.py", options=()):
        environment = dict(os.environ, TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")
        for pool in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            environment[pool] = str(threads)
        command = [sys.executable, program, name, "--model", model.path, "--work", model.work, "--threads", str(threads)]
        super().__init__([*command, *options], environment, model.work / f"{'-'.join([name, *options[1::2]])}.log")

    def prepare(self, cell):
        prepared = self.ask(do="prepare", cell=str(cell.file))
        self.first_ms, self.groups = prepared["first_ms"], prepared["groups"]

    def output(self, cell, file):
        return self.ask(do="output", file=str(file))

    def time(self, cell, warmup, seconds, every_ms=0):
        timing = self.ask(do="time", warmup_s=warmup, seconds=seconds, every_ms=every_ms)
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        peak_mb = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024
        return timing | {"load_ms": self.started["load_ms"], "first_call_ms": self.first_ms, "peak_rss_mb": peak_mb, "groups": self.groups}


class Caracal:
    """`caracal bench`, a fresh process each turn (it loads, warms up, then times)."""

    def __init__(self, program, model, threads, backend, dtype, device="cpu", environment=None, options=()):
        self.program, self.model = program, str(model)
        self.options = ["--threads", str(threads), "--backend", backend, "--dtype", dtype, "--device", device, *options]
        self.environment = environment
        self.version = self.command("version").splitlines()[0]

    def command(self, *arguments):
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True, env=self.environment)
        if done.returncode:
            raise RuntimeError(done.stderr.strip() or f"caracal {arguments[0]}: exit code {done.returncode}")
        return done.stdout

    def prepare(self, cell):
        pass

    def output(self, cell, file):
        self.command("run", "--model", self.model, "--task", "AutoModel", "--inputs", str(cell.file), "--outputs",
                     str(file), *self.options)  # fmt: skip

    def time(self, cell, warmup, seconds, every_ms=0):
        shape = ["--batch", str(cell.batch)]
        if not cell.images:
            shape += ["--seq", str(cell.length)]
        if cell.ragged:
            shape = ["--lengths", ",".join(map(str, cell.lengths))]
        line = self.command("bench", "--model", self.model, "--task", "AutoModel", *shape,
                            "--seconds", str(seconds), "--every-ms", str(every_ms), *self.options, "--json")  # fmt: skip
        return json.loads(line)

    def close(self):
        pass


class Model:
    """A checkpoint directory and the folder of what is made from it: exported graphs, logs, inputs."""

    def __init__(self, name, work):
        self.name = name
        self.path = Path(name).resolve()
        if name in CLASSES:
            self.path = work / "models" / name
            if not (self.path / "config.json").exists():
                make_random_model(name, self.path)
        self.name = self.path.name
        self.work = work / f"{self.name}-{hashlib.sha256(str(self.path).encode()).hexdigest()[:8]}"
        self.work.mkdir(exist_ok=True)
        self.config = json.loads((self.path / "config.json").read_text())


def make_random_model(name, path):
    """A model of its class's default shape with seeded weights, biases too, as save_pretrained writes them."""
    import torch
    import transformers

    note(f"writing random weights of {name} to {path}")
    sys.path.append(str(ROOT / "tools" / "goldens" / "standin"))  # a detectron2, for LayoutLMv2
    torch.manual_seed(0)
    model = getattr(transformers, CLASSES[name] + "Model")(getattr(transformers, CLASSES[name] + "Config")())
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.02 * torch.randn_like(parameter)
        for part, module in model.named_modules():
            if part.endswith("conv3.norm"):  # else the 33 blocks of the backbone double the variance 33 times
                module.weight *= 0.2
    model.save_pretrained(path)


class Cell:
    """A model and one shape: its seeded inputs in a file, and the PyTorch output they are judged by."""

    def __init__(self, text, models, work):
        match = re.fullmatch(r"(.+):(\d+)(?:x(\d+)([rs]?))?", text)
        if not match:
            sys.exit("compare.py: a cell reads MODEL:BATCHxLENGTH, MODEL:BATCHxLENGTHr, MODEL:BATCHxSECONDSs or MODEL:BATCH, "
                     f"but got {text}")  # fmt: skip
        if match[1] not in models:
            models[match[1]] = Model(match[1], work)
        self.model = models[match[1]]
        config = self.model.config
        self.kind = {"vit": "images", "wav2vec2": "audio"}.get(config["model_type"], "texts")
        takes = {"images": "images: MODEL:BATCH", "audio": "audio: MODEL:BATCHxSECONDSs", "texts": "texts: MODEL:BATCHxLENGTH"}
        if self.kind != ("images" if match[3] is None else "audio" if match[4] == "s" else "texts"):
            sys.exit(f"compare.py: {match[1]} takes {takes[self.kind]}, but got {text}")
        self.name, self.batch, self.ragged = text[len(match[1]) + 1 :], int(match[2]), match[4] == "r"
        self.images = self.kind == "images"
        random = np.random.default_rng(20)
        if self.images:
            size, patch = config["image_size"], config["patch_size"]
            self.seq = self.length = (size // patch) ** 2 + 1
            shape = (self.batch, config["num_channels"], size, size)
            inputs = {"pixel_values": random.uniform(-1, 1, shape).astype(np.float32)}
        elif self.kind == "audio":
            self.seq = self.length = int(match[3]) * SAMPLING_RATE
            for kernel, stride in zip(config["conv_kernel"], config["conv_stride"]):
                self.seq = (self.seq - kernel) // stride + 1
            inputs = {"input_values": random.standard_normal((self.batch, self.length)).astype(np.float32)}
        else:
            self.seq = self.length = int(match[3])
        self.lengths = [self.seq] * self.batch
        if self.ragged:
            places = (np.arange(self.batch) + 0.5) / self.batch * (len(LENGTHS) - 1)
            shares = random.permutation(np.interp(places, np.arange(len(LENGTHS)), LENGTHS))
            shares[shares.argmax()] = 1
            self.lengths = [max(1, round(share * self.seq)) for share in shares]
        self.mask = (np.arange(self.seq) < np.array(self.lengths)[:, None]).astype(np.int64)
        if self.kind == "texts":
            ids = random.integers(0, config["vocab_size"], (self.batch, self.seq)) * self.mask
            inputs = {"input_ids": ids, "attention_mask": self.mask}
        if config["model_type"] == "layoutlmv2":
            corners = np.sort(random.integers(0, 1001, (self.batch, self.seq, 2, 2)), axis=2)
            pages = random.integers(0, 256, (self.batch, 3, 224, 224), dtype=np.uint8)
            inputs |= {"bbox": corners.reshape(self.batch, self.seq, 4), "image": pages}
            height, width = config["image_feature_pool_shape"][:2]
            self.lengths = [length + height * width for length in self.lengths]
            self.mask = np.pad(self.mask, ((0, 0), (0, height * width)), constant_values=1)
        self.file = self.model.work / f"cell-{self.name}.safetensors"
        save_file(inputs, self.file)

    def __str__(self):
        return f"{self.model.name} {self.name}"

    def difference(self, got, want):
        """Largest |got - want| over the outputs, masked tokens aside, and the same in units of max(1, |want|)."""
        largest = relative = 0.0
        for name in want:
            rows = self.mask == 1 if name == "last_hidden_state" else slice(None)
            reference = want[name][rows].astype(np.float64)
            delta = np.abs(got[name][rows] - reference)
            if not np.isfinite(delta).all():
                return math.inf, math.inf
            largest = max(largest, float(delta.max()))
            relative = max(relative, float((delta / np.maximum(1, np.abs(reference))).max()))
        return largest, relative


# ---- the measurement ------------------------------------------------------------------------------------------------


def prepare_systems(cell, systems):
    """Prepares every system for the cell and has it compute its outputs; says which systems failed, and why."""
    outputs, failed, convolutions = {}, {}, {"flop": 0, "weights": 0}
    for name, system in list(systems.items()):
        progress(f"{cell}: preparing {name}")
        try:
            system.prepare(cell)
            file = cell.model.work / f"output-{cell.name}-{name}.safetensors"
            convolutions = (system.output(cell, file) or {}).get("convolutions", convolutions)
            outputs[name] = load_file(file)
        except (RuntimeError, OSError) as error:
            note(f"{cell}: {name} is left out: {error}")
            failed[name] = str(error)
    return outputs, failed, convolutions


def time_rounds(cell, systems, active, failed, args):
    """Times the active systems in turns; those that fail move to `failed`. Gives who is left, the rounds, and what is
    around them, of each turn the same."""
    rounds, around = {name: [] for name in active}, {name: {} for name in active}
    for r in range(args.rounds + 1):
        turn = r % max(1, len(active))
        for name in active[turn:] + active[:turn]:
            progress(f"{cell}: round {r} of {args.rounds}, {name}")
            try:
                timing = systems[name].time(cell, args.warmup, args.seconds)
            except (RuntimeError, OSError) as error:
                note(f"{cell}: {name} is left out: {error}")
                failed[name] = str(error)
                active = [other for other in active if other != name]
                continue
            time.sleep(args.pause)
            if r > 0:  # the first round is a warm-up of machine and caches
                rounds[name].append({key: timing[key] for key in ("p50_ms", "p99_ms", "min_ms", "calls")})
                around[name] = {key: timing[key] for key in AROUND if key in timing}
    return active, rounds, around


def measure_cell(cell, systems, machine, args):
    """Prepares, checks and times every system on one cell; drops a system that fails. PyTorch in float32 is the
    reference, and timed only beside others in float32."""
    outputs, failed, convolutions = prepare_systems(cell, systems)
    timed = lambda name: name != "torch" or args.dtype == "float32"  # noqa: E731
    active = [name for name in systems if name in outputs and timed(name)]
    reference = "torch" if "torch" in outputs else None

    steal, began = machine.steal_ticks(), time.monotonic()
    probes = [machine.probe()]
    active, rounds, around = time_rounds(cell, systems, active, failed, args)
    for r in range(PACED_ROUNDS if args.paced_ms else 0):
        for name in active:
            progress(f"{cell}: paced round {r + 1} of {PACED_ROUNDS}, {name}")
            timing = systems[name].time(cell, args.warmup, max(args.seconds, 20 * args.paced_ms / 1e3), args.paced_ms)
            around[name].setdefault("paced_p50_ms", []).append(timing["p50_ms"])
            time.sleep(args.pause)
    probes.append(machine.probe())

    warnings = []
    for key in ("fma_gflops", "dram_gbps"):
        drift = abs(probes[0][key] - probes[1][key]) / max(probes[0][key], probes[1][key])
        if drift > 0.05:
            warnings.append(f"{key} moved {100 * drift:.0f} % during the cell")
    steal = machine.steal_ticks() - steal
    stolen = steal / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began) / os.cpu_count()
    if stolen > STOLEN:
        warnings.append(f"the hypervisor stole {100 * stolen:.1f} % of the time")
    if max(p["others_busy"] for p in probes) > 0.05:
        warnings.append(f"other processes used {100 * max(p['others_busy'] for p in probes):.0f} % of the cores")

    if "torch" not in outputs and (cell.kind != "texts" or cell.model.config["model_type"] == "layoutlmv2"):
        warnings.append("the floor is without convolutions, which only PyTorch counts")
    floor = floor_ms(cell.model.config, cell.lengths, convolutions, probes, args.cache_bytes, args.dtype)
    base = "caracal" if "caracal" in active else active[0] if active else None
    results = {}
    for name in active:
        entry = summary(rounds[name], rounds[base], floor) | around[name]
        if "paced_p50_ms" in entry:
            entry["paced_p50_ms"] = statistics.median(entry["paced_p50_ms"])
        if reference:
            entry["max_abs_diff"], relative = cell.difference(outputs[name], outputs[reference])
            if relative > TOLERANCE and args.dtype == "float32":
                warnings.append(f"{name} differs from torch by {relative:.1e} x max(1, |reference|)")
        results[name] = entry
    for warning in warnings:
        note(f"{cell}: NOT CLEAN: {warning}")
    return {
        "model": cell.model.name, "cell": cell.name, "kind": cell.kind, "batch": cell.batch, "seq": cell.seq, "length": cell.length,
        "lengths": cell.lengths, "tokens": sum(cell.lengths),
        "floor_ms": floor, "base": base, "clean": not warnings, "warnings": warnings, "probes": probes,
        "steal_ticks": steal, "systems": results, "failed": failed,
    }  # fmt: skip


def measure_model(cells, machine, args, versions):
    """All cells of one model, with every system started for it."""
    model = cells[0].model
    with contextlib.ExitStack() as stack:
        systems = {}
        for name in args.peers.split(",") + (["torch"] if args.dtype != "float32" else []):
            progress(f"{model.name}: starting {name}")
            try:
                if name in BACKENDS:
                    systems[name] = Caracal(args.caracal, model.path, args.threads, BACKENDS[name], args.dtype)
                else:
                    systems[name] = Peer(name, model, args.threads)
            except (RuntimeError, OSError) as error:
                note(f"{model.name}: {name} is left out: {error}")
                continue
            versions[name] = systems[name].version
            stack.callback(systems[name].close)
        if not systems:
            sys.exit("compare.py: no system could be started")
        return [measure_cell(cell, systems, machine, args) for cell in cells]


def run(args):
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    args.cache_bytes = last_level_cache_bytes()
    info = cpu_info()
    cores = choose_cores(args.threads)
    os.sched_setaffinity(0, cores)  # inherited by every process started below
    machine = Machine(work, cores, info)
    models = {}
    cells = [Cell(text, models, work) for text in args.cells.split(",")]
    results, versions = [], {"python": platform.python_version()}
    for model in models.values():
        results += measure_model([cell for cell in cells if cell.model is model], machine, args, versions)
    progress("")

    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"), "cpu": info, "last_level_cache_bytes": args.cache_bytes,
        "threads": args.threads, "dtype": args.dtype, "cores": cores, "kernel": platform.release(),
        "versions": versions, "rounds": args.rounds, "seconds": args.seconds, "pause": args.pause,
        "paced_ms": args.paced_ms,
        "clean": all(cell["clean"] for cell in results), "cells": results,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--cells", default=",".join(CELLS), help="default %(default)s")
    add("--dtype", default="float32", choices=PEERS, help="of caracal and of the peers, default %(default)s")
    add("--peers", help="which systems, default caracal and all of the dtype; also caracal-onednn, caracal-eigen, compile-max, "
        "openvino-dynamic")  # fmt: skip
    add("--threads", type=int, default=2, help="threads and cores of each system, default %(default)s")
    add("--caracal", type=Path, default=ROOT / "build" / "release" / "tools" / "caracal", help="the caracal command, default %(default)s")
    add("--work", type=Path, default=ROOT / "build" / "bench", help="weights, exported graphs, caches, logs")
    add("--out", type=Path, default=HERE / "results", help="where the JSON, table and plot go")
    add("--tag", default="", help="appended to the file name after a hyphen")
    add("--rounds", type=int, default=7)
    add("--seconds", type=float, default=1.0, help="timed per system and round, default %(default)s")
    add("--warmup", type=float, default=0.5, help="seconds before, never less than 3 calls, default %(default)s")
    add("--paced-ms", type=float, default=50, help="then time a call each so many ms; 0: do not; default %(default)s")
    add("--pause", type=float, default=0.1, help="seconds between turns, default %(default)s")
    add("--combine", type=Path, nargs="+", metavar="FILE.json", help="write earlier results of one CPU as one and stop; of one file: draw it again")
    args = parser.parse_args()
    args.peers = args.peers or ",".join(["caracal"] + PEERS[args.dtype])

    if args.combine and len(args.combine) == 1:
        result = json.loads(args.combine[0].read_text())
        stem = args.combine[0].with_suffix("")
    else:
        result = combine(args.combine) if args.combine else run(args)
        stem = args.out / file_name(result, args.tag)
    text = write(result, stem)
    print(text)
    if not result["clean"]:
        note("warning: the measurement was disturbed (see the notes above); do not quote these numbers")


if __name__ == "__main__":
    main()
