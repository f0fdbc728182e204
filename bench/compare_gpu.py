#!/usr/bin/env python3
"""Times caracal on a CUDA device beside PyTorch eager, torch.compile (max-autotune, CUDA graphs) and ONNX Runtime, and
itself with its products by cuBLASLt and, like PyTorch, in TF32, and sends it many random batches.

    python bench/compare_gpu.py --caracal build/release/tools/caracal --out results
    python bench/compare_gpu.py --device cpu --cells bert-base:1x8=float32 --peers torch    # a rehearsal without a device

A cell is one of compare.py with its dtype: bert-base:1x128=float16. Every call begins and ends in the CPU's memory, for
caracal and the peers alike. Cells are measured in the order given until --minutes are over; after each one the results so
far are written to OUT: gpu.json, gpu.md and a plot for each dtype. bench/README.md says how the measurement is kept fair.
Exit code 0: all that was asked for was measured and no figure of the issue is missed; 1: not so, gpu.md says what.
"""

import argparse
import concurrent.futures
import contextlib
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import plot
from compare import Caracal, Cell, Peer, note, prepare_systems, progress, time_rounds
from machine import cpu_info, floor_ms
from results import summary

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TEXTS = ["1x128", "32x128", "32x384r", "1x8", "1x32", "1x512"]
CELLS = [f"bert-base:{cell}=float16" for cell in TEXTS]
CELLS += ["vit-base-16-224:1=float16", "vit-base-16-224:32=float16", "wav2vec2-base:1x10s=float16", "layoutlmv2-base:1x512=float16"]
CELLS += [f"bert-base:{cell}={dtype}" for dtype in ("bfloat16", "float32") for cell in TEXTS]
CUBLAS = "caracal-cublas"  # caracal with its products by cuBLASLt
TF32 = ["caracal-tf32", "torch-tf32"]  # in the cells of float32, whose products they round
PEERS = [CUBLAS, "caracal-tf32", "torch", "torch-tf32", "compile-max", "ort-fused"]
UNABLE = [("ort-fused", "bfloat16"), ("ort-fused", "layoutlmv2-base")]  # what the optimizer does not know
REFERENCE = "torch in float32"
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
# Of max(1, |reference|) in float32, of the largest |reference| in 16 bits.
TOLERANCE = {"float32": 2e-5, "tf32": 2e-2, "float16": 2e-2, "bfloat16": 2e-2}
LIMITS_MS = {"bert-base:1x128=float16": 0.45, "bert-base:32x128=float16": 3}
RAGGED = "bert-base:32x384r=float16"  # 1.5 times as fast as torch.compile on the padded batch


def find_device(name):
    """What nvidia-smi says of the device; exits where there is none."""
    if name == "cpu":
        return {"name": cpu_info()["name"]}
    query = "name,driver_version,memory.total,clocks.max.sm,power.limit"
    number = name.partition(":")[2] or "0"
    try:
        done = subprocess.run(["nvidia-smi", "-i", number, f"--query-gpu={query}", "--format=csv,noheader"], capture_output=True, text=True)
        said, good = (done.stdout or done.stderr).strip(), done.returncode == 0
    except OSError as error:
        said, good = str(error), False
    if not good:
        sys.exit(f"compare_gpu.py: no CUDA device ({said})")
    return dict(zip(query.split(","), (field.strip() for field in said.split(","))))


def start_systems(model, dtype, args, versions, failed):
    """All systems of a model and dtype, started side by side."""
    threads = 1 if args.device != "cpu" else args.threads
    own = lambda *options: Caracal(args.caracal, model.path, threads, "native", dtype, args.device, options=options)  # noqa: E731
    jobs = {"caracal": own}
    for name in args.peers:
        if (name, dtype) in UNABLE or (name, model.name) in UNABLE or (name, args.device) == (CUBLAS, "cpu"):
            continue
        if name in TF32 and (dtype != "float32" or args.device == "cpu"):
            continue
        if name == "caracal-tf32":
            jobs[name] = lambda: own("--tf32")
            continue
        jobs[name] = lambda name=name: cublas(model, dtype, args) if name == CUBLAS else gpu_peer(name, model, dtype, args)
    if dtype != "float32" or "torch" not in args.peers:
        jobs[REFERENCE] = lambda: gpu_peer("torch", model, "float32", args)
    systems = {}
    progress(f"{model.name} {dtype}: starting {', '.join(jobs)}")
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        for name, job in {name: pool.submit(job) for name, job in jobs.items()}.items():
            try:
                systems[name] = job.result()
                versions[name] = systems[name].version
            except (RuntimeError, OSError) as error:
                note(f"{model.name} {dtype}: {name} is left out: {error}")
                failed[name] = str(error)
    return systems


def cublas(model, dtype, args):
    """caracal with cuBLASLt, in whose process alone the library's folder is on the loader's path."""
    environment = dict(os.environ)
    if args.cublas:
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, [str(args.cublas), os.environ.get("LD_LIBRARY_PATH")]))
    system = Caracal(args.caracal, model.path, 1, "cublas", dtype, args.device, environment)
    about = next((line for line in system.command("version").splitlines() if line.startswith("backend cublas")), "no backend cublas")
    library = about.rpartition(": ")[2]
    if not library.startswith("cuBLASLt"):
        raise RuntimeError(about)
    system.version += f", {library}"
    return system


def gpu_peer(name, model, dtype, args):
    return Peer(name, model, args.threads, HERE / "peers_gpu.py", ["--device", args.device, "--dtype", dtype])


def difference(cell, dtype, got, want):
    """In the units of TOLERANCE."""
    largest, relative = cell.difference(got, want)
    if dtype == "float32":
        return relative
    return largest / max(float(abs(array).max()) for array in want.values())


def measure_cell(cell, dtype, systems, failed, args):
    outputs, failures, convolutions = prepare_systems(cell, systems)
    failed = failed | failures
    reference = next((outputs[name] for name in (REFERENCE, "torch") if name in outputs), None)
    active = [name for name in systems if name in outputs and name != REFERENCE]
    active, rounds, around = time_rounds(cell, systems, active, failed, args)
    probe = systems["torch"].ask(do="probe") if "torch" in systems else None
    floor = 0.0
    if probe:  # 4-byte weights at a rate raised as much as they are wider than this dtype's
        limits = {"fma_gflops": 1e3 * probe["tflops"], "dram_gbps": probe["gbps"] * 4 / BYTES[dtype]}
        floor = floor_ms(cell.model.config, cell.lengths, convolutions, [limits], 0, "float32")
    base = "caracal" if "caracal" in active else active[0] if active else None
    results, warnings = {}, []
    for name in active:
        results[name] = summary(rounds[name], rounds[base], floor) | around[name]
        if reference:
            delta = results[name]["difference"] = difference(cell, dtype, outputs[name], reference)
            if not delta <= TOLERANCE["tf32" if name in TF32 else dtype]:
                warnings.append(f"{name} differs from {REFERENCE} by {delta:.1e}")
    return {
        "model": cell.model.name, "cell": cell.name, "dtype": dtype, "kind": cell.kind, "batch": cell.batch, "seq": cell.seq,
        "length": cell.length, "tokens": sum(cell.lengths), "floor_ms": floor, "probe": probe, "base": base,
        "clean": not warnings, "warnings": warnings, "systems": results, "failed": failed,
    }  # fmt: skip


def measure_mixes(model, args):
    command = [args.mixes_program, model.path, "float16", args.mixes, 512, 16]
    progress(f"{args.mixes} random batches")
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=args.mixes_seconds)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"exit code {done.returncode}")
    return json.loads(done.stdout)


def missed(result):
    """Figures of the issue that were not reached, and what was not measured."""
    lines = [f"not measured: {what}" for what in result["left_out"]]
    for cell in result["cells"]:
        name, systems = f"{cell['model']}:{cell['cell']}={cell['dtype']}", cell["systems"]
        lines += [f"{name}: {warning}" for warning in cell["warnings"]]
        lines += [f"{name}: {system} is left out: {why}" for system, why in cell["failed"].items()]
        if "caracal" not in systems:
            continue
        own = systems["caracal"]["p50_ms"]
        if own > LIMITS_MS.get(name, own):
            lines.append(f"{name}: {own:.3f} ms, to be at most {LIMITS_MS[name]}")
        wanted = {system: 1.0 for system in systems if system not in ("caracal", CUBLAS, *TF32)}
        if name == RAGGED and "compile-max" in wanted:
            wanted["compile-max"] = 1.5
        for system, times in wanted.items():
            ratio = systems[system]["ratio"]["median"]
            if ratio < times:
                lines.append(f"{name}: {ratio:.2f} times as fast as {system}, to be at least {times}")
    mixes = result["mixes"]
    if mixes:
        if mixes["graph_launches"] != mixes["mixes"] or mixes["captures"] != 0:
            lines.append(f"batches: {mixes['graph_launches']} graph launches and {mixes['captures']} captures for {mixes['mixes']}")
        for bucket in mixes["buckets"]:
            if bucket["p99_to_p50"] > 1.1:
                lines.append(f"batches of up to {bucket['tokens']} tokens: p99 / p50 {bucket['p99_to_p50']:.2f}, to be at most 1.1")
    return lines


def table(result):
    """The result as markdown."""
    device = ", ".join(result["device"].values())
    lines = [f"{result['date']}, {device}; host {result['cpu']['name']}; {result['rounds']} rounds of {result['seconds']} s.", "",
             f"Versions: {'; '.join(f'{k}: {v}' for k, v in result['versions'].items())}.", "",
             "A call begins and ends in the CPU's memory. ONNX Runtime's optimizer knows neither bfloat16 nor LayoutLMv2. Floor: max(FLOP / rate of a large product, weights / rate of a large copy).", "",
             "| model and cell | dtype | system | p50 ms | min ms | p99 / p50 | share of floor | time / base: median (range) | difference | load ms | first call ms |",
             "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for cell in result["cells"]:
        for name, entry in cell["systems"].items():
            ratio = entry["ratio"]
            times = "base" if name == cell["base"] else f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"
            number = lambda key, form: format(entry[key], form) if key in entry else ""  # noqa: E731
            lines.append(f"| {plot.describe(result, cell)} | {cell['dtype']} | {name} | {entry['p50_ms']:.3f} | {entry['min_ms']:.3f} | "
                         f"{entry['p99_to_p50']:.2f} | {100 * entry['floor_share']:.0f} % | {times} | {number('difference', '.1e')} | "
                         f"{number('load_ms', '.0f')} | {number('first_call_ms', '.1f')} |")  # fmt: skip
    if result["mixes"]:
        mixes = result["mixes"]
        lines += ["", f"{mixes['mixes']} random batches of up to 16 sequences, {mixes['dtype']}: {mixes['graph_launches']} graph launches, "
                  f"{mixes['captures']} captures.", "", "| tokens up to | batches | p50 ms | p99 ms | max ms | p99 / p50 |",
                  "| ---: | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
        lines += [f"| {b['tokens']} | {b['calls']} | {b['p50_ms']:.3f} | {b['p99_ms']:.3f} | {b['max_ms']:.3f} | {b['p99_to_p50']:.2f} |"
                  for b in mixes["buckets"]]  # fmt: skip
    return "\n".join([*lines, "", "Missed or missing:" if result["missed"] else "Nothing missed.", *(f"- {m}" for m in result["missed"]), ""])


def write(result, out):
    """gpu.json, gpu.md, and gpu-DTYPE.png and .svg."""
    out.mkdir(parents=True, exist_ok=True)
    result["missed"] = missed(result)
    (out / "gpu.json").write_text(json.dumps(result, indent=1) + "\n")
    (out / "gpu.md").write_text(table(result))


def draw(result, out):
    for dtype in dict.fromkeys(cell["dtype"] for cell in result["cells"]):
        cells = [cell for cell in result["cells"] if cell["dtype"] == dtype and cell["systems"]]
        if cells:
            plot.draw(result | {"cells": cells, "heading": f"{dtype}, {result['device']['name']}, {result['date'][:10]}"}, out / f"gpu-{dtype}")


def run(args):
    device = find_device(args.device)
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * args.minutes
    result = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"), "device": device, "cpu": cpu_info(),
        "kernel": platform.release(), "versions": {"python": platform.python_version()}, "rounds": args.rounds,
        "seconds": args.seconds, "cells": [], "mixes": None, "left_out": [],
    }  # fmt: skip
    models, groups = {}, {}
    for text in args.cells:
        name, _, dtype = text.partition("=")
        if dtype not in BYTES:
            sys.exit(f"compare_gpu.py: a cell reads CELL=float32, =float16 or =bfloat16, but got {text}")
        groups.setdefault((name.partition(":")[0], dtype), []).append((text, name))
    if args.mixes:
        try:
            Cell("bert-base:1x8", models, work)  # makes the model
            result["mixes"] = measure_mixes(models["bert-base"], args)
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            note(f"random batches are left out: {error}")
            result["left_out"].append(f"random batches: {error}")
        write(result, args.out)
    for (_, dtype), wanted in groups.items():
        if time.monotonic() > end:
            result["left_out"] += [f"{text}: no time was left" for text, _ in wanted]
            continue
        cells = [(text, Cell(name, models, work)) for text, name in wanted]
        failed = {}
        with contextlib.ExitStack() as stack:
            systems = start_systems(cells[0][1].model, dtype, args, result["versions"], failed)
            for system in systems.values():
                stack.callback(system.close)
            for text, cell in cells:
                if time.monotonic() > end:
                    result["left_out"].append(f"{text}: no time was left")
                    continue
                result["cells"].append(measure_cell(cell, dtype, systems, failed, args))
                write(result, args.out)
    progress("")
    write(result, args.out)
    draw(result, args.out)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, names = parser.add_argument, lambda text: [name for name in text.split(",") if name]
    add("--device", default="cuda", help="cuda, cuda:N, or cpu for a rehearsal; default %(default)s")
    add("--cells", type=names, default=CELLS, help=f"default {','.join(CELLS)}")
    add("--peers", type=names, default=PEERS, help=f"default {','.join(PEERS)}")
    add("--cublas", type=Path, help="folder of libcublasLt.so.13, if the dynamic loader does not know it")
    add("--caracal", type=Path, default=ROOT / "build" / "release" / "tools" / "caracal", help="the caracal command, default %(default)s")
    add("--mixes-program", type=Path, default=ROOT / "build" / "release" / "bench" / "batch_mixes_bench", help="default %(default)s")
    add("--mixes", type=int, default=100_000, help="random batches; 0: none; default %(default)s")
    add("--mixes-seconds", type=float, default=180, help="time limit of the random batches, default %(default)s")
    add("--work", type=Path, default=ROOT / "build" / "bench", help="weights, exported graphs, caches, logs")
    add("--out", type=Path, required=True, help="where gpu.json, gpu.md and plots go")
    add("--minutes", type=float, default=60, help="no cell is begun after so long, default %(default)s")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of the peers, for what they do on the CPU")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=0.5, help="timed per system and round, default %(default)s")
    add("--warmup", type=float, default=0.5, help="seconds before, never less than 3 calls, default %(default)s")
    add("--pause", type=float, default=0.02, help="seconds between turns, default %(default)s")
    args = parser.parse_args()
    result = run(args)
    print(table(result))
    sys.exit(1 if result["missed"] else 0)


if __name__ == "__main__":
    main()
