"""Writes tests/data/tokenizers: vocabularies, a nasty corpus, and what transformers makes of it.

    python tools/make_tokenizer_goldens.py --data DIR [--output tests/data/tokenizers]

DIR holds text/ (udhr, ud, unicode, blns.txt, …) and tokenizers/bert-base-{uncased,cased,chinese,multilingual-cased}.
Every file is JSON lines unless it is a vocabulary. check_tokenizer.py compares whole texts instead.
"""

import argparse
import json
import pathlib
import random
import tempfile

import transformers
from tokenizers import AddedToken, normalizers, pre_tokenizers
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast

A = "The quick brown fox jumps over the lazy unaffable dog."
B = "Embeddings are lovely, aren't they?"
NASTY = [
    "", " ", "\t\r\n ", "In a hole in the ground there lived a hobbit.", "a" * 100, "a" * 101, "é" * 100, "é" * 101, "e\u0301" * 50,
    "e\u0301" * 51, "unaffable" * 12, "##ing ##", "[CLS] [MASK] [SEP] [PAD] [UNK]", "[mask] [Mask][MASK]x", "[MASK]ing un[MASK]", "[[MASK]]",
    "[UNK", "İstanbul ISPARTA ıspartalı", "ΑΣ ΌΔΟΣ ὈΔΥΣΣΕΎΣ ΣΣ", "Straße ẞ ﬁne ﬀ", "résumé re\u0301sume\u0301 Ǖ ǖ", "\u0344 a\u0344b x\u0323\u0307y x\u0307\u0323y",
    "a\u302e\u0301\u0323b a\u0301\u302eb \u302e", "\U0001d15e\U0001d165\U0001d16d", "각각 한국어 조선", "中文abc中文 日本語、テスト。", "\U00020000\U0002f800\uf900 㐀",
    "a\u200bb\u200dc\ufeffd\u00ade", "nul\x00byte \x01\x02\x7f\x80\x9f", "nbsp\u00a0thin\u2009ideo\u3000line\u2028para\u2029nel\u0085", "\ufffd\ufffe\uffff",
    "👩‍👩‍👧‍👦 🇩🇪 👍🏽 ☺️", "x\u0300\u0301\u0302\u0303" * 20, "\u0301leading \u0301", "don't can't we've they're I'm he's", "a,b.c!d?e;f:g-h_i/j\\k|l~m`n^o",
    "1234567890 3.14 1,000 ١٢٣ ๑๒๓", "$100 €50 £20 ¥30 ₿", "http://example.com/?q=a&b=c#d user@example.org", "\U000e0001\U000f0000\U00100000", "\u1680ogham\u180emvs",
    "\u0890\u08e2\U000110cd\U00013430", "\u1734 \u1c89\ua7cb\U00010d50\U00016ea0", "\u061d\u1b7d\u2e52 \U00011a3f", "\u166d \U000111c9 \u0898a\u0323\u0301",
]
FIELDS = ("input_ids", "token_type_ids", "attention_mask", "special_tokens_mask")


def dump(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))


def corpus(texts, generator):
    lines = list(NASTY)

    def some(path, count, limit=160):
        all_lines = [line[:limit] for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
        lines.extend(generator.sample(all_lines, min(count, len(all_lines))))

    for path in sorted((texts / "udhr").glob("*.txt")):
        lines.append(next(line for line in path.read_text(encoding="utf-8").split("\n") if len(line) > 30)[:120])
    some(texts / "blns.txt", 110)
    for path in sorted((texts / "ud").glob("*.txt")):
        some(path, 4)
    for path in sorted((texts / "unicode").glob("*.txt")):
        some(path, 40, 100)
    for path in sorted((texts / "books").glob("*.txt")) + sorted((texts / "markdown").glob("*.md")):
        some(path, 5)
    return lines


def row_of(encoded, i, single):
    def pick(key):
        return encoded[key] if single else encoded[key][i]

    def numbers(ids):
        return [-1 if x is None else x for x in ids]

    row = {key: pick(key) for key in FIELDS}
    row["offset_mapping"] = [x for span in pick("offset_mapping") for x in span]
    row["word_ids"] = numbers(encoded.word_ids(i))
    row["sequence_ids"] = numbers(encoded.sequence_ids(i))
    return row


def call(tokenizer, text, pair, options):
    """The rows of a call, or None when the reference raises."""
    options = dict(options)
    tokenizer.truncation_side = options.pop("truncation_side", "right")
    try:
        encoded = tokenizer(text, pair, return_offsets_mapping=True, return_special_tokens_mask=True, **options)
    except BaseException as error:  # the reference panics on some strides
        if isinstance(error, KeyboardInterrupt):
            raise
        return None
    single = not encoded["input_ids"] or not isinstance(encoded["input_ids"][0], list)
    return [row_of(encoded, i, single) for i in range(len(encoded.encodings))]


def calls(tokenizer, generator):
    cases = []

    def add(text, pair=None, **options):
        # Below the number of special tokens the reference does not truncate at all; caracal refuses.
        cases.append({"text": text, "pair": pair, "options": options, "rows": call(tokenizer, text, pair, options)})

    options = [
        {}, dict(add_special_tokens=False), dict(padding=True), dict(padding="longest", pad_to_multiple_of=8), dict(padding="max_length", max_length=20),
        dict(padding="max_length", max_length=20, padding_side="left"), dict(padding="max_length"), dict(max_length=8), dict(truncation=True, max_length=8),
        dict(truncation=True), dict(truncation="only_first", max_length=16), dict(truncation="only_second", max_length=18), dict(truncation="only_second", max_length=4),
        dict(truncation=True, max_length=10, stride=2, return_overflowing_tokens=True), dict(truncation=True, max_length=3), dict(truncation=True, max_length=5, stride=3),
        dict(truncation="only_second", max_length=17, stride=1, return_overflowing_tokens=True), dict(truncation="only_first", max_length=15, stride=1, return_overflowing_tokens=True, padding="max_length"),
        dict(truncation=True, max_length=9, stride=2, truncation_side="left", return_overflowing_tokens=True), dict(truncation=True, max_length=10, padding=True, pad_to_multiple_of=8),
        dict(truncation=False, max_length=5), dict(padding=True, max_length=5), dict(padding="do_not_pad", max_length=5), dict(padding="max_length", max_length=13, pad_to_multiple_of=8),
        dict(truncation="bogus"), dict(padding="bogus"),
    ]
    for text, pair in [(A, None), (A, B), ("", None), (A, ""), ([A, B, "a b c"], None), ([A, B], ["c", ""])]:
        for o in options:
            add(text, pair, **o)
    words, more = ["Hello", "world", "unaffable", "a-b", "", " x y "], ["second", "句子"]
    for o in [{}, dict(max_length=6), dict(truncation=True, max_length=7, stride=1, return_overflowing_tokens=True), dict(padding="max_length", max_length=24)]:
        add(words, None, is_split_into_words=True, **o)
        add(words, more, is_split_into_words=True, **o)
        add([words, more], None, is_split_into_words=True, **o)
        add([words, more], [more, words], is_split_into_words=True, **o)
    for text in ["a [MASK] b [SEP]", "[CLS]x[sep]", "[UNK]ing [PAD]"]:
        add(text)
        add(text, split_special_tokens=True)
    vocabulary = (A + " " + B).split()
    for _ in range(120):
        o = {"truncation": generator.choice([True, "longest_first", "only_first", "only_second"]), "max_length": generator.randint(3, 24), "stride": generator.randint(0, 2),
             "return_overflowing_tokens": generator.random() < 0.5, "padding": generator.choice([True, False, "max_length"]), "padding_side": generator.choice(["left", "right"]),
             "truncation_side": generator.choice(["left", "right"])}
        count = generator.randint(1, 3)
        texts = [[" ".join(generator.choices(vocabulary, k=generator.randint(0, 10))) for _ in range(count)] for _ in range(2)]
        add(texts[0], texts[1] if generator.random() < 0.6 else None, **o)
    return cases


def added(directory):
    """Added tokens with each flag, and the texts around them."""
    cases = []
    texts = ["new_tok", "a new_tok b", "anew_tokb", " new_tok ", "new_tok new_tok", "NEW_TOK", "new_tok.", "x\tnew_tok\u3000 y", "_new_tok", "new_toknew_tok", "new_tok_longer", "new_té new_te", "[MASK]new_tok"]
    flags = ["single_word", "lstrip", "rstrip", "normalized", "special"]
    for mask in range(32):
        token = {"content": "new_tok", **{flag: bool(mask >> i & 1) for i, flag in enumerate(flags)}}
        tokenizer = BertTokenizer.from_pretrained(directory)
        tokens = [token, {"content": "new_tok_longer", **{flag: False for flag in flags}}, {"content": "New_Té", **{flag: flag == "normalized" for flag in flags}}]
        count = tokenizer.add_tokens([AddedToken(**t) for t in tokens])
        rows = [[encoded["input_ids"], [x for span in encoded["offset_mapping"] for x in span], tokenizer.decode(encoded["input_ids"], skip_special_tokens=True)]
                for encoded in (tokenizer(text, return_offsets_mapping=True) for text in texts)]
        cases.append({"tokens": tokens, "count": count, "size": len(tokenizer), "vocab_size": tokenizer.vocab_size, "texts": texts, "rows": rows})
    return cases


def decodes(tokenizer, lines, generator):
    cases = []
    for line in generator.sample(lines, 60) + ["don't you, he's (a) 'b' we've. it ' s do not! n't , ?", A, B]:
        ids = tokenizer(line)["input_ids"]
        for skip in (False, True):
            for clean in (None, True):
                cases.append({"ids": ids, "skip": skip, "clean": clean, "text": tokenizer.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=clean)})
    cases.append({"ids": [0, 10**6, 2000], "skip": True, "clean": None, "text": tokenizer.decode([0, 10**6, 2000], skip_special_tokens=True)})
    return cases


def loads(directory):
    """Directories with different files: what each class makes of them."""
    vocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ncat\n##s\nResume\nrésumé\nresume\nspace \n\u00a0\nnew\n<x>\nthe\n中\n中文\n,\n.\n"
    backend = BertTokenizer.from_pretrained(directory)
    backend.add_tokens([AddedToken("<y>", normalized=False), "yy"])
    tokenizer_json = json.loads(backend.backend_tokenizer.to_str())
    tokenizer_json["model"]["vocab"] = {token: i for i, token in enumerate(dict.fromkeys(line.rstrip() for line in vocab.splitlines()))}
    for token in tokenizer_json["added_tokens"]:
        token["id"] = tokenizer_json["model"]["vocab"].get(token["content"], len(tokenizer_json["model"]["vocab"]) + (token["content"] == "yy"))
    baked = json.loads(json.dumps(tokenizer_json))
    baked["truncation"] = {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Left"}
    baked["padding"] = {"strategy": {"Fixed": 6}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
    baked["post_processor"] = {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}
    special = {"content": "<cls>", "lstrip": True, "rstrip": False, "single_word": False, "normalized": False}
    directories = [
        {"vocab.txt": vocab},
        {"vocab.txt": vocab.replace("\n", "\r\n")},
        {"vocab.txt": vocab, "tokenizer_config.json": {"do_lower_case": False, "model_max_length": 7}},
        {"vocab.txt": vocab, "tokenizer_config.json": {"strip_accents": False, "tokenize_chinese_chars": False, "padding_side": "left", "truncation_side": "left", "model_max_length": 1000000000000000019884624838656}},
        {"vocab.txt": vocab, "tokenizer_config.json": {"cls_token": "the", "model_input_names": ["input_ids", "attention_mask"], "clean_up_tokenization_spaces": True}},
        {"vocab.txt": vocab, "tokenizer_config.json": {"unk_token": "cat"}, "special_tokens_map.json": {"cls_token": special, "mask_token": "<x>"}},
        {"vocab.txt": vocab, "added_tokens.json": {"yy": 40, "<z>": 41, "[SEP]": 3}},
        {"vocab.txt": vocab, "tokenizer_config.json": {"additional_special_tokens": ["<a>", "the"], "image_token": "<img>"}},
        {"vocab.txt": vocab, "tokenizer_config.json": {"extra_special_tokens": ["<b>"]}, "special_tokens_map.json": {"extra_special_tokens": ["<a>", special]}},
        {"vocab.txt": vocab, "tokenizer_config.json": {"added_tokens_decoder": {"30": {"content": "<q>", "lstrip": False, "rstrip": True, "single_word": False, "normalized": False, "special": True}, "5": {"content": "the", "lstrip": False, "rstrip": False, "single_word": True, "normalized": True, "special": False}}}},
        {"vocab.txt": vocab, "tokenizer.json": tokenizer_json},
        {"tokenizer.json": tokenizer_json, "tokenizer_config.json": {"do_lower_case": False}},
        {"tokenizer.json": baked, "tokenizer_config.json": {"model_max_length": 9}},
        {"tokenizer.json": baked, "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "cls_token": "[CLS]"}, "class": "PreTrainedTokenizerFast"},
    ]
    texts = ["the cats, résumé Resume.", "中文 <x> <y> yy <z> <cls> the <a> <q> <b> x", "THE CAT space \u00a0 new"]
    cases = []
    for files in directories:
        files = dict(files)
        name = files.pop("class", "BertTokenizer")
        with tempfile.TemporaryDirectory() as folder:
            for file, content in files.items():
                path = pathlib.Path(folder) / file
                path.write_bytes((content if isinstance(content, str) else json.dumps(content)).encode())
            tokenizer = (BertTokenizer if name == "BertTokenizer" else PreTrainedTokenizerFast).from_pretrained(folder)
            cases.append({
                "files": {file: content if isinstance(content, str) else json.dumps(content) for file, content in files.items()},
                "class": name,
                "size": len(tokenizer),
                "vocab_size": tokenizer.vocab_size,
                "special_tokens": tokenizer.special_tokens_map,
                "all_special_ids": tokenizer.all_special_ids,
                "added": {str(i): [t.content, t.single_word, t.lstrip, t.rstrip, t.normalized, t.special] for i, t in tokenizer.added_tokens_decoder.items()},
                "padding_side": tokenizer.padding_side,
                "truncation_side": tokenizer.truncation_side,
                "model_max_length": tokenizer.model_max_length if tokenizer.model_max_length < 1e18 else None,
                "keys": list(tokenizer("a")),
                "texts": texts,
                "ids": [tokenizer(text)["input_ids"] for text in texts],
                "pair_ids": tokenizer(texts[0], texts[2])["input_ids"],
                "decoded": [tokenizer.decode(tokenizer(text)["input_ids"]) for text in texts],
            })
    return cases


def ranges(code_points):
    result = []
    for cp in code_points:
        if result and result[-1] + 1 == cp:
            result[-1] = cp
        else:
            result += [cp, cp]
    return result


def unicode_classes():
    """Every class and mapping that BERT's stages use, over all code points, found by running the stages."""
    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    clean, chinese, accents, lower = (normalizers.BertNormalizer(**{**off, key: True}) for key in ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase"))
    nfd, split = normalizers.NFD(), pre_tokenizers.BertPreTokenizer()
    sets = {name: [] for name in ("removed", "whitespace", "chinese", "punctuation", "nonspacing_mark", "class_above_1", "class_below_230")}
    lowers, decompositions = [], []
    for cp in range(0x110000):
        if 0xD800 <= cp < 0xE000:
            continue
        c = chr(cp)
        parts = [text for text, _ in split.pre_tokenize_str("a" + c + "b")]
        if clean.normalize_str(c) == "":
            sets["removed"].append(cp)
        if parts == ["a", "b"]:
            sets["whitespace"].append(cp)
        if len(parts) == 3:
            sets["punctuation"].append(cp)
        if chinese.normalize_str(c) != c:
            sets["chinese"].append(cp)
        decomposed = nfd.normalize_str(c)
        if decomposed != c and not 0xAC00 <= cp < 0xD7A4:
            decompositions.append([cp, *map(ord, decomposed)])
        if lower.normalize_str(c) != c:
            lowers.append([cp, *map(ord, lower.normalize_str(c))])
        if decomposed == c:
            if accents.normalize_str(c) == "":
                sets["nonspacing_mark"].append(cp)
            if cp != 0x334 and nfd.normalize_str("a" + c + "\u0334") == "a\u0334" + c:
                sets["class_above_1"].append(cp)
            if cp != 0x301 and nfd.normalize_str("a\u0301" + c) == "a" + c + "\u0301":
                sets["class_below_230"].append(cp)
    return [{**{name: ranges(cps) for name, cps in sets.items()}, "lower": lowers, "decompose": decompositions}]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent / "tests/data/tokenizers")
    arguments = parser.parse_args()
    assert transformers.__version__ == "5.23.0", "see tools/requirements.txt"
    generator = random.Random(5)
    source, out = arguments.data / "tokenizers", arguments.output

    lines = corpus(arguments.data / "text", generator)
    dump(out / "corpus.jsonl", lines)
    for name in ("uncased", "cased", "chinese", "multilingual-cased"):
        original = source / f"bert-base-{name}"
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        vocab = (original / "vocab.txt").read_text(encoding="utf-8").split("\n")
        if name == "multilingual-cased":  # one token in eight, and what the corpus needs
            full = AutoTokenizer.from_pretrained(original)
            used = {token for line in lines for token in full.tokenize(line)}
            vocab = [token for i, token in enumerate(vocab) if i % 8 == 0 or i < 110 or token in used]
        (folder / "vocab.txt").write_text("\n".join(vocab) + ("\n" if vocab[-1] else ""), encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": name == "uncased", "model_max_length": 512, "tokenizer_class": "BertTokenizer"}) + "\n")
        tokenizer = AutoTokenizer.from_pretrained(folder)
        rows = [call(tokenizer, line, None, {})[0] for line in lines]
        dump(out / f"{name}.jsonl", [[row["input_ids"], row["offset_mapping"], *([row["word_ids"]] if name == "uncased" else [])] for row in rows])

    uncased = AutoTokenizer.from_pretrained(out / "uncased")
    dump(out / "calls.jsonl", calls(uncased, generator))
    dump(out / "added.jsonl", added(out / "uncased"))
    dump(out / "decode.jsonl", decodes(uncased, lines, generator))
    dump(out / "loads.jsonl", loads(out / "uncased"))
    dump(out / "unicode.jsonl", unicode_classes())


if __name__ == "__main__":
    main()
