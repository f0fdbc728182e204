"""What compare.py's rounds say: the summary of a system, runs that are taken together, the table."""

import json
import re
import statistics
import sys
from pathlib import Path

import plot

AROUND = ["load_ms", "first_call_ms", "peak_rss_mb", "groups"]  # beside the rounds, of each turn the same


def summary(mine, base, floor):
    """Of the rounds of a system, and of the base's of the same turns."""
    p50 = statistics.median(r["p50_ms"] for r in mine)
    ratios = [own["p50_ms"] / other["p50_ms"] for own, other in zip(mine, base)]
    return {
        "p50_ms": p50,
        "min_ms": min(r["min_ms"] for r in mine),
        "floor_share": floor / p50,
        "ratio": {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)},
        "p99_to_p50": statistics.median(r["p99_ms"] / r["p50_ms"] for r in mine),
        "rounds": mine,
    }


def combine(files):
    """Runs on one CPU as one: a system's rounds are those of all runs it was in, its other figures the runs' median."""
    runs = [json.loads(file.read_text()) for file in files]
    for run in runs[1:]:
        for key in ("cpu", "threads", "dtype", "rounds", "seconds"):
            if run[key] != runs[0][key]:
                sys.exit(f"compare.py: expected runs of one {key} but got {runs[0][key]} and {run[key]}")
    cells = {}
    for run in runs:
        for cell in run["cells"]:
            parts = cells.setdefault((cell["model"], cell["cell"]), [])
            if cell["base"] != (parts or [cell])[0]["base"]:
                sys.exit(f"compare.py: expected {parts[0]['base']} as base of {cell['cell']} in every run but got {cell['base']}")
            parts.append(cell)
    result = runs[-1] | {"runs": len(runs), "versions": {k: v for run in runs for k, v in run["versions"].items()}, "cells": []}
    for _, parts in sorted(cells.items(), key=lambda cell: (cell[0][0], cell[1][0]["batch"], cell[1][0]["length"])):
        floor = statistics.median(part["floor_ms"] for part in parts)
        whole = parts[0] | {"floor_ms": floor, "runs": len(parts), "systems": {}, "probes": [probe for part in parts for probe in part["probes"]],
                            "warnings": [f"run {i + 1}: {w}" for i, part in enumerate(parts) for w in part["warnings"]]}  # fmt: skip
        whole["failed"] = {name: why for part in parts for name, why in part["failed"].items()}
        whole["steal_ticks"] = sum(part["steal_ticks"] for part in parts)
        whole["clean_runs"] = sum(part["clean"] for part in parts)
        whole["clean"] = whole["clean_runs"] == len(parts)
        for name in dict.fromkeys(name for part in parts for name in part["systems"]):
            entries = [(part["systems"][name], part["systems"][part["base"]]) for part in parts if name in part["systems"]]
            mine, base = ([r for pair in entries for r in pair[i]["rounds"][: len(pair[1 - i]["rounds"])]] for i in (0, 1))
            whole["systems"][name] = summary(mine, base, floor)
            for key in [*AROUND, "paced_p50_ms", "max_abs_diff"]:
                values = [entry[key] for entry, _ in entries if key in entry]
                if values:
                    whole["systems"][name][key] = values[-1] if key == "groups" else statistics.median(values)
        result["cells"].append(whole)
    result["clean"] = all(cell["clean"] for cell in result["cells"])
    return result


def table(result):
    """The result as markdown."""
    cpu = result["cpu"]
    lines = [
        f"{result['date']}, {cpu['name']} (family {cpu['family']}, model {cpu['model']}; {' '.join(cpu['flags'])}), "
        f"{result['threads']} threads on CPUs {','.join(map(str, result['cores']))}, {result.get('dtype', 'float32')}; "
        f"{result['rounds']} rounds of {result['seconds']} s" + (", the runs of a cell together." if "runs" in result else "."),
        "",
        f"Versions: {'; '.join(f'{k}: {v}' for k, v in result['versions'].items())}.",
        "",
        "| model and cell | system | p50 ms | min ms | share of floor | time / base: median (range) | max diff to torch |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    notes = []
    for cell in result["cells"]:
        shape = plot.describe(result, cell)
        clean = f"{cell['clean_runs']} of {cell['runs']} runs clean" if "runs" in cell else "not clean"
        label = shape + ("" if cell["clean"] else f" ({clean})")
        for name, entry in cell["systems"].items():
            share = f"{100 * entry['floor_share']:.0f} %"
            ratio = entry["ratio"]
            times = f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"
            times = "base" if name == cell["base"] else times
            diff = f"{entry['max_abs_diff']:.1e}" if "max_abs_diff" in entry else ""
            milliseconds = f"{entry['p50_ms']:.2f} | {entry['min_ms']:.2f}"
            lines.append(f"| {label} | {name} | {milliseconds} | {share} | {times} | {diff} |")
        floor = f"floor {cell['floor_ms']:.2f} ms, "
        probes = " / ".join(f"{p['fma_gflops']:.0f} GFLOP/s, {p['dram_gbps']:.1f} GB/s" for p in cell["probes"])
        warnings = "".join(f"; not clean: {w}" for w in cell["warnings"])
        notes.append(f"- {shape}: {floor}{cell['tokens']} tokens; probes before / after: {probes}{warnings}")
    lines += [
        "",
        f"Around the calls: p99 / p50 back to back; p50 with a call each {result.get('paced_ms', 0):.0f} ms (threads asleep between); "
        "loading without compiling; the first call with compiling; the peak of the process's memory.",
        "",
        "| model and cell | system | p99 / p50 | paced p50 ms | load ms | first call ms | peak MB | groups |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for cell in result["cells"]:
        for name, entry in cell["systems"].items():
            number = lambda key, digits: f"{entry[key]:.{digits}f}" if key in entry else ""  # noqa: E731
            groups = entry.get("groups", [])
            lines.append(f"| {plot.describe(result, cell)} | {name} | {number('p99_to_p50', 2)} | {number('paced_p50_ms', 2)} | "
                         f"{number('load_ms', 0)} | {number('first_call_ms', 1)} | {number('peak_rss_mb', 0)} | "
                         f"{' + '.join(map(str, groups)) if len(groups) > 1 else ''} |")  # fmt: skip
    return "\n".join(lines + [""] + notes) + "\n"


def file_name(result, tag):
    """DATE-CPU-THREADSt[-DTYPE][-TAG]"""
    info = result["cpu"]
    slug = re.sub(r"[^a-z0-9]+", "-", info["name"].lower()).strip("-") + f"-f{info['family']}m{info['model']}"
    dtype = f"-{result['dtype']}" if result["dtype"] != "float32" else ""
    return f"{result['date'][:10]}-{slug}-{result['threads']}t{dtype}" + (f"-{tag}" if tag else "")


def write(result, stem):
    """.json, .md, .png and .svg; gives the table."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    text = table(result)
    Path(f"{stem}.json").write_text(json.dumps(result, indent=1) + "\n")
    Path(f"{stem}.md").write_text(text)
    plot.draw(result, stem)
    return text
