"""Compares `caracal tokenize` with stored ids: SQuAD questions, and the tests of swift-transformers and rten.

    python tools/check_expected_tokens.py --expected DIR --tokenizers DIR [--command build/release/tools/caracal]

DIR of --expected holds swift-transformers/ and rten/; DIR of --tokenizers a folder for each model. What is stored for models that are not there is skipped
and named. The decoded texts come from transformers 4, which by default cleaned up spaces; here that is done after caracal. Exits 1 on any difference.
"""

import argparse
import json
import pathlib
import subprocess
import sys

FOLDERS = {"distilgpt2": "gpt2", "tiiuae/falcon-7b": "falcon-7b", "t5-base": "t5-small", "google-bert/bert-base-uncased": "bert-base-uncased",
           "distilbert/distilbert-base-multilingual-cased": "bert-base-multilingual-cased"}


CLEAN_UP = ((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"))


def clean_up(text):
    for old, new in CLEAN_UP:
        text = text.replace(old, new)
    return text


class Check:
    def __init__(self, command, tokenizers):
        self.command, self.tokenizers, self.differences = command, tokenizers, 0

    def run(self, arguments, lines):
        result = subprocess.run([*self.command, *arguments], input="".join(json.dumps(line) + "\n" for line in lines).encode(), stdout=subprocess.PIPE, check=True)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def rows(self, name, model, rows, *flags):
        """`rows` are (text, ids or None, tokens or None)."""
        folder = self.tokenizers / FOLDERS.get(model, model)
        if not folder.is_dir():
            return print(f"{name} {model}: no such tokenizer, {len(rows)} texts skipped")
        got = self.run(["tokenize", "--json", "--model", str(folder), *flags], [text for text, _, _ in rows])
        wrong = 0
        for (text, ids, tokens), row in zip(rows, got, strict=True):
            if (ids is not None and row["input_ids"] != ids) or (tokens is not None and row["tokens"] != tokens):
                wrong += 1
                if wrong <= 3:
                    print(f"  {text[:200]!r}\n    expected {ids or tokens}\n    but got  {row['input_ids'] if ids else row['tokens']}")
        self.report(name, model, len(rows), wrong)

    def decoded(self, name, model, rows, *flags):
        """`rows` are (ids, text)."""
        folder = self.tokenizers / FOLDERS.get(model, model)
        if not folder.is_dir():
            return
        got = self.run(["detokenize", "--json", "--model", str(folder), *flags], [ids for ids, _ in rows])
        wrong = [(expected, text) for (_, expected), text in zip(rows, got, strict=True) if expected not in (text, clean_up(text))]
        for expected, text in wrong[:3]:
            print(f"  expected {expected!r} but got {text!r}")
        self.report(name + " decoded", model, len(rows), len(wrong))

    def report(self, name, model, count, wrong):
        self.differences += wrong
        print(f"{name} {model}: {count} texts, {wrong} differ", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--expected", type=pathlib.Path, required=True)
    parser.add_argument("--tokenizers", type=pathlib.Path, required=True)
    parser.add_argument("--command", nargs="+", default=["build/release/tools/caracal"])
    arguments = parser.parse_args()
    check = Check(arguments.command, arguments.tokenizers)
    swift = arguments.expected / "swift-transformers"

    squad = json.loads((swift / "squad_questions_bert_uncased.json").read_text())
    check.rows("squad", "bert-base-uncased", [(item["original"], item["ids"], item["wordpiece"]) for item in squad], "--no-special-tokens")
    for file, model in (("gpt2_encoded_tokens", "gpt2"), ("falcon_encoded", "falcon-7b"), ("t5_base_encoded", "t5-base")):
        item = json.loads((swift / f"{file}.json").read_text())
        check.rows(file, model, [(item["text"], item["token_ids"], None)])
        check.rows(file, model, [(item["text"], None, item["bpe_tokens"])], "--no-special-tokens")
        check.decoded(file, model, [(item["token_ids"], item["decoded_text"])])
    for model, items in json.loads((swift / "tokenizer_tests.json").read_text()).items():
        check.rows("tokenizer_tests", model, [(item["input"], item["encoded"]["input_ids"], None) for item in items])
        check.decoded("tokenizer_tests", model, [(item["encoded"]["input_ids"], item["decoded_with_special"]) for item in items])
        check.decoded("tokenizer_tests", model, [(item["encoded"]["input_ids"], item["decoded_without_special"]) for item in items], "--skip-special-tokens")
    for path in sorted((arguments.expected / "rten").glob("*.json")):
        item = json.loads(path.read_text())
        text = (arguments.expected / "rten" / pathlib.Path(item["input_file"]).name).read_bytes().decode()
        check.rows(path.stem, item["model_name"], [(text, item["token_ids"], item["tokens"])])
    sys.exit(1 if check.differences else 0)


if __name__ == "__main__":
    main()
