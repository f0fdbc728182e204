"""Compares `caracal tokenize` with Hugging Face's tokenizers on every line of every text under a directory.

    python tools/check_tokenizer.py --texts DIR --models MODEL… [--modes single pair chunks pair-chunks] [--record FILE.jsonl]
                                    [--command build/release/tools/caracal]

MODEL is a directory, which transformers loads; a tokenizer.json, which tokenizers loads; or DIR+FILE: a directory with a vocabulary from elsewhere.
single: each line, and its decoded text (with and without special tokens). pair: each line with the next. chunks: each line cut to 32 tokens with a
stride of 8, all chunks. pair-chunks: pairs cut to 128 tokens with a stride of 16, where every chunk of one text comes with every chunk of the other.
Rows are compared by input_ids, token_type_ids, attention_mask, special_tokens_mask, tokens, offset_mapping and word_ids. Classes without a fast
tokenizer have no offsets, word ids and chunks to compare. Files that are not UTF-8 are given as they are; the reference gets them decoded with
errors="replace". Each file's result is a line of FILE.jsonl; what stands there is not run again. Exits 1 on any difference.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

LIMITS = {"chunks": (32, 8), "pair-chunks": (128, 16)}
PAIRS = ("pair", "pair-chunks")


def run(command, lines):
    return subprocess.run(command, input=b"".join(line + b"\n" for line in lines), stdout=subprocess.PIPE, check=True).stdout.splitlines()


def fast_row(e, has_types):
    row = {"input_ids": e.ids, "token_type_ids": e.type_ids, "attention_mask": e.attention_mask, "special_tokens_mask": e.special_tokens_mask, "tokens": e.tokens,
           "offset_mapping": e.offsets, "word_ids": [-1 if word is None else word for word in e.word_ids]}
    if not has_types:
        del row["token_type_ids"]
    return row


class Fast:
    """The reference as tokenizers has it: a pipeline that transformers made of a directory, or of a tokenizer.json."""

    is_fast = True

    def __init__(self, pipeline, has_types, decode):
        self.pipeline, self.has_types, self.decode = pipeline, has_types, decode
        pipeline.no_padding()

    def rows(self, inputs, mode):
        if mode in LIMITS:
            self.pipeline.enable_truncation(LIMITS[mode][0], stride=LIMITS[mode][1])
        else:
            self.pipeline.no_truncation()
        for e in self.pipeline.encode_batch(inputs):
            yield fast_row(e, self.has_types)
            for part in e.overflowing:
                yield fast_row(part, self.has_types)


class Slow:
    """The reference as a class of transformers without a fast tokenizer has it."""

    is_fast = False

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.decode = tokenizer.decode

    def rows(self, inputs, mode):
        for one in inputs:
            encoded = self.tokenizer(*([one] if isinstance(one, str) else one), return_special_tokens_mask=True)
            yield {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"], "special_tokens_mask": encoded["special_tokens_mask"],
                   "tokens": self.tokenizer.convert_ids_to_tokens(encoded["input_ids"])}


def load(model):
    if model.is_file():
        from tokenizers import Tokenizer

        pipeline = Tokenizer.from_file(str(model))
        return Fast(pipeline, False, lambda ids, skip_special_tokens: pipeline.decode(ids, skip_special_tokens=skip_special_tokens))
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    if not tokenizer.is_fast:
        return Slow(tokenizer)
    return Fast(tokenizer.backend_tokenizer, "token_type_ids" in tokenizer.model_input_names, tokenizer.decode)


def decode_differences(command, model, reference, rows):
    wrong = 0
    # Wav2Vec2CTCTokenizer, the one that is not fast, drops special tokens before it groups repeats; caracal by default does not.
    for skip in (False, True) if reference.is_fast else (False,):
        ids = [json.dumps(row["input_ids"]).encode() for row in rows]
        texts = run([*command, "detokenize", "--json", "--model", str(model), *(["--skip-special-tokens"] if skip else [])], ids)
        for row, text in zip(rows, texts, strict=True):
            expected = reference.decode(row["input_ids"], skip_special_tokens=skip)
            if json.loads(text) != expected:
                wrong += 1
                if wrong <= 3:
                    print(f"decode({row['input_ids']}, {skip})\n  expected {expected!r}\n  but got  {json.loads(text)!r}")
    return wrong


def batches(inputs, mode):
    """Ends of runs of inputs of which the reference can hold all rows at a time."""
    weight = 0
    for i, one in enumerate(inputs):
        weight += 1 + (len(one[0].encode()) * len(one[1].encode()) >> 8 if mode == "pair-chunks" else 0)
        if weight >= 1000:
            yield i + 1
            weight = 0
    if weight:
        yield len(inputs)


def check(command, model, reference, path, mode):
    """Lines, rows, tokens and differences of a file."""
    data = path.read_bytes()
    raw = data.split(b"\n")
    if raw[-1] == b"":
        raw.pop()
    texts = [line.decode(errors="replace") for line in raw]
    # transformers takes an empty second text for none.
    inputs = list(zip(texts, [text or " " for text in texts[1:] + texts[:1]])) if mode in PAIRS else texts
    flags = ["--word-ids"]
    if mode in LIMITS:
        flags += ["--max-length", str(LIMITS[mode][0]), "--stride", str(LIMITS[mode][1])]
    if mode in PAIRS or data == b"\n".join(text.encode() for text in data.decode(errors="replace").split("\n")):
        flags.append("--json")
        lines = [json.dumps(one).encode() for one in inputs]
    else:
        lines = raw
    counts = {"lines": len(lines), "rows": 0, "tokens": 0, "differences": 0}
    begin = 0
    for end in batches(inputs, mode):
        got = run([*command, "tokenize", "--model", str(model), *flags], lines[begin:end])
        expected = list(reference.rows(inputs[begin:end], mode))
        if len(got) != len(expected):
            counts["differences"] += 1
            print(f"{path}: {len(got)} rows for {len(expected)}, lines {begin + 1} to {end}, {mode}")
        for line, row in zip(got, expected):
            counts["rows"] += 1
            counts["tokens"] += len(row["input_ids"])
            if reference.is_fast and line.decode() == json.dumps(row):
                continue
            values = json.loads(line)
            keys = [key for key in row if values.get(key) != json.loads(json.dumps(row[key]))]
            if keys:
                counts["differences"] += 1
                if counts["differences"] <= 3:
                    print(f"{path}, lines {begin + 1} to {end}, {mode}: {keys[0]} of {row['tokens']}\n  expected {row[keys[0]]}\n  but got  {values.get(keys[0])}")
        if mode == "single":
            counts["differences"] += decode_differences(command, model, reference, expected)
        begin = end
    return counts


def directory_of(model, folder):
    """A directory for DIR+FILE."""
    parts = [pathlib.Path(part).resolve() for part in model.split("+")]
    if len(parts) == 1:
        return parts[0]
    joined = pathlib.Path(folder) / parts[0].name
    joined.mkdir()
    for file in (*parts[0].iterdir(), *parts[1:]):
        (joined / file.name).symlink_to(file)
    return joined


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=pathlib.Path, required=True)
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--modes", nargs="+", default=["single"], choices=("single", "chunks", *PAIRS))
    parser.add_argument("--record", type=pathlib.Path, help="what was found so far, a line for each file")
    parser.add_argument("--command", nargs="+", default=["build/release/tools/caracal"])
    arguments = parser.parse_args()
    done = {}
    if arguments.record and arguments.record.exists():
        for row in map(json.loads, arguments.record.read_text().splitlines()):
            done[row["model"], row["mode"], row["file"]] = row
    differences = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models:
            model = directory_of(name, folder)
            label = f"{model.parent.name}/{model.name}" if model.is_file() else model.name
            reference = None
            for mode in arguments.modes:
                total = {"files": 0, "lines": 0, "rows": 0, "tokens": 0, "differences": 0}
                for path in sorted(p for p in arguments.texts.rglob("*") if p.is_file()):
                    key = label, mode, str(path.relative_to(arguments.texts))
                    if key not in done:
                        reference = reference or load(model)
                        if not reference.is_fast and mode in LIMITS:
                            break
                        done[key] = dict(zip(("model", "mode", "file"), key), **check(arguments.command, model, reference, path, mode))
                        if arguments.record:
                            with arguments.record.open("a") as record:
                                record.write(json.dumps(done[key]) + "\n")
                    for count in total:
                        total[count] += done[key].get(count, 1)
                print(f"{label}, {mode}: {total['files']} files, {total['lines']} lines, {total['rows']} rows, {total['tokens']} tokens, {total['differences']} differ", flush=True)
                differences += total["differences"]
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
