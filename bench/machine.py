"""The machine that compare.py measures on: its CPU, its limits (probe.cpp), and how busy others keep it."""

import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def cpu_info():
    fields = {}
    for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        fields[key.strip()] = value.strip()
    wanted = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
    return {
        "name": fields.get("model name", platform.machine()),
        "family": fields.get("cpu family", ""),
        "model": fields.get("model", ""),
        "stepping": fields.get("stepping", ""),
        "flags": [flag for flag in wanted if flag in fields.get("flags", "").split()],
    }


def last_level_cache_bytes():
    sizes = [0]
    for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = file.read_text().strip()
        sizes.append(int(text.rstrip("KM")) << (20 if text.endswith("M") else 10))
    return max(sizes)


def choose_cores(threads):
    """The first `threads` allowed CPUs that do not share a core."""
    chosen, taken = [], set()
    for cpu in sorted(os.sched_getaffinity(0)):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        core = siblings.read_text().strip() if siblings.exists() else str(cpu)
        if core not in taken:
            taken.add(core)
            chosen.append(cpu)
    if len(chosen) < threads:
        sys.exit(f"{threads} threads asked for, but only {len(chosen)} cores are allowed")
    return chosen[:threads]


def cpu_ticks(cores):
    """(busy, total, steal) clock ticks of the given CPUs since boot."""
    busy = total = steal = 0
    for line in Path("/proc/stat").read_text().splitlines():
        match = re.match(r"cpu(\d+) (.*)", line)
        if match and int(match[1]) in cores:
            ticks = [int(x) for x in match[2].split()[:8]]  # user nice system idle iowait irq softirq steal
            total += sum(ticks)
            busy += sum(ticks) - ticks[3] - ticks[4] - ticks[7]
            steal += ticks[7]
    return busy, total, steal


class Machine:
    """Probes and the signs of a disturbed measurement."""

    def __init__(self, work, cores, info):
        self.cores = cores
        self.program = work / "probe"
        source = HERE / "probe.cpp"
        if not self.program.exists() or self.program.stat().st_mtime < source.stat().st_mtime:
            flags = ["-mavx512f"] if "avx512f" in info["flags"] else []
            flags = flags or (["-mavx2", "-mfma"] if "fma" in info["flags"] else [])
            compiler = os.environ.get("CXX", "g++")
            subprocess.run([compiler, "-O2", "-std=c++20", "-pthread", *flags, source, "-o", self.program], check=True)

    def probe(self):
        """FMA peak and DRAM read rate on our cores, and how busy others keep them meanwhile. All peers are stopped."""
        before = cpu_ticks(self.cores)
        time.sleep(0.3)
        after = cpu_ticks(self.cores)
        result = json.loads(subprocess.check_output([self.program, str(len(self.cores))]))
        result["others_busy"] = round((after[0] - before[0]) / max(1, after[1] - before[1]), 3)
        return result

    def steal_ticks(self):
        return cpu_ticks(self.cores)[2]


# Bytes of a weight, and how many times the float32 peak the dot products of a CPU that has them reach.
NARROW = {"float32": (4, 1), "bfloat16": (2, 2), "int8": (1, 4)}


def floor_ms(config, lengths, convolutions, probes, cache_bytes, dtype):
    """The least time one forward of a transformer encoder can take here, max(FLOP / FMA peak, weight bytes / DRAM
    rate): perfect overlap of both. Weights that fit the last-level cache cost no DRAM time. `convolutions` holds the
    FLOP and weights of what comes before the encoder. Attention counts at the float32 peak."""
    weight_bytes, times_peak = NARROW[dtype]
    names = ("num_hidden_layers", "hidden_size", "intermediate_size")
    if config["model_type"] == "distilbert":
        names = ("n_layers", "dim", "hidden_dim")
    layers, hidden, inner = (config[name] for name in names)
    weights = layers * (4 * hidden * hidden + 2 * hidden * inner)
    flop = 2 * weights * sum(lengths) / times_peak + 4 * layers * hidden * sum(n * n for n in lengths) + convolutions["flop"]
    weights += convolutions["weights"]
    compute = flop / (max(p["fma_gflops"] for p in probes) * 1e9)
    stream = weight_bytes * weights
    stream = stream / (max(p["dram_gbps"] for p in probes) * 1e9) if stream > cache_bytes else 0
    return 1e3 * max(compute, stream)
