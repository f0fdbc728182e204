"""Tests the README's code blocks: extract README OUT COUNT | check README PROGRAM NUMBER | commands README CARACAL
| console README CARACAL."""
import json
import os
import re
import struct
import subprocess
import sys
import tempfile

MODEL = "build/models/all-MiniLM-L6-v2"


def blocks(readme):
    return re.findall(r"^```(\w+)\n(.*?)^```", open(readme, encoding="utf-8").read(), re.M | re.S)


def programs(readme):
    """The C++ blocks, each with the text block that follows it: its output."""
    found = blocks(readme)
    return [(code, found[i + 1][1]) for i, (kind, code) in enumerate(found) if kind == "cpp"]


def extract(readme, out, count):
    found = programs(readme)
    assert len(found) == int(count), f"README has {len(found)} C++ blocks, CMakeLists.txt expects {count}"
    for number, (code, _) in enumerate(found, 1):
        with open(f"{out}/readme_{number}.cpp", "w", encoding="utf-8") as file:
            file.write(code)


def skip_without_model():
    if not os.path.exists(MODEL):
        print("skipped: no model at", MODEL)
        sys.exit(77)


def check(readme, program, number):
    code, want = programs(readme)[int(number) - 1]
    if MODEL in code:
        skip_without_model()
    got = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    rounded = lambda text: re.sub(r"\d\.\d+", lambda m: f"{float(m[0]):.3f}", text)
    assert rounded(got) == rounded(want), f"README says\n{want}\nbut the program prints\n{got}"


def write_inputs(path):
    """A safetensors file with input_ids (2, 5), by the standard library alone."""
    data = struct.pack("<10q", *range(101, 111))
    header = json.dumps({"input_ids": {"dtype": "I64", "shape": [2, 5], "data_offsets": [0, len(data)]}}).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + data)
    return path


def make_reference(caracal, inputs, path):
    """A reference file for `caracal parity`: the command's own outputs, for want of PyTorch here."""
    out = path + ".out"
    subprocess.run([caracal, "run", "--model", MODEL, "--inputs", inputs, "--outputs", out], check=True)
    tensors, blobs = {}, []
    for file, prefix in ((inputs, "inputs."), (out, "")):
        blob = open(file, "rb").read()
        size = struct.unpack("<Q", blob[:8])[0]
        base = sum(map(len, blobs))
        for name, entry in json.loads(blob[8 : 8 + size]).items():
            if name != "__metadata__":
                tensors[prefix + name] = dict(entry, data_offsets=[base + at for at in entry["data_offsets"]])
        blobs.append(blob[8 + size :])
    header = json.dumps(tensors).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + b"".join(blobs))


def commands(readme, caracal):
    """Every `caracal …` line of the shell blocks, with DIR, texts.txt and in.safetensors put in place."""
    skip_without_model()
    lines = [line for kind, block in blocks(readme) if kind == "sh" for line in block.splitlines() if line.startswith("caracal ")]
    assert len(lines) >= 6, lines
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/texts.txt", "w", encoding="utf-8") as file:
            file.write("A text.\nAnother one.\n")
        golden = write_inputs(f"{folder}/golden.safetensors")
        reference = f"{folder}/reference.safetensors"
        # No network: the hub's name is in a cache of its own.
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": f"{folder}/huggingface"}
        os.makedirs(f"{folder}/huggingface/hub/models--google-bert--bert-base-uncased/snapshots/{'c' * 40}")
        make_reference(caracal, golden, reference)
        for line in lines:
            line = line.replace("caracal", caracal, 1).replace(" DIR", " " + os.path.abspath(MODEL)).replace(" in.safetensors", " " + golden).replace("ref.safetensors", reference)
            done = subprocess.run(["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{line}\n{done.stderr}"
            assert done.stdout or os.path.exists(f"{folder}/out.safetensors") or os.path.exists(f"{folder}/out"), line


def console(readme, caracal):
    """Every `$ caracal …` line of the console blocks prints what stands below it, up to the next; in the checkout's root."""
    shown = [part for kind, block in blocks(readme) if kind == "console" for part in re.split(r"^\$ ", block, flags=re.M) if part]
    assert len(shown) >= 4, shown
    rounded = lambda text: re.sub(r"\d\.\d{3,}", lambda m: f"{float(m[0]):.3f}", text)
    for part in shown:
        line, want = part.split("\n", 1)
        if MODEL in line and not os.path.exists(MODEL):
            continue
        done = subprocess.run(["bash", "-c", line.replace("caracal", caracal, 1)], capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert rounded(done.stdout) == rounded(want), f"{line}\nREADME says\n{want}\nbut it prints\n{done.stdout}"


{"extract": extract, "check": check, "commands": commands, "console": console}[sys.argv[1]](*sys.argv[2:])
