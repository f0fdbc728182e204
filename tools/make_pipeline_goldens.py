"""Writes tests/data/tokenizers/{pipelines,classes}: what Hugging Face makes of random texts with every component and class.

    python tools/make_pipeline_goldens.py --data DIR [--output tests/data/tokenizers]

pipelines/*.jsonl: random tokenizers of fuzz_tokenizers.py and cut-down real ones; the first line is the tokenizer.json, then a row
[text, ids, offsets, word ids, decoded, decoded without special tokens] each. classes/: vocabulary files, and calls of transformers' classes.
DIR holds tokenizers/{gpt2,roberta-base,clip-vit-base-patch32,t5-small,albert-base-v2,phi-2,falcon-7b,wav2vec2-large-960h} and expected/.
"""

import argparse
import json
import pathlib
import random
import shutil
import tempfile

import transformers
from tokenizers import Tokenizer
from transformers import CLIPTokenizer, DistilBertTokenizer, GPT2Tokenizer, LayoutLMv2Tokenizer, RobertaTokenizer, Wav2Vec2CTCTokenizer

import fuzz_tokenizers


def dump(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, separators=(",", ":"), ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def rows_of(tokenizer, texts):
    rows = []
    for text in texts:
        try:
            e = tokenizer.encode(text)
            decoded = [tokenizer.decode(e.ids, skip_special_tokens=skip) for skip in (False, True)]
        except BaseException as error:  # the reference panics on some texts
            if isinstance(error, KeyboardInterrupt):
                raise
            continue
        rows.append([text, e.ids, [x for span in e.offsets for x in span], [-1 if w is None else w for w in e.word_ids], *decoded])
    return rows


def cut(content, size):
    """A tokenizer.json with only the first tokens and merges of its model, and the added tokens; ids are made dense."""
    model = content["model"]
    if model.get("type") == "Unigram" or isinstance(model["vocab"], list):
        keep = {t["content"] for t in content["added_tokens"]} | {"\u2581", "<unk>"}
        pieces = [p for i, p in enumerate(model["vocab"]) if i < size or p[0] in keep or len(p[0]) == 1]
        ids = {p[0]: i for i, p in enumerate(pieces)}
        model["unk_id"] = ids[model["vocab"][model["unk_id"]][0]]
        model["vocab"] = pieces
    else:
        merges = [m if isinstance(m, list) else m.split(" ") for m in model["merges"][:size]]
        made = {a + b for a, b in merges} | {t for pair in merges for t in pair}
        added = {t["content"] for t in content["added_tokens"]}
        tokens = [t for t in sorted(model["vocab"], key=model["vocab"].get) if t in made or t in added or len(t.removesuffix("</w>")) == 1]
        ids = model["vocab"] = {t: i for i, t in enumerate(tokens)}
        model["merges"] = merges
    next_id = len(model["vocab"])
    content["added_tokens"] = [t for t in content["added_tokens"] if "extra_id_" not in t["content"] or t["content"] in ids][:40]
    for token in content["added_tokens"]:
        if token["content"] not in ids:
            ids[token["content"]] = next_id
            next_id += 1
        token["id"] = ids[token["content"]]
    post = content["post_processor"]
    for key in ("sep", "cls"):
        if post and key in post:
            post[key][1] = ids[post[key][0]]
    for name, token in ((post or {}).get("special_tokens") or {}).items():
        token["ids"] = [ids[name]]
    content["truncation"] = content["padding"] = None
    return content


def texts_of(rng, specials, count):
    texts = []
    while len(texts) < count:
        text = fuzz_tokenizers.random_text(rng, specials)
        if len(text) < 120:
            texts.append(text)
    return texts


def pipelines(data, out):
    for name, size in (("gpt2", 1500), ("roberta-base", 800), ("clip-vit-base-patch32", 1000), ("t5-small", 1000), ("albert-base-v2", 1000), ("phi-2", 800), ("falcon-7b", 1000)):
        rng = random.Random(7)
        content = cut(json.loads((data / "tokenizers" / name / "tokenizer.json").read_text()), size)
        tokenizer = Tokenizer.from_str(json.dumps(content))
        specials = [t["content"] for t in content["added_tokens"]][:8]
        dump(out / "pipelines" / f"{name}.jsonl", [content, *rows_of(tokenizer, texts_of(rng, specials, 250))])
    seed, kept, rows, kinds = 9000, 0, [], {}
    while kept < 54:
        seed += 1
        rng = random.Random(seed)
        try:
            content = json.loads(fuzz_tokenizers.random_tokenizer(rng).to_str())
            tokenizer = Tokenizer.from_str(json.dumps(content))
        except Exception:  # what the reference refuses
            continue
        size = len(json.dumps(content))
        parts = [content["model"]["type"], *((content[k] or {}).get("type") for k in ("normalizer", "pre_tokenizer", "decoder"))]
        if size > 22000 or all(kinds.get(p, 0) >= 4 for p in parts):
            continue
        for part in parts:
            kinds[part] = kinds.get(part, 0) + 1
        specials = [t["content"] for t in content["added_tokens"]]
        rows.append(content)
        rows += rows_of(tokenizer, texts_of(rng, specials, 60))
        kept += 1
    dump(out / "pipelines" / "random.jsonl", rows)
    print("random pipelines:", kinds)


def components(out):
    """Each behaviour of what splits, and decoders, alone."""
    pieces = ["[UNK]", *"abcdefghijklmnopqrstuvwxyz .,!?-'1234567890\u00e9\u4e2d\u2581", "the", "an", "er", " a", "..", "##er", "do not", "n't", "'m", "'s", "'ve", "'re", " ' "]
    model = {"type": "Unigram", "unk_id": 0, "vocab": [[p, -1.0 - 0.01 * i] for i, p in enumerate(pieces)], "byte_fallback": False}
    base = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None, "model": model}
    behaviors = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
    cases = [{"pre_tokenizer": {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}} for pattern in ({"String": " "}, {"Regex": "[aeiou .]"}) for behavior in behaviors for invert in (False, True)]
    cases += [{"pre_tokenizer": {"type": "Punctuation", "behavior": behavior}} for behavior in behaviors]
    cases += [{"decoder": {"type": "Strip", "content": content, "start": start, "stop": stop}} for content, start, stop in (("a", 1, 0), (" ", 0, 1), (".", 2, 0), ("\u2581", 1, 0))]
    cases += [{"decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Strip", "content": content, "start": 2, "stop": 3}]}} for content in " a."]
    cases += [{"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": cleanup}} for cleanup in (False, True)]
    cases += [{"decoder": {"type": "CTC", "pad_token": "a", "word_delimiter_token": "-", "cleanup": cleanup}} for cleanup in (False, True)]
    twice = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
             "vocab": {token: i for i, token in enumerate(["a", "n", "e", "r", " ", "an", "ne", "er"])}, "merges": [["a", "n"], ["n", "e"], ["e", "r"], ["a", "n"]]}
    cases.append({"model": twice})  # a merge that comes twice
    texts = ["", " ", "a", "I do not", "do not!do not", "isn't.", "I'm, he's? we've they're", "a ' b", "the anteater, an era", "a.b..c...d", "  aa  bb  ", "...", "don't - stop!?", "aeiou", "\u4e2d\u00e9 1,234.5 ", " .a. ", "x\u2581y \u2581\u2581z", "aaa. . .aaa", "..a b..", "\u3002a\u3002"]
    rows = []
    for case in cases:
        content = {**base, **case}
        rows += [content, *rows_of(Tokenizer.from_str(json.dumps(content)), texts)]
    dump(out / "pipelines" / "components.jsonl", rows)


def decoded_tokens(out):
    """Every decoder on lists of tokens that no text gives."""
    metaspace = {"type": "Metaspace", "replacement": "\u2581", "split": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    replace = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    kinds = [{"type": "WordPiece", "prefix": "##", "cleanup": True}, {"type": "WordPiece", "prefix": "##", "cleanup": False}, byte_level, {**metaspace, "prepend_scheme": "always"}, {**metaspace, "prepend_scheme": "never"},
             {"type": "BPEDecoder", "suffix": "</w>"}, {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True}, {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": False},
             {"type": "Fuse"}, replace, {"type": "Replace", "pattern": {"Regex": "[ab]+"}, "content": "x"}, strip, {"type": "ByteFallback"},
             {"type": "Sequence", "decoders": [replace, {"type": "ByteFallback"}, {"type": "Fuse"}, strip]}]
    pool = ["a", "b", "##b", "##", "\u2581the", "\u2581", "\u0120the", "\u010a", "\u00e4\u00b8", "\u0143", "\u4e2d", "ab</w>", "</w>", "<pad>", "<pad>", "|", "a|b", ".", ",", "'", "n't", "'s", "do not", " a ", "  b", "!",
            "<0xE4>", "<0xB8>", "<0xAD>", "<0x61>", "<0xFF>", "<0xe4>", "<0x+4>", "<0xZZ>", "<0x6>", "", "\u00e9", "\u03a3"]
    base = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None, "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}
    rng, rows = random.Random(13), []
    for kind in kinds:
        decoder = Tokenizer.from_str(json.dumps({**base, "decoder": kind})).decoder
        for _ in range(40):
            tokens = [token for _ in range(rng.randint(0, 7)) for token in [rng.choice(pool)] * rng.choice((1, 1, 1, 2))]
            try:
                rows.append([kind, tokens, decoder.decode(tokens)])
            except BaseException as error:  # the reference panics on some
                if isinstance(error, KeyboardInterrupt):
                    raise
    dump(out / "pipelines" / "decoders.jsonl", rows)


def ctc(data, out):
    folder = out / "classes" / "wav2vec2"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("vocab.json", "tokenizer_config.json"):
        shutil.copyfile(data / "tokenizers/wav2vec2-large-960h" / name, folder / name)
        (folder / name).chmod(0o644)
    (folder / "config.json").write_text('{"model_type": "wav2vec2"}\n')
    rng, cases = random.Random(11), []
    for lower in (False, True):
        tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), do_lower_case=lower)
        for text in ["HELLO WORLD", "hello world", "a  b", "<s>A</s> <pad> X|Y", "caf\u00e9 stra\u00dfe", "", "<unk> q"]:
            ids = tokenizer(text)["input_ids"]
            cases.append({"lower": lower, "text": text, "ids": ids})
        for _ in range(60):
            ids = [i for _ in range(rng.randint(0, 12)) for i in [rng.choice((0, 0, 4, 4, 1, 2, 3, *range(5, 32)))] * rng.choice((1, 1, 2, 3))]
            options = {"group_tokens": rng.random() < 0.8, "spaces_between_special_tokens": rng.random() < 0.2, "skip_special_tokens": rng.random() < 0.4}
            plain = tokenizer.decode(ids, **options)
            with_offsets = tokenizer.decode(ids, output_char_offsets=True, output_word_offsets=True, **options)
            offsets = [[[next(v for k, v in o.items() if k in ("char", "word")), int(o["start_offset"]), int(o["end_offset"])] for o in part or []] for part in (with_offsets.char_offsets, with_offsets.word_offsets)]
            cases.append({"lower": lower, "decode": ids, "options": options, "decoded": plain, "offsets": offsets})
    dump(out / "classes" / "ctc.jsonl", cases)


def layout(out):
    tokenizer = LayoutLMv2Tokenizer.from_pretrained(out / "uncased")
    rng, cases = random.Random(12), []
    words = ["Invoice", "No.", "unaffable", "12,345.00", "Stra\u00dfe", "\u4e2d\u6587", "a", "Embeddings", "Total:", "\u00a0", "x"]
    for i in range(60):
        pages = [[rng.choice(words) for _ in range(rng.randint(1, 9))] for _ in range(rng.randint(1, 3))]
        boxes = [[[rng.randint(0, 1000) for _ in range(4)] for _ in page] for page in pages]
        labels = [[rng.randint(0, 6) for _ in page] for page in pages] if i % 3 == 0 else None
        questions = None if i % 2 == 0 or labels else [rng.choice(["What is the total?", "  who\tsent it ", "unaffable?"]) for _ in pages]
        options = rng.choice([{}, {"padding": True}, {"padding": "max_length", "max_length": 24, "truncation": True}, {"truncation": True, "max_length": 12, "stride": 2, "return_overflowing_tokens": True},
                              {"padding": True, "padding_side": "left"}, {"truncation": "only_second" if questions else True, "max_length": 14, "stride": 1, "return_overflowing_tokens": True, "padding": True}])
        first = rng.random() < 0.7
        tokenizer.only_label_first_subword = first
        try:
            e = tokenizer(questions or pages, pages if questions else None, boxes=boxes, word_labels=labels, **options)
            rows = {key: e[key] for key in ("input_ids", "token_type_ids", "attention_mask", "bbox", "labels") if key in e}
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            rows = None
        cases.append({"questions": questions, "words": pages, "boxes": boxes, "labels": labels, "only_first": first, "options": options, "rows": rows})
    dump(out / "classes" / "layoutlmv2.jsonl", cases)


def from_files(data, out):
    """RoBERTa, GPT-2 and CLIP from vocabulary and merges; DistilBERT from a vocabulary; what saving writes."""
    texts = ["Hello world, it's me", "  two  spaces\n x", "unaffable <mask> \u00e9 \u4e2d\u6587", "<s>a</s> <pad>", "", "don't 123 <|endoftext|> \u00c9", "<|startoftext|> A  b"]
    cases = []
    for cls, name, kind in ((RobertaTokenizer, "roberta", "roberta-base"), (GPT2Tokenizer, "gpt2", "gpt2"), (CLIPTokenizer, "clip", "clip-vit-base-patch32")):
        content = cut(json.loads((data / "tokenizers" / kind / "tokenizer.json").read_text()), 400)
        folder = out / "classes" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vocab.json").write_text(json.dumps(content["model"]["vocab"], ensure_ascii=False))
        (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(" ".join(m) + "\n" for m in content["model"]["merges"]))
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": cls.__name__, **({"add_prefix_space": True} if name == "roberta" else {})}) + "\n")
        tokenizer = cls.from_pretrained(folder)
        cases.append(one_class(tokenizer, f"classes/{name}", texts, {}))
    cases.append(one_class(DistilBertTokenizer(str(out / "uncased/vocab.txt"), do_lower_case=False, padding_side="left"), "uncased", texts, {"class": "DistilBertTokenizer", "do_lower_case": False, "padding_side": "left"}))
    dump(out / "classes" / "calls.jsonl", cases)


def one_class(tokenizer, folder, texts, arguments):
    rows = []
    for text in texts:
        e = tokenizer(text, return_offsets_mapping=True)
        ids = e["input_ids"]
        rows.append([ids, [x for span in e["offset_mapping"] for x in span], tokenizer.decode(ids), tokenizer.decode(ids, skip_special_tokens=True)])
    pair = tokenizer(texts[0], texts[2])
    padded = tokenizer(texts[:3], padding=True)["input_ids"] if tokenizer.pad_token else None
    return {"folder": folder, "arguments": arguments, "class": type(tokenizer).__name__, "size": len(tokenizer), "special_ids": tokenizer.all_special_ids, "texts": texts, "rows": rows,
            "pair": pair["input_ids"], "keys": list(tokenizer("a")), "padded": padded}


def squad(data, out):
    """Every seventh of the stored SQuAD questions, with the ids of bert-base-uncased without special tokens."""
    items = json.loads((data / "expected/swift-transformers/squad_questions_bert_uncased.json").read_text())
    dump(out / "squad.jsonl", [[item["original"], item["ids"]] for item in items[::7]])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent / "tests/data/tokenizers")
    arguments = parser.parse_args()
    assert transformers.__version__ == "5.23.0", "see tools/requirements.txt"
    transformers.logging.set_verbosity_error()
    pipelines(arguments.data, arguments.output)
    components(arguments.output)
    decoded_tokens(arguments.output)
    ctc(arguments.data, arguments.output)
    layout(arguments.output)
    from_files(arguments.data, arguments.output)
    squad(arguments.data, arguments.output)


if __name__ == "__main__":
    main()
