"""Times caracal's tokenizers against Hugging Face tokenizers, one thread each, in turns, on lines and on texts of 4 KB.

    python bench/compare_tokenizers.py --text FILE… --tokenizers DIR… [--rounds 5] [--seconds 1] [--command build/release/tools/caracal]
                                       [--output bench/results/NAME]
    python bench/compare_tokenizers.py --linear --tokenizers DIR… [--seconds 1] [--command build/release/tools/caracal]

Hugging Face's side is Tokenizer.encode_batch on one thread, which leaves out Python's call per text; caracal's is `caracal bench
--tokenize`, a call per text into memory that is used again. Both track offsets. A tokenizer.json is loaded by a new process each time. Writes NAME.json and NAME.png, prints a table.
--linear times texts of 5 and 10 MB of one thing, and prints the ratios of the times; also for a pattern of nested repeats.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer  # noqa: E402


def theirs(tokenizer, texts, seconds):
    size = sum(len(text.encode()) for text in texts)
    rounds, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        tokenizer.encode_batch(texts)
        rounds += 1
    return size * rounds / (time.perf_counter() - start) / 1e6


def ours(command, path, file, seconds, threads=1):
    result = subprocess.run([*command, "bench", "--json", "--model", str(path), "--tokenize", str(file), "--seconds", str(seconds), "--threads", str(threads)], stdout=subprocess.PIPE, check=True)
    return json.loads(result.stdout)


LOAD = "import sys, time; from tokenizers import Tokenizer; start = time.perf_counter(); Tokenizer.from_file(sys.argv[1]); print((time.perf_counter() - start) * 1e3)"


def load_theirs(path):
    return float(subprocess.run([sys.executable, "-c", LOAD, str(path)], stdout=subprocess.PIPE, check=True).stdout)


def cpu_name():
    fields = dict(line.split(":", 1) for line in open("/proc/cpuinfo").read().split("\n\n")[0].splitlines())
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    return f"{fields['model name']} (family {fields['cpu family']} model {fields['model']})"


def split_tokenizer(folder):
    """A tokenizer whose pattern takes a backtracking engine time that doubles with every character."""
    content = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "post_processor": None, "decoder": None,
               "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+b"}, "behavior": "Isolated", "invert": False}, "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}
    directory = pathlib.Path(folder) / "Split by (a+)+b"
    directory.mkdir()
    (directory / "tokenizer.json").write_text(json.dumps(content))
    return directory


def linear(command, tokenizers, seconds):
    pieces = {"a": "a", "spaces": " ", "an emoji": "\U0001f600", "combining marks": "\u0301"}
    print(f"{cpu_name()}; time of 10 MB over time of 5 MB, and MB/s of 10 MB")
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "text"
        for directory in [*tokenizers, split_tokenizer(folder)]:
            cells = []
            for name, piece in pieces.items():
                speeds = []
                for size in (5_000_000, 10_000_000):
                    file.write_text(piece * (size // len(piece.encode())) + "\n", encoding="utf-8")
                    speeds.append(max(ours(command, directory, file, seconds)["mb_per_s"] for _ in range(2)))
                cells.append(f"{name} {2 * speeds[0] / speeds[1]:.2f} ({speeds[1]:.0f})")
            print(f"{directory.name:30} {', '.join(cells)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=pathlib.Path, nargs="+")
    parser.add_argument("--linear", action="store_true")
    parser.add_argument("--tokenizers", type=pathlib.Path, nargs="+", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--command", nargs="+", default=["build/release/tools/caracal"])
    parser.add_argument("--output", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.linear:
        return linear(arguments.command, arguments.tokenizers, arguments.seconds)
    if not arguments.text:
        parser.error("--text is needed without --linear")
    lines = [line for path in arguments.text for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    documents, current = [], ""
    for line in lines:
        current += line + " "
        if len(current.encode()) > 4000:
            documents.append(current)
            current = ""
    cpu = cpu_name()
    print(f"{cpu}; {len(lines)} lines, {len(documents)} texts of 4 KB; MB/s, median of {arguments.rounds} rounds in turns (least, most of the ratio)")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = {"lines": (pathlib.Path(folder) / "lines", lines), "4 KB": (pathlib.Path(folder) / "documents", documents)}
        for file, texts in files.values():
            file.write_text("\n".join(texts) + "\n", encoding="utf-8")
        for directory in arguments.tokenizers:
            path = directory / "tokenizer.json"
            tokenizer = Tokenizer.from_file(str(path))
            tokenizer.no_padding()
            tokenizer.no_truncation()
            for kind, (file, texts) in files.items():
                a, b, b2, loads = [], [], [], []
                for _ in range(arguments.rounds):
                    a.append(theirs(tokenizer, texts, arguments.seconds))
                    one = ours(arguments.command, path, file, arguments.seconds)
                    b.append(one["mb_per_s"])
                    b2.append(ours(arguments.command, path, file, arguments.seconds, threads=2)["mb_per_s"])
                    loads.append((load_theirs(path), one["load_ms"]))
                ratios = sorted(y / x for x, y in zip(a, b))
                row = {"tokenizer": directory.name, "texts": kind, "theirs": statistics.median(a), "ours": statistics.median(b), "ratio": statistics.median(ratios), "ratio_min": ratios[0], "ratio_max": ratios[-1],
                       "two_threads": statistics.median(y / x for x, y in zip(b, b2)), "load_theirs_ms": statistics.median(x for x, _ in loads), "load_ours_ms": statistics.median(y for _, y in loads)}
                rows.append(row)
                print(f"{directory.name:30} {kind:6} tokenizers {row['theirs']:7.2f}  caracal {row['ours']:7.1f}  {row['ratio']:5.1f}x ({ratios[0]:.1f}, {ratios[-1]:.1f})  2 threads {row['two_threads']:.2f}x  "
                      f"load {row['load_theirs_ms']:.0f} / {row['load_ours_ms']:.0f} ms = {row['load_theirs_ms'] / row['load_ours_ms']:.1f}x", flush=True)
    if arguments.output:
        arguments.output.with_suffix(".json").write_text(json.dumps({"cpu": cpu, "date": time.strftime("%Y-%m-%d"), "rows": rows}, indent=1) + "\n")
        plot(rows, cpu, arguments.output.with_suffix(".png"))


def plot(rows, cpu, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 0.4 * len(rows) + 1.5))
    labels = [f"{row['tokenizer']}, {row['texts']}" for row in rows]
    positions = range(len(rows))
    axes.barh([p + 0.2 for p in positions], [row["ours"] for row in rows], 0.4, label="caracal")
    axes.barh([p - 0.2 for p in positions], [row["theirs"] for row in rows], 0.4, label="tokenizers 0.23.3")
    for p, row in zip(positions, rows):
        axes.text(row["ours"], p + 0.2, f" {row['ours']:.0f} ({row['ratio']:.0f}x)", va="center", fontsize=8)
    axes.set_yticks(list(positions), labels)
    axes.invert_yaxis()
    axes.set_xlabel(f"MB/s, one thread, {cpu}")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
