#!/usr/bin/env python3
"""Times caracal beside the usual Python stack from text or file to result: sentence-transformers, transformers' pipelines,
and tokenizers (or Pillow, or soundfile) with ONNX Runtime; float32, the same cores and number of threads, in turns.

    bash tools/fetch_minilm.sh
    python bench/end_to_end.py [--cases minilm-1,vit-64] [--rounds N]
    python bench/end_to_end.py --plot bench/results/FILE.json

Each round every system takes a turn, in rotated order, while the others are stopped: inputs one at a time (p50 and p99 of
one input's time), then all of them in one call, in batches or one by one, whichever was faster for that system in the
first round, which is dropped. all-MiniLM-L6-v2 is the real one; BERT, ViT and Wav2Vec2 of base size have seeded random
weights. Results are compared with transformers' before anything is timed. Start: from the start of a process to its first
result, the fastest of five in each turn. Writes a table, JSON and a plot to bench/results; cases of an earlier run of the same
day stay in them.
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from compare import note, progress
from machine import choose_cores, cpu_info, cpu_ticks
from worker import Worker

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
MINILM = ROOT / "build" / "models" / "all-MiniLM-L6-v2"
SHORT = "How do I share one runtime among several models?"
# name: what, task, model, number of inputs, batch, how many inputs one at a time, for how many seconds
CASES = {
    "minilm-1": ("1 short sentence", "embedding", "all-MiniLM-L6-v2", 1, 1, 1, 1.5),
    "bert-1": ("1 short sentence", "text-classification", "bert-base", 1, 1, 1, 1.5),
    "minilm-1000": ("1,000 sentences", "embedding", "all-MiniLM-L6-v2", 1000, 32, 300, 0),
    "vit-64": ("64 JPEG images", "image-classification", "vit-base", 64, 8, 32, 0),
    "wav2vec2-20": ("20 WAV clips", "automatic-speech-recognition", "wav2vec2-base", 20, 4, 20, 0),
}
STARTS_PER_TURN = 5  # the fastest counts: others pay for memory that the host of a virtual machine took back
STARTS = ["minilm-1", "bert-1", "vit-64", "wav2vec2-20"]
COLORS = {"caracal": "#c8551b", "sentence-transformers": "#6c7a92", "transformers": "#8d99ae", "onnxruntime": "#9fb8a0"}
LABELS = {"transformers": "transformers' pipeline", "onnxruntime": "tokenizers + ONNX Runtime"}
SPEECH = "automatic-speech-recognition"


def systems_of(task):
    return ["caracal", *(["sentence-transformers"] if task == "embedding" else []), "transformers", "onnxruntime"]


# ---- models and inputs ----------------------------------------------------------------------------------------------


def make_model(name, work):
    """A checkpoint directory with tokenizer or processor files and model.onnx."""
    path = work / "models" / f"end-to-end-{name}"
    if (path / "model.onnx").exists():
        return path
    note(f"making {name} in {path}")
    import torch
    import transformers

    if not MINILM.exists():
        sys.exit("end_to_end.py: run tools/fetch_minilm.sh first")
    torch.manual_seed(0)
    task = next(case[1] for case in CASES.values() if case[2] == name)
    if name == "all-MiniLM-L6-v2":
        shutil.copytree(MINILM, path, dirs_exist_ok=True)
    elif name == "bert-base":
        transformers.BertForSequenceClassification(transformers.BertConfig(num_labels=5)).save_pretrained(path)
        transformers.AutoTokenizer.from_pretrained(MINILM).save_pretrained(path)
    elif name == "vit-base":
        transformers.ViTForImageClassification(transformers.ViTConfig(num_labels=1000)).save_pretrained(path)
        transformers.ViTImageProcessor().save_pretrained(path)
    else:
        letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVKXJQZ'"]
        path.mkdir(parents=True, exist_ok=True)
        (path / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
        tokenizer = transformers.Wav2Vec2CTCTokenizer(path / "vocab.json", word_delimiter_token="|")
        extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=False)
        transformers.Wav2Vec2Processor(extractor, tokenizer).save_pretrained(path)
        transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(vocab_size=32)).save_pretrained(path)
    subprocess.run([sys.executable, HERE / "end_to_end_peers.py", "export", task, path, "1", "-"], check=True)
    return path


def make_inputs(name, work):
    """A JSON file with the list of texts or files, seeded."""
    import numpy as np

    _, task, _, count, _, _, _ = CASES[name]
    folder, random = work / f"inputs-{name}", np.random.default_rng(30)
    listed = folder / "inputs.json"
    if listed.exists():
        return listed
    folder.mkdir(parents=True, exist_ok=True)
    inputs = []
    if count == 1:
        inputs = [SHORT]
    elif task in ("embedding", "text-classification"):  # the README's words, 3 to 60 of them
        words = re.findall(r"[A-Za-z]+", (ROOT / "README.md").read_text())
        for length in np.clip(random.lognormal(2.7, 0.6, count), 3, 60).astype(int):
            begin = int(random.integers(0, len(words) - 60))
            inputs.append(" ".join(words[begin : begin + length]) + ".")
    elif task == "image-classification":  # soft shapes with grain, 640 x 480
        from PIL import Image

        for i in range(count):
            coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((640, 480), Image.Resampling.BICUBIC)
            grainy = np.clip(np.asarray(coarse, np.int16) + random.normal(0, 8, (480, 640, 1)), 0, 255).astype(np.uint8)
            Image.fromarray(grainy).save(folder / f"{i}.jpg", quality=90)
            inputs.append(str(folder / f"{i}.jpg"))
    else:  # tones that come and go, of 2 to 8 seconds
        import soundfile

        for i, seconds in enumerate(np.linspace(2, 8, count)):
            t = np.arange(int(16000 * seconds)) / 16000
            tone = np.sin(2 * np.pi * (120 + 40 * np.sin(3 * t)) * t) * np.abs(np.sin(5 * t))
            soundfile.write(folder / f"{i}.wav", 0.3 * tone + 0.02 * random.standard_normal(len(t)), 16000, subtype="PCM_16")
            inputs.append(str(folder / f"{i}.wav"))
    listed.write_text(json.dumps(inputs))
    return listed


# ---- the systems ----------------------------------------------------------------------------------------------------


def environment(threads):
    pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    return os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"} | {pool: str(threads) for pool in pools}


def start_worker(system, task, model, threads, inputs, args):
    command = [args.bench] if system == "caracal" else [sys.executable, HERE / "end_to_end_peers.py", system]
    return Worker([*command, task, model, str(threads), inputs], environment(threads), args.work / f"end-to-end-{system}.log")


def difference(got, want):
    """The largest difference of numbers; of texts, the share that differs."""
    if isinstance(want[0], dict):
        return sum(g["text"].strip() != w["text"].strip() for g, w in zip(got, want)) / len(want)
    if isinstance(want[0][0], dict) if isinstance(want[0], list) else False:
        got, want = ([[x["score"] for x in row] for row in rows] for rows in (got, want))
    return max(abs(g - w) for row, other in zip(got, want) for g, w in zip(row, other))


def percentile(times, p):
    times = sorted(times)
    return times[min(len(times) - 1, int(p * len(times)))]


def measure(name, args):
    what, task, model, count, batch, singles, seconds = CASES[name]
    path, inputs = make_model(model, args.work), make_inputs(name, args.work)
    workers = {}
    try:
        for system in systems_of(task):
            progress(f"{name}: starting {system}")
            workers[system] = start_worker(system, task, path, args.threads, inputs, args)
        results, chosen = {}, {}
        before = cpu_ticks(args.cores)
        for system, worker in workers.items():
            progress(f"{name}: first round, {system}")
            alone = worker.ask(do="results", batch=1)  # in batches transformers' means and group norms see the padding
            results[system] = alone["results"]
            chosen[system] = 1 if batch == 1 or alone["ms"] < worker.ask(do="all", batch=batch)["ms"] else batch
        # Of pixels one system's differ by a grey level: scores by little, the order of nearly equal ones perhaps.
        apart = {system: difference(results[system], results["transformers"]) for system in workers}
        rounds = {system: [] for system in workers}
        order = list(workers)
        for r in range(args.rounds):
            for system in order[r % len(order) :] + order[: r % len(order)]:
                progress(f"{name}: round {r + 1} of {args.rounds}, {system}")
                one = workers[system].ask(do="singles", count=singles, seconds=seconds)["ms"]
                whole = workers[system].ask(do="all", batch=chosen[system])["ms"] if count > 1 else None
                rounds[system].append({"p50_ms": percentile(one, 0.5), "p99_ms": percentile(one, 0.99), "calls": len(one), "all_ms": whole})
                time.sleep(0.1)
        steal = cpu_ticks(args.cores)[2] - before[2]
    finally:
        for worker in workers.values():
            worker.close()
    entries = {}
    for system in workers:
        keys = ["p50_ms", "p99_ms"] + (["all_ms"] if count > 1 else [])
        entry = {key: statistics.median(r[key] for r in rounds[system]) for key in keys}
        judge = keys[-1] if count > 1 else "p50_ms"
        ratios = [mine[judge] / ours[judge] for mine, ours in zip(rounds[system], rounds["caracal"])]
        entries[system] = entry | {"batch": chosen[system], "difference": apart[system], "rounds": rounds[system],
                                   "ratio": {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}}  # fmt: skip
    return {"what": what, "task": task, "model": model, "systems": entries, "steal_ticks": steal,
            "versions": {system: worker.version for system, worker in workers.items()}}  # fmt: skip


def start_once(command, threads):
    """Seconds from the start of a process to its end, and of processors."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(threads))
    _, status, used = os.wait4(process.pid, 0)
    took = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command}: exit code {process.returncode}")
    return took, used.ru_utime + used.ru_stime


def measure_start(name, args):
    """Seconds from the start of a process to the end of one with one result."""
    what, task, model, *_ = CASES[name]
    path, given = make_model(model, args.work), json.loads(make_inputs(name, args.work).read_text())[0]
    ours = "feature-extraction" if task == "embedding" else task
    commands = {"caracal": [args.caracal, "pipeline", ours, "--model", path, "--threads", str(args.threads), given]}
    for system in systems_of(task)[1:]:
        commands[system] = [sys.executable, HERE / "end_to_end_peers.py", system, task, path, str(args.threads), "once", given]
    seconds, order = {system: [] for system in commands}, list(commands)
    busy = {system: [] for system in commands}
    for r in range(args.starts + 1):
        for system in order[r % len(order) :] + order[: r % len(order)]:
            progress(f"start of {name}: round {r} of {args.starts}, {system}")
            took, used = min(start_once(commands[system], args.threads) for _ in range(STARTS_PER_TURN))
            if r > 0:  # files are in the page cache from then on
                seconds[system].append(took)
                busy[system].append(used)
    entries = {}
    for system, times in seconds.items():
        ratios = [mine / ours for mine, ours in zip(times, seconds["caracal"])]
        entries[system] = {"seconds": statistics.median(times), "processor_seconds": statistics.median(busy[system]), "rounds": times,
                           "ratio": {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}}  # fmt: skip
    return {"what": what, "task": task, "model": model, "systems": entries}


# ---- what is written ------------------------------------------------------------------------------------------------


def label(system):
    return LABELS.get(system, system)


def table(result):
    cpu = result["cpu"]
    lines = [
        f"# From text or file to result, {result['date']}", "",
        f"{cpu['name']} (family {cpu['family']}, model {cpu['model']}; {' '.join(cpu['flags'])}), {result['threads']} threads on CPUs "
        f"{','.join(map(str, result['cores']))}, float32. By `bench/end_to_end.py`: medians over rounds; ratios to caracal are "
        "taken inside a round (median, least to most).", "",
        f"Versions: {'; '.join(sorted(result['versions'].values()))}.", "",
        "| inputs, task, model | system | one: p50 ms | one: p99 ms | all of them | time / caracal | differs from transformers by |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    for case in result["cases"].values():
        for system, entry in case["systems"].items():
            whole = f"{entry['all_ms'] / 1e3:.2f} s, batch {entry['batch']}" if "all_ms" in entry else "–"
            ratio = entry["ratio"]
            times = f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})" if system != "caracal" else ""
            apart = f"{entry['difference']:.1e}" if case["task"] != SPEECH else f"{entry['difference']:.0%} of texts"
            lines.append(f"| {case['what']}, {case['task']}, {case['model']} | {label(system)} | {entry['p50_ms']:.2f} | {entry['p99_ms']:.2f} | {whole} | {times} | {apart} |")
    lines += ["", "From the start of a process to its first result:", "",
              "| input, task, model | system | seconds | of processors | time / caracal |", "| --- | --- | ---: | ---: | ---: |"]  # fmt: skip
    for case in result["starts"].values():
        for system, entry in case["systems"].items():
            ratio = entry["ratio"]
            times = f"{ratio['median']:.1f} ({ratio['low']:.1f} to {ratio['high']:.1f})" if system != "caracal" else ""
            lines.append(f"| 1 of {case['what']}, {case['task']}, {case['model']} | {label(system)} | {entry['seconds']:.3f} | {entry['processor_seconds']:.3f} | {times} |")
    stolen = {case["what"] + ", " + case["model"]: case["steal_ticks"] for case in result["cases"].values()}
    lines += ["", "Ticks stolen by the host's other guests: " + "; ".join(f"{what} {ticks}" for what, ticks in stolen.items()) + "."]
    return "\n".join(lines) + "\n"


def draw(result, stem):
    """Writes stem.png and stem.svg."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"font.size": 9, "svg.hashsalt": "caracal"})
    import matplotlib.pyplot as plt

    panels = []
    for case in result["cases"].values():
        key, unit = ("all_ms", "s for all") if "all_ms" in case["systems"]["caracal"] else ("p50_ms", "ms (p50)")
        scale = 1e3 if key == "all_ms" else 1
        panels.append((f"{case['what']}, {case['model']}", unit, {system: (entry[key] / scale, entry["ratio"]["median"]) for system, entry in case["systems"].items()}))
    for case in result["starts"].values():
        panels.append((f"process start, {case['model']}", "s to the first result", {system: (entry["seconds"], entry["ratio"]["median"]) for system, entry in case["systems"].items()}))
    columns = 3
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.6 * columns, 1.9 * rows + 0.6), squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (title, unit, bars) in zip(axes.flat, panels):
        values = [value for value, _ in bars.values()]
        axis.barh(range(len(bars)), values, color=[COLORS[system] for system in bars], height=0.7)
        for y, (system, (value, ratio)) in enumerate(bars.items()):
            axis.text(value + 0.015 * max(values), y, f"{value:.3g}" + (f"  ({ratio:.1f}×)" if system != "caracal" else ""), va="center")
        axis.set_yticks(range(len(bars)), [label(system) for system in bars])
        axis.invert_yaxis()
        axis.set_xlim(0, 1.35 * max(values))
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_title(title, loc="left", fontweight="bold")
        axis.set_xlabel(unit)
    figure.suptitle(f"from text or file to result, float32, {result['threads']} threads, {result['cpu']['name']}, {result['date'][:10]}; in brackets: time relative to caracal", fontsize=9)
    figure.tight_layout()
    figure.savefig(f"{stem}.png", dpi=100)
    figure.savefig(f"{stem}.svg", metadata={"Date": None})
    plt.close(figure)


def run(args):
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    info = cpu_info()
    args.cores = choose_cores(args.threads)
    os.sched_setaffinity(0, args.cores)  # inherited by every process started below
    now = datetime.datetime.now(datetime.timezone.utc)
    slug = re.sub(r"[^a-z0-9]+", "-", info["name"].lower()).strip("-") + f"-f{info['family']}m{info['model']}"
    file = args.out / f"{now:%Y-%m-%d}-{slug}-{args.threads}t-e2e.json"
    result = json.loads(file.read_text()) if file.exists() else {"versions": {}, "cases": {}, "starts": {}}
    result |= {"date": f"{now:%Y-%m-%d %H:%M} UTC", "cpu": info, "threads": args.threads, "cores": args.cores}
    result["versions"]["python"] = f"Python {platform.python_version()}"
    wanted = [(CASES, "cases", name, measure) for name in args.cases.split(",") if name]
    wanted += [(STARTS, "starts", name, measure_start) for name in args.start.split(",") if name]
    for order, kind, name, function in wanted:
        case = function(name, args)
        result["versions"] |= case.pop("versions", {})
        known = result[kind] | {name: case}
        result[kind] = {key: known[key] for key in order if key in known}
        file.write_text(json.dumps(result, indent=1) + "\n")
    progress("")
    return file


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--cases", default=",".join(CASES), help="default %(default)s")
    add("--start", default=",".join(STARTS), help="cases whose process start is timed, default %(default)s")
    add("--threads", type=int, default=2)
    add("--bench", type=Path, default=ROOT / "build/release/bench/end_to_end_bench", help="default %(default)s")
    add("--caracal", type=Path, default=ROOT / "build/release/tools/caracal", help="default %(default)s")
    add("--work", type=Path, default=ROOT / "build" / "bench", help="models and inputs")
    add("--out", type=Path, default=HERE / "results")
    add("--rounds", type=int, default=3)
    add("--starts", type=int, default=5, help="rounds of process starts, default %(default)s")
    add("--prepare", action="store_true", help="only make models and inputs")
    add("--plot", type=Path, metavar="FILE.json", help="write table and plot of an earlier result again and stop")
    args = parser.parse_args()
    if args.prepare:
        args.work.mkdir(parents=True, exist_ok=True)
        for name, case in CASES.items():
            make_model(case[2], args.work), make_inputs(name, args.work)
        return
    file = args.plot or run(args)
    result = json.loads(file.read_text())
    file.with_suffix(".md").write_text(table(result))
    draw(result, file.with_suffix(""))
    print(table(result))


if __name__ == "__main__":
    main()
