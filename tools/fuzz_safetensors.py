"""Compares caracal's verdict on random safetensors files with that of PyPI's safetensors.

usage: fuzz_safetensors.py CARACAL [COUNT] [SEED]

Files are made whole and then damaged in ways that the format's rules are about: offsets, shapes, dtypes, fields, the
header's length and text, the end of the file. A file that one takes and the other refuses is explained only where
loaders/safetensors.h says that caracal is stricter; anything else ends the run with status 1 and shows the file.
"""

import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
from collections import Counter

import safetensors

SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "F64": 8,
         "I64": 8, "U64": 8}
INTEGERS = ["0", "1", "-1", "-0", "+1", "01", "1.0", "1e1", '"1"', "null", "true", "2147483648", "4611686018427387904",
            "9223372036854775808", "18446744073709551615", "18446744073709551616", "1" + "0" * 30]


def text(entries):
    """JSON by hand, so that keys may repeat and values be anything."""
    return "{" + ",".join(f"{json.dumps(name) if isinstance(name, str) else name[0]}:{value}" for name, value in entries) + "}"


def whole(rng):
    entries, position = [], 0
    if rng.random() < 0.3:
        entries.append(("__metadata__", json.dumps({"format": "pt"})))
    for i in range(rng.randrange(5)):
        dtype = rng.choice(list(SIZES))
        shape = [rng.choice([0, 1, 2, 3, 5]) for _ in range(rng.randrange(4))]
        size = SIZES[dtype]
        for dim in shape:
            size *= dim
        fields = [("dtype", json.dumps(dtype)), ("shape", json.dumps(shape)),
                  ("data_offsets", json.dumps([position, position + size]))]
        rng.shuffle(fields)
        entries.append((f"t{i}", fields))
        position += size
    rng.shuffle(entries)
    return entries, position


def damage_fields(rng, fields):
    kind, at = rng.randrange(9), rng.randrange(len(fields))
    name, value = fields[at]
    numbers = re.findall(r"\d+", value)
    if kind == 0:
        del fields[at]
    elif kind == 1:
        fields.append(fields[at])
    elif kind == 2:
        fields.append(("extra", rng.choice(INTEGERS + ["{}", "[[]]"])))
    elif kind == 3:
        fields[at] = (name, rng.choice(INTEGERS + ["[]", "{}", '"f32"', '"F8_E4M3"', '"F4"', '"F128"', "[1]", "[0,0,0]"]))
    elif kind <= 5 and numbers and name != "dtype":
        number = rng.choice(numbers)
        fields[at] = (name, value.replace(number, rng.choice(INTEGERS), 1))
    elif kind <= 7 and numbers and name != "dtype":
        number = rng.choice(numbers)
        fields[at] = (name, value.replace(number, str(max(0, int(number) + rng.choice([-2, -1, 1, 2, 4, 8]))), 1))
    elif name == "dtype":
        fields[at] = (name, json.dumps(rng.choice(list(SIZES) + ["f32", "", "F8_E5M2", "F6_E2M3", "C64"])))


def make(rng):
    entries, size = whole(rng)
    tensors = [i for i, (name, value) in enumerate(entries) if isinstance(value, list)]
    for _ in range(rng.choice([0, 1, 1, 1, 2])):
        kind = rng.randrange(6)
        if tensors and kind <= 2:
            damage_fields(rng, entries[rng.choice(tensors)][1]) if entries else None
        elif tensors and kind == 3:
            entries.append(entries[rng.choice(tensors)])
        elif kind == 4:
            entries.append(("__metadata__", rng.choice(['{"a":1}', '{"a":"b"}', "null", "[]", '{"a":"b","a":"c"}', "1"])))
        else:
            size = max(0, size + rng.choice([-8, -1, 1, 8]))
    as_list = rng.random() < 0.02

    def value_of(value):
        if not isinstance(value, list):
            return value
        if as_list:
            return "[" + ",".join(dict(value).get(k, "0") for k in ("dtype", "shape", "data_offsets")) + "]"
        return text(value)

    header = text([(name, value_of(value)) for name, value in entries]).encode()
    if rng.random() < 0.1:
        header = rng.choice([b" ", b"\n", b"\t", b"\0", b"\xef\xbb\xbf", b"/**/"]) + header
    if rng.random() < 0.2:
        header += rng.choice([b" ", b"   \n", b"\0", b",", b"{}", b"\xff"])
    if rng.random() < 0.05 and header:
        at = rng.randrange(len(header))
        header = header[:at] + bytes([rng.randrange(256)]) + header[at + 1 :]
    length = len(header)
    if rng.random() < 0.05:
        length = rng.choice([0, 1, length - 1, length + 1, length + size + 1, 100_000_001, 2**63, 2**64 - 1])
    data = struct.pack("<Q", max(0, length)) + header + bytes(rng.randrange(256) for _ in range(size))
    return data[: rng.randrange(len(data) + 1)] if rng.random() < 0.03 else data


def stricter(data):
    """Why caracal may refuse what the reference takes: what the header's own text shows, or None."""
    def pairs(items):
        return {"": items}  # keeps what repeats

    (length,) = struct.unpack("<Q", data[:8])
    tensors = json.loads(data[8 : 8 + length], object_pairs_hook=pairs)[""]
    names = [name for name, _ in tensors]
    if len(set(names)) < len(names):
        return "a name twice"
    for name, value in tensors:
        if name == "__metadata__":
            continue
        if isinstance(value, list):
            return "a tensor as a list"
        shape = dict(value[""])["shape"]
        if len(shape) > 64 or max(shape, default=0) > 2**48:
            return "a rank above 64 or a dimension above 2^48"
    return None


def reference(data):
    try:
        safetensors.deserialize(data)
        return None
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def ours(caracal, path):
    done = subprocess.run([caracal, "inspect", path, "--json"], capture_output=True, text=True, errors="replace")
    if done.returncode == 0:
        return None
    assert done.returncode == 1 and done.stderr.startswith("caracal: error: ["), (done.returncode, done.stderr)
    return done.stderr.strip()


def main():
    caracal = sys.argv[1]
    count, seed = (int(text) for text in (sys.argv[2:] + ["10000", "1"][len(sys.argv) - 2 :]))
    rng, verdicts = random.Random(seed), Counter()
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/x.safetensors"
        for _ in range(count):
            data = make(rng)
            with open(path, "wb") as file:
                file.write(data)
            theirs, own = reference(data), ours(caracal, path)
            if (theirs is None) == (own is None):
                verdicts["both refuse" if own else "both accept"] += 1
                continue
            reason = stricter(data) if own else None
            verdicts[f"stricter: {reason}" if reason else "unexplained"] += 1
            if reason is None:
                print(data.hex(), f"reference: {theirs}", f"caracal: {own}", sep="\n  ")
    print(f"{count} files, seed {seed}:", dict(verdicts))
    sys.exit(verdicts["unexplained"] > 0)


if __name__ == "__main__":
    main()
