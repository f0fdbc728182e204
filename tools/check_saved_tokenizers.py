"""Compares what caracal saves of a tokenizer with the tokenizer, both loaded by Hugging Face's libraries.

    python tools/check_saved_tokenizers.py [--models DIR…] [--pipelines N] [--seed S] [--texts FILE…] [--command build/release/tools/caracal]

Of each directory transformers loads what `caracal tokenize --save` wrote: the pipeline must be the same to the last field, as must the class, the special
tokens, the settings, and ids, offsets and decoded texts of the lines of the texts. --pipelines makes N random tokenizers of fuzz_tokenizers.py, which
tokenizers loads, and names each type of component that none of them had. Exits 1 on any difference.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import fuzz_tokenizers
from tokenizers import Tokenizer

TYPES = {
    "normalizer": "BertNormalizer NFC NFD NFKC NFKD Lowercase Strip StripAccents Replace Prepend Nmt Precompiled ByteLevel Sequence",
    "pre_tokenizer": "BertPreTokenizer Whitespace WhitespaceSplit ByteLevel Metaspace Split Punctuation Digits CharDelimiterSplit UnicodeScripts FixedLength Sequence",
    "model": "WordPiece BPE Unigram WordLevel",
    "post_processor": "TemplateProcessing BertProcessing RobertaProcessing ByteLevel Sequence",
    "decoder": "WordPiece ByteLevel Metaspace BPEDecoder CTC Fuse Strip Replace ByteFallback Sequence",
}
SETTINGS = ("padding_side", "truncation_side", "model_max_length", "clean_up_tokenization_spaces", "model_input_names", "special_tokens_map", "all_special_ids", "split_special_tokens", "is_fast")


def save(command, model, folder):
    subprocess.run([*command, "tokenize", "--model", str(model), "--save", str(folder)], stdin=subprocess.DEVNULL, check=True)


def difference(a, b, path=""):
    """Where two values differ first."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return next((d for key in a if (d := difference(a[key], b[key], f"{path}.{key}"))), None)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return next((d for i in range(len(a)) if (d := difference(a[i], b[i], f"{path}[{i}]"))), None)
    return None if a == b else f"{path}: expected {str(a)[:200]} but got {str(b)[:200]}"


def rows(tokenizer, lines):
    encoded = tokenizer(lines, return_offsets_mapping=tokenizer.is_fast)
    keys = [key for key in ("input_ids", "token_type_ids", "attention_mask", "offset_mapping") if key in encoded]
    return [[{key: encoded[key][i] for key in keys}, tokenizer.decode(encoded["input_ids"][i]), tokenizer.decode(encoded["input_ids"][i], skip_special_tokens=True)] for i in range(len(lines))]


def check_directory(command, model, lines):
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        save(command, model, folder)
        expected, got = AutoTokenizer.from_pretrained(model), AutoTokenizer.from_pretrained(folder)
    settings = [{"class": type(t).__name__, **{key: getattr(t, key, None) for key in SETTINGS}} for t in (expected, got)]
    found = [difference(*settings, "settings")]
    if expected.is_fast:
        found.append(difference(*(json.loads(t.backend_tokenizer.to_str()) for t in (expected, got)), "pipeline"))
    found.append(difference(expected.get_vocab(), got.get_vocab(), "vocabulary"))
    expected.model_max_length = got.model_max_length = int(1e30)
    found.append(difference(rows(expected, lines), rows(got, lines), "rows"))
    return [d for d in found if d]


def types_of(component):
    if isinstance(component, dict):
        yield component.get("type")
        for part in component.values():
            if isinstance(part, list):
                for each in part:
                    yield from types_of(each)


def check_pipelines(command, count, seed):
    wrong, made, seen = 0, 0, {key: set() for key in TYPES}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "tokenizer.json"
        for i in range(count):
            rng = random.Random(seed * 1000 + i)
            try:
                fuzz_tokenizers.random_tokenizer(rng).save(str(path))
                expected = Tokenizer.from_file(str(path))
            except Exception:  # what the reference refuses
                continue
            made += 1
            content = json.loads(expected.to_str())
            for key in TYPES:
                seen[key].update(types_of(content[key]))
            save(command, path, folder + "/saved")
            found = difference(content, json.loads(Tokenizer.from_file(folder + "/saved/tokenizer.json").to_str()))
            if found:
                wrong += 1
                print(f"pipeline {seed * 1000 + i}{found}")
    missing = [f"{key} {name}" for key, names in TYPES.items() for name in names.split() if name not in seen[key]]
    print(f"{made} random pipelines: {wrong} differ; types not met: {', '.join(missing) or 'none'}", flush=True)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=pathlib.Path, nargs="*", default=[])
    parser.add_argument("--texts", type=pathlib.Path, nargs="*", default=[])
    parser.add_argument("--pipelines", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--command", nargs="+", default=["build/release/tools/caracal"])
    arguments = parser.parse_args()
    lines = [line for path in arguments.texts for line in path.read_text(encoding="utf-8", errors="replace").split("\n")] or ["Hello, world"]
    wrong = check_pipelines(arguments.command, arguments.pipelines, arguments.seed) if arguments.pipelines else 0
    for model in arguments.models:
        found = check_directory(arguments.command, model, lines)
        print(f"{model.name}: {len(lines)} lines, {len(found)} differences", *found, sep="\n  ", flush=True)
        wrong += len(found)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
