"""Writes the seeds of a fuzz target to a folder, from tests/data; and a dictionary beside it (FOLDER.dict) of words
that bytes alone would find late.

usage: python3 corpus.py TARGET FOLDER
"""

import base64
import json
import pathlib
import re
import sys

DATA = pathlib.Path(__file__).parent.parent / "data"
NUMBERS = ["-1", "0", "1", "2147483648", "9223372036854775807", "9223372036854775808", "18446744073709551616", "1e308",
           "1.5", "null", "true", "false", "[]", "{}", '"x"', '{"__float__": "NaN"}']


def lines(file):
    return [line for line in (DATA / file).read_text().splitlines() if line.startswith("{")]


def files(pattern, least=0, most=20_000):
    return [path.read_bytes() for path in sorted(DATA.glob(pattern)) if least <= path.stat().st_size <= most]


def hostile(kind, most=12_000):
    """The files of this kind that were made to break a reader, those that are small."""
    found = []
    for case in map(json.loads, lines("hostile/files.jsonl")):
        for pieces in case["files"].values() if case["kind"] == kind else []:
            parts = [piece.encode() if isinstance(piece, str) else piece.get("times", 1) *
                     (base64.b64decode(piece["base64"]) if "base64" in piece else piece["repeat"].encode())
                     for piece in pieces]
            found.append(b"".join(parts))
    return [content for content in found if len(content) <= most]


def words(texts):
    """The keys and the strings of JSON texts."""
    return sorted({word for text in texts for word in re.findall(r'"[A-Za-z0-9_.]{2,60}"', text)})


def safetensors():
    cases = (DATA / "safetensors/cases.tsv").read_text().splitlines()[1:]
    seeds = [bytes.fromhex(case.split("\t")[2]) for case in cases] + files("safetensors/synthetic/*.safetensors")
    texts = [seed[8:].decode("latin1") for seed in seeds]
    return seeds + files("safetensors/*.safetensors"), words(texts)


def index():
    shards = {"a": "a.safetensors", "b": "a.safetensors", "c": "b.safetensors", "e": "sub/c.safetensors"}
    seeds = [{"metadata": {"total_size": 64}, "weight_map": shards}, {"weight_map": {"a": "a.safetensors"}}]
    names = ["link", "inner", "pickle", "up/outside.safetensors", "../outside.safetensors", "/etc/passwd", "sub"]
    seeds += [{"weight_map": {"a": name}} for name in names]
    seeds = [json.dumps(seed) for seed in seeds]
    return seeds + files("models/*/sharded/*.index.json"), words(seeds) + ['".."', '"../"', '"\\u0000"']


def config():
    found = files("models/*/*/config.json", most=4000) + files("configs/*/config.json", most=8000)
    seeds = [seed.decode() for seed in found]
    return seeds, words(seeds)


def run():
    # Every model: as it should be, with every option, and each argument in turn of a chosen shape.
    seeds = [bytes([model, options]) for model in range(16) for options in (0, 3, 7, 11, 27, 59)]
    for model in range(16):
        for argument in range(13):
            for rest in ([0, 0, 0, 0, 1, 250, 1, 2, 3], [1, 3, 2, 3, 0], [2, 0, 1, 1, 1, 1], [2, *[0] * 5, 1, *[7] * 40]):
                seeds.append(bytes([model, 3] + [0] * argument + [2] + rest))
        seeds.append(bytes([model, 51] + [0] * 13 + [2] + [0] * 40))
    return seeds, []


def tokenizer_json():
    seeds = [line for line in lines("tokenizers/pipelines/random.jsonl") if len(line) < 12_000]
    return seeds + hostile("tokenizer"), words(seeds)[:2000]


def encode_decode():
    texts = [json.loads(line) for line in (DATA / "tokenizers/corpus.jsonl").read_text().splitlines()[:300]]
    texts = [text if isinstance(text, str) else json.dumps(text) for text in texts]
    return [bytes([i % 256, i % 7]) + text.encode("utf-8", "replace") for i, text in enumerate(texts)], []


def image_processor(file="media/processors.jsonl"):
    seeds = set()
    for line in lines(file):
        case = json.loads(line)
        seeds.add(json.dumps({**case["arguments"], **case["call"]}))
        seeds.add(case.get("saved", "{}").replace("224", "12"))
    return sorted(seeds), words(seeds)


def feature_extractor():
    return image_processor("media/extractor.jsonl")


def ocr_config():
    seeds = ["--psm 6\neng", "--oem 1 --dpi 300 -l eng+deu",
             "-c tessedit_char_whitelist='a b' --tessdata-dir \"/x y\"\n",
             json.dumps({"apply_ocr": True, "ocr_lang": "eng", "tesseract_config": "--psm 11 -c a=b\\ c"})]
    return seeds, words(seeds)


def main():
    target, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    if target in ("jpeg", "png", "webp"):
        seeds, found = files(f"media/images/*.{target.replace('jpeg', 'jpg')}", most=200_000) + hostile("image"), []
    elif target in ("wav", "flac"):
        seeds, found = files(f"media/audio/*.{target}", most=200_000), []  # no bombs: they leave time for little else
    else:
        seeds, found = globals()[target]()
        found += NUMBERS if target not in ("run", "encode_decode") else []
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (folder / f"seed{number}").write_bytes(seed if isinstance(seed, bytes) else seed.encode())
    escaped = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in found)
    folder.with_name(folder.name + ".dict").write_text("".join(f'"{word}"\n' for word in escaped))


if __name__ == "__main__":
    main()
