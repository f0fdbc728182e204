"""Compares `caracal tokenize` with transformers on every line of every text under a directory.

    python tools/check_tokenizer.py --texts DIR --models MODEL_DIR… [--command build/tools/caracal] [--pairs] [--max-length N --stride S] [--saved]

Lines are compared by input_ids, token_type_ids, attention_mask, special_tokens_mask, offset_mapping, tokens and word_ids, of every chunk with --stride; single
whole lines also by the decoded text (with and without special tokens). Classes without a fast tokenizer have no offsets and word ids to compare. Files that are not UTF-8 are given as
they are; the reference gets them decoded with errors="replace". With --saved, what `caracal tokenize --save` writes is loaded by transformers in caracal's
place. As every chunk of one text comes with every chunk of the other, of pairs with --max-length N only the first 6 N characters are taken. Exits 1 on any
difference.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

FIELDS = ("input_ids", "token_type_ids", "attention_mask", "special_tokens_mask", "offset_mapping")
CHUNK = 500


def run(command, lines):
    result = subprocess.run(command, input=b"".join(line + b"\n" for line in lines), stdout=subprocess.PIPE, check=True)
    return [json.loads(row) for row in result.stdout.splitlines()]


def theirs(tokenizer, texts, pairs, options):
    """One dict a line, or a chunk."""
    encoded = tokenizer(texts, pairs, return_special_tokens_mask=True, return_offsets_mapping=tokenizer.is_fast, **options)
    rows = []
    for i, ids in enumerate(encoded["input_ids"]):
        row = {key: [list(x) if isinstance(x, tuple) else x for x in encoded[key][i]] for key in FIELDS if key in encoded}
        if tokenizer.is_fast:
            row["tokens"] = encoded[i].tokens
            row["word_ids"] = [-1 if word is None else word for word in encoded[i].word_ids]
        else:
            row["tokens"] = tokenizer.convert_ids_to_tokens(ids)
        rows.append(row)
    return rows


def decode_differences(command, model, tokenizer, rows):
    wrong = 0
    # Wav2Vec2CTCTokenizer, the one that is not fast, drops special tokens before it groups repeats; caracal by default does not.
    for flags in ([], ["--skip-special-tokens"]) if tokenizer.is_fast else ([],):
        ids = [json.dumps(row["input_ids"]).encode() for row in rows]
        texts = run([*command, "detokenize", "--json", "--model", str(model), *flags], ids)
        for row, text in zip(rows, texts, strict=True):
            expected = tokenizer.decode(row["input_ids"], skip_special_tokens=bool(flags))
            if text != expected:
                wrong += 1
                if wrong <= 3:
                    print(f"decode({row['input_ids']}) {flags}\n  expected {expected!r}\n  but got  {text!r}")
    return wrong


def check(command, model, tokenizer, path, pairs, max_length, stride):
    """Lines, tokens and differences of a file."""
    data = path.read_bytes()
    try:
        data.decode()
        valid = True
    except UnicodeDecodeError:
        valid = False
    raw = data.split(b"\n")
    if raw[-1] == b"":
        raw.pop()
    texts = [line.decode(errors="replace") for line in raw]
    if pairs and max_length:
        texts = [text[: 6 * max_length] for text in texts]
    # Of a single pair an empty second text counts as none, of a batch it does not.
    seconds = [text or " " for text in texts[1:] + texts[:1]] if pairs else None
    if pairs:
        flags, lines = ["--json"], [json.dumps(pair).encode() for pair in zip(texts, seconds)]
    elif valid:
        flags, lines = ["--json"], [json.dumps(text).encode() for text in texts]
    else:
        flags, lines = [], raw
    options = {}
    if max_length:
        options = {"truncation": True, "max_length": max_length, "stride": stride, "return_overflowing_tokens": True}
        flags = [*flags, "--max-length", str(max_length), "--stride", str(stride)]
    differences, tokens = 0, 0
    for begin in range(0, len(lines), CHUNK):
        end = begin + CHUNK
        reference = theirs(tokenizer, texts[begin:end], seconds[begin:end] if pairs else None, options)
        rows = run([*command, "tokenize", "--word-ids", "--model", str(model), *flags], lines[begin:end])
        if not pairs and not max_length:
            differences += decode_differences(command, model, tokenizer, reference)
        if len(rows) != len(reference):
            differences += 1
            print(f"{path}: {len(rows)} rows for {len(reference)}")
        for i, (got, expected) in enumerate(zip(rows, reference)):
            tokens += len(expected["input_ids"])
            wrong = [key for key in expected if got.get(key, expected[key] if key == "token_type_ids" else None) != expected[key]]
            if wrong:
                differences += 1
                if differences <= 3:
                    print(f"{path}:{begin + i + 1}: {wrong[0]} of {texts[min(begin + i, len(texts) - 1)]!r}\n  expected {expected[wrong[0]]}\n  but got  {got.get(wrong[0])}")
    return len(lines), tokens, differences


def check_saved(command, model, tokenizer, texts_directory):
    """Lines and differences between a tokenizer and what caracal saved of it, both in transformers."""
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        run([*command, "tokenize", "--model", str(model), "--save", folder], [])
        saved = AutoTokenizer.from_pretrained(folder)
    saved.model_max_length = tokenizer.model_max_length
    lines = differences = 0
    for path in sorted(p for p in texts_directory.rglob("*") if p.is_file()):
        texts = path.read_bytes().decode(errors="replace").split("\n")
        lines += len(texts)
        for text, a, b in zip(texts, theirs(tokenizer, texts, None, {}), theirs(saved, texts, None, {}), strict=True):
            same = a == b and tokenizer.decode(a["input_ids"]) == saved.decode(b["input_ids"])
            differences += not same
            if not same and differences <= 3:
                print(f"{path}: {text!r}\n  expected {a}\n  but got  {b}")
    return lines, differences


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=pathlib.Path, required=True)
    parser.add_argument("--models", type=pathlib.Path, nargs="+", required=True)
    parser.add_argument("--command", nargs="+", default=["build/tools/caracal"])
    parser.add_argument("--pairs", action="store_true", help="tokenize each line together with the next")
    parser.add_argument("--max-length", type=int, default=0, help="cut to so many tokens, with overlapping chunks")
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--saved", action="store_true", help="compare what caracal saves, in transformers")
    arguments = parser.parse_args()
    from transformers import AutoTokenizer

    total_differences = 0
    for model in arguments.models:
        tokenizer = AutoTokenizer.from_pretrained(model)
        tokenizer.model_max_length = int(1e30)
        if arguments.saved:
            lines, differences = check_saved(arguments.command, model, tokenizer, arguments.texts)
            print(f"{model.name} saved: {lines} lines, {differences} differ", flush=True)
            total_differences += differences
            continue
        files = lines = tokens = differences = 0
        for path in sorted(p for p in arguments.texts.rglob("*") if p.is_file()):
            counts = check(arguments.command, model, tokenizer, path, arguments.pairs, arguments.max_length, arguments.stride)
            files, lines, tokens, differences = files + 1, lines + counts[0], tokens + counts[1], differences + counts[2]
        print(f"{model.name}: {files} files, {lines} lines, {tokens} tokens, {differences} lines differ", flush=True)
        total_differences += differences
    sys.exit(1 if total_differences else 0)


if __name__ == "__main__":
    main()
