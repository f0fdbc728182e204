"""Compares `caracal tokenize` with Hugging Face tokenizers on random Unicode texts.

    python tools/fuzz_tokenizers.py [--tokenizers tokenizer.json…] [--pipelines N [--model TYPE]] [--count TEXTS]
                                    [--seed S] [--command build/release/tools/caracal]

Every text is compared by ids, tokens, offsets, word ids and decoded text (with and without special tokens). `--pipelines`
also makes N small random tokenizers out of all components, with added tokens, `--model` those of one type of model.
Exits 1 on any difference.
"""

import argparse
import base64
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

WORDS = "the of and hello world Tokenization un##able I'm don't we've THEY'LL he'd it's 3.14 12345 1999 x = a+b; foo_bar() caf\u00e9 na\u00efve \u00dcber stra\u00dfe \u0130stanbul \u03a3\u03a3 \u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440 \u4e2d\u6587 \u65e5\u672c\u8a9e \u30c6\u30b9\u30c8 \u3072\u3089\u304c\u306a \ud55c\uad6d\uc5b4 \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e9\u05dc\u05d5\u05dd \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0939\u093f\u0928\u094d\u0926\u0940 \u0bae\u0bb4\u0bc8".split()
PARTS = [" ", "  ", "   ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "\u200b", "\u200d", "\ufeff", "\u0301", "\u0323", "\u20dd", "\u0345", "e\u0301", "\u1100\u1161\u11a8", "\uac00\u11a8", "\ufb01", "\ufdfa",
         "\u2460", "\u00b2", "\u00bd", "\u2167", "\u0661\u0662", "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\U0001f44d\U0001f3fd", "\u2581", "\u0120", "\u010a", "</w>", "<0x41>", "##", "'s", "'LL", "''", "``",
         "!", "?!", "...", "\u2026", "\u00bf", "\u3002", "(", ")", "-", "\u2014", "_", "$", "\u20ac", "~", "|", "\x00", "\x07", "\x7f", "\x85", "\ufffd", "\u0958", "\u0f43", "\U0001d15e", "\u212b", "\u1e9b\u0323", "\ua7f2", "\U00010d40", "\U0001e030"]


def random_text(rng, specials):
    kind = rng.random()
    if kind < 0.03:
        return rng.choice(WORDS + PARTS + ["a"]) * rng.randint(1, 300)
    out = []
    for _ in range(rng.choice((0, 1, 2, 4, 8, 16, 24))):
        r = rng.random()
        if r < 0.45:
            out.append(rng.choice(WORDS))
            if rng.random() < 0.7:
                out.append(" ")
        elif r < 0.75:
            out.append(rng.choice(PARTS))
        elif r < 0.80 and specials:
            out.append(rng.choice(specials))
        elif r < 0.88:
            out.append("".join(chr(rng.randint(32, 126)) for _ in range(rng.randint(1, 6))))
        elif r < 0.97:
            out.append("".join(chr(rng.randint(0, 0x33ff)) for _ in range(rng.randint(1, 4))))
        else:
            cp = rng.randint(0, 0x10ffff)
            out.append(chr(cp if not 0xd800 <= cp < 0xe000 else 0x41))
    return "".join(out)


def lines_of(command, arguments, lines):
    result = subprocess.run([*command, *arguments], input="".join(line + "\n" for line in lines).encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if result.returncode != 0:
        raise RuntimeError(result.stderr.decode())
    return result.stdout.decode().split("\n")[:-1]


def decodes(command, path, tokenizer, rows, rng):
    """Differences of decoded text; texts hold line feeds, so every output is closed by an id sequence of its own."""
    wrong = 0
    for skip in (False, True):
        sample = rng.sample(rows, min(len(rows), 300))
        flags = ["--skip-special-tokens"] if skip else []
        got = [json.loads(line) for line in lines_of(command, ["detokenize", "--json", "--model", str(path), *flags], [json.dumps(ids) for ids in sample])]
        for ids, text in zip(sample, got):
            expected = tokenizer.decode(ids, skip_special_tokens=skip)
            if text != expected:
                wrong += 1
                if wrong <= 2:
                    print(f"  decode({ids}, skip={skip}): expected {expected!r} but got {text!r}")
    return wrong


def compare(command, path, tokenizer, count, rng, name):
    tokenizer.no_truncation()
    tokenizer.no_padding()
    specials = [t.content for t in tokenizer.get_added_tokens_decoder().values()][:20]
    specials += [s.upper() for s in specials] + [s + "x" for s in specials[:3]]
    wrong, done, all_ids = 0, 0, []
    while done < count:
        texts = [random_text(rng, specials) for _ in range(min(5000, count - done))]
        expected = []
        for text in texts:
            try:
                expected.append(tokenizer.encode(text))
            except BaseException as error:  # the reference panics on some texts
                if isinstance(error, KeyboardInterrupt):
                    raise
                expected.append(None)
        kept = [(text, e) for text, e in zip(texts, expected) if e is not None]
        done += len(texts)
        rows = lines_of(command, ["tokenize", "--json", "--word-ids", "--model", str(path)], [json.dumps(text) for text, _ in kept])
        for (text, e), line in zip(kept, rows):
            got = json.loads(line)
            want = {"input_ids": e.ids, "tokens": e.tokens, "offset_mapping": [list(o) for o in e.offsets], "word_ids": [-1 if w is None else w for w in e.word_ids]}
            if len(all_ids) < 3000 and e.ids:
                all_ids.append(e.ids)
            bad = [key for key, value in want.items() if got[key] != value]
            if bad:
                wrong += 1
                if wrong <= 3:
                    print(f"  {bad[0]} of {text!r}\n    expected {want[bad[0]]}\n    but got  {got[bad[0]]}")
    wrong += decodes(command, path, tokenizer, all_ids, rng)
    print(f"{name}: {done} texts, {wrong} differ", flush=True)
    return wrong


def charsmap(rng):
    """A precompiled map of a few rules: the double array that SentencePiece would write, found by first fit."""
    keys = sorted({rng.choice(("a", "b", "e\u0301", "\ufb01", "\u200b", "\u3000", "\u2460", "A", "\u0301", "\u4e2d", "ab", "\u0e33", "\r\n")) for _ in range(6)}, key=lambda k: k.encode())
    values, blob = [], b""
    for key in keys:
        values.append(len(blob))
        blob += rng.choice(("", "x", " ", "xyz", "\u00e9", "fi", key)).encode() + b"\0"
    trie = {}
    for key, value in zip(keys, values):
        node = trie
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = value
    units, used, bases = {0: 0}, {0}, set()

    def place(node, at):
        base = next(b for b in range(1, 1 << 16) if b not in bases and all((b ^ c) not in used for c in node))
        bases.add(base)
        offset = at ^ base
        assert offset < 1 << 21
        units[at] |= offset << 10 | (1 << 8 if 0 in node else 0)
        for c in node:
            used.add(base ^ c)
            units[base ^ c] = node[c] | 1 << 31 if c == 0 else c
        for c in node:
            if c != 0:
                place(node[c], base ^ c)

    place(trie, 0)
    size = (max(units) | 255) + 1
    array = struct.pack(f"<{size}I", *(units.get(i, 0) for i in range(size)))
    return base64.b64encode(struct.pack("<I", len(array)) + array + blob).decode()


def random_normalizer(rng, depth=0):
    pick = rng.randint(0, 15)
    n = normalizers
    if pick == 15 and depth < 2:
        return {"type": "Sequence", "normalizers": [random_normalizer(rng, depth + 1) for _ in range(rng.randint(0, 3))]}
    if pick == 14:
        return {"type": "Precompiled", "precompiled_charsmap": charsmap(rng)}
    flip = lambda: rng.random() < 0.5
    made = [lambda: n.BertNormalizer(clean_text=flip(), handle_chinese_chars=flip(), strip_accents=rng.choice((None, True, False)), lowercase=flip()), n.NFC, n.NFD, n.NFKC, n.NFKD, n.Lowercase,
            lambda: n.Strip(flip(), flip()), n.StripAccents, lambda: n.Replace(rng.choice(("a", " ", "''", "\u0301")), rng.choice(("", "b", "\u2581", "xyz"))),
            lambda: n.Replace(Regex(rng.choice((r"\s+", r"[aeiou]+", r"\p{P}", r"(a|b)+", r"\d", r" {2,}"))), rng.choice(("", " ", "<>"))), lambda: n.Prepend(rng.choice(("\u2581", "ab"))), n.Nmt, n.ByteLevel, n.NFC, n.NFC, n.NFC][pick]()
    return json.loads(made.__getstate__())


BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
PATTERNS = [r"\s+", r"\p{L}+|\p{N}+", r"\w+", r"[^\s\w]", r"\d{1,3}", r"a*", r"'s|'t", r"(?i:the|a)", r"[\p{Lu}]+[\p{Ll}]*", r" ?[^(\s|[.,!?])]+", r"\p{Han}", r"[\r\n]+|^x",
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"]


def random_pre_tokenizer(rng, depth=0):
    p = pre_tokenizers
    flip = lambda: rng.random() < 0.5
    pick = rng.randint(0, 13)
    if pick >= 12 and depth < 2:
        return p.Sequence([random_pre_tokenizer(rng, depth + 1) for _ in range(rng.randint(1, 3))])
    return [p.BertPreTokenizer, p.Whitespace, p.WhitespaceSplit, lambda: p.ByteLevel(add_prefix_space=flip(), trim_offsets=flip(), use_regex=flip()),
            lambda: p.Metaspace(replacement=rng.choice(("\u2581", "_", "\u2581")), prepend_scheme=rng.choice(("always", "first", "never")), split=flip()),
            lambda: p.Split(rng.choice(("a", " ", "\u2581", "ab")), rng.choice(BEHAVIORS), invert=flip()), lambda: p.Split(Regex(rng.choice(PATTERNS)), rng.choice(BEHAVIORS), invert=flip()),
            lambda: p.Punctuation(rng.choice(BEHAVIORS)), lambda: p.Digits(flip()), lambda: p.CharDelimiterSplit(rng.choice("a \u2581|")), p.UnicodeScripts, lambda: p.FixedLength(rng.randint(1, 6)), p.Whitespace, p.Whitespace][pick]()


def random_decoder(rng, depth=0):
    d = decoders
    flip = lambda: rng.random() < 0.5
    pick = rng.randint(0, 10)
    if pick >= 9 and depth < 2:
        return d.Sequence([random_decoder(rng, depth + 1) for _ in range(rng.randint(1, 3))])
    return [lambda: d.WordPiece(prefix=rng.choice(("##", "@@")), cleanup=flip()), d.ByteLevel, lambda: d.Metaspace(prepend_scheme=rng.choice(("always", "never"))), d.BPEDecoder, lambda: d.CTC(pad_token=rng.choice(("a", "<pad>")), word_delimiter_token="|", cleanup=flip()),
            lambda: d.Fuse() if flip() else d.Strip(rng.choice(" a\u2581"), rng.randint(0, 2), rng.randint(0, 2)), lambda: d.Replace(rng.choice(("\u2581", "a")), rng.choice((" ", ""))), d.ByteFallback, lambda: d.Replace(Regex(r"\s+"), "_"), d.Fuse, d.ByteFallback][pick]()


def random_model(rng, corpus, model_type):
    """A model with a vocabulary of pieces of the corpus; of any type when none is named."""
    flip = lambda: rng.random() < 0.5
    kind = rng.choice(("WordPiece", "WordLevel", "BPE", "Unigram"))
    kind = model_type or kind
    pieces = {c for word in corpus for c in word}
    for word in corpus:
        for _ in range(3):
            begin = rng.randint(0, len(word) - 1)
            pieces.add(word[begin:rng.randint(begin + 1, len(word))])
    pieces = [p for p in sorted(pieces) if rng.random() < 0.9]
    rng.shuffle(pieces)
    if kind == "WordLevel":
        vocab = {t: i for i, t in enumerate(dict.fromkeys(["[UNK]", *pieces, *corpus]))}
        return models.WordLevel(vocab, unk_token="[UNK]")
    if kind == "WordPiece":
        vocab = {t: i for i, t in enumerate(dict.fromkeys(["[UNK]", *pieces, *("##" + p for p in pieces)]))}
        return models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=rng.choice((100, 8)))
    if kind == "Unigram":
        tokens = list(dict.fromkeys(["<unk>", *(f"<0x{b:02X}>" for b in range(256) if rng.random() < 1.0), *pieces]))
        fallback = flip()
        return models.Unigram([(t, -rng.random() * 12 if rng.random() < 0.8 else -3.0) for t in tokens], unk_id=0, byte_fallback=fallback)
    prefix = rng.choice((None, None, "", "##"))
    suffix = rng.choice((None, None, "", "</w>"))
    vocab, merges = ["<unk>"], []
    fallback = flip() and not prefix and not suffix  # whose bytes would fall back too, and have no place in the text
    if fallback:
        vocab += [f"<0x{b:02X}>" for b in range(256)]
    singles = [p for p in pieces if len(p) == 1]
    vocab += singles + [s + suffix for s in singles if suffix] + [prefix + s for s in singles if prefix] + [prefix + s + suffix for s in singles if prefix and suffix]
    known = set(vocab)
    pool = [v for v in dict.fromkeys(vocab) if not v.startswith("<")]
    for _ in range(rng.choice((20, 200, 1500))):
        a, b = rng.choice(pool), rng.choice(pool)
        if suffix and a.endswith(suffix) or prefix and not b.startswith(prefix):
            continue
        merged = a + b[len(prefix or ""):]
        if len(merged) > 12:
            continue
        merges.append((a, b))
        if merged not in known:
            known.add(merged)
            vocab.append(merged)
            pool.append(merged)
    options = {"unk_token": rng.choice((None, "<unk>")), "continuing_subword_prefix": prefix, "end_of_word_suffix": suffix, "fuse_unk": flip(), "byte_fallback": fallback, "ignore_merges": flip()}
    return models.BPE({t: i for i, t in enumerate(dict.fromkeys(vocab))}, list(dict.fromkeys(merges)), **{k: v for k, v in options.items() if v is not None})


def random_tokenizer(rng, model_type=None):
    sample = [random_text(rng, []) for _ in range(60)]
    normalizer = random_normalizer(rng) if rng.random() < 0.8 else None
    pre = random_pre_tokenizer(rng) if rng.random() < 0.9 else None
    probe = Tokenizer(models.WordLevel({"a": 0}, "a"))
    probe = Tokenizer.from_str(json.dumps({**json.loads(probe.to_str()), "normalizer": normalizer}))
    words = set()
    for text in sample:
        try:
            normal = probe.normalizer.normalize_str(text) if probe.normalizer else text
            words.update(w for w, _ in (pre.pre_tokenize_str(normal) if pre else [(normal, None)]) if w)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
    corpus = rng.sample(sorted(words), min(len(words), 300)) or ["a"]
    tokenizer = Tokenizer(random_model(rng, corpus, model_type))
    if pre:
        tokenizer.pre_tokenizer = pre
    if rng.random() < 0.7:
        tokenizer.decoder = random_decoder(rng)
    flip = lambda: rng.random() < 0.5
    content = json.loads(tokenizer.to_str())
    content["normalizer"] = normalizer
    tokenizer = Tokenizer.from_str(json.dumps(content))
    if rng.random() < 0.7:
        tokenizer.add_tokens([AddedToken(c, single_word=flip(), lstrip=flip(), rstrip=flip(), normalized=flip(), special=flip()) for c in rng.sample(["<mask>", "hello", "[X]", "a", "ab c", "\u4e2d", "THE", "\u00e9"], 4)
                              if not tokenizer.normalizer or tokenizer.normalizer.normalize_str(c)])  # one that vanishes would match everywhere
    kind = rng.randint(0, 5)
    a, b = ((tokenizer.id_to_token(i), i) for i in (0, 1))
    one = [processors.ByteLevel(add_prefix_space=flip(), trim_offsets=flip()), processors.RobertaProcessing(a, b, trim_offsets=flip(), add_prefix_space=flip()), processors.BertProcessing(a, b),
           processors.TemplateProcessing(single=[b[0], "$A:1", a[0] + ":2"], pair=[b[0], "$B:0", "$A:3", a[0]], special_tokens=[a, b])]
    if kind < 4:
        tokenizer.post_processor = one[kind]
    elif kind == 4:
        tokenizer.post_processor = processors.Sequence([one[0], one[3]])
    return tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizers", type=pathlib.Path, nargs="*", default=[])
    parser.add_argument("--pipelines", type=int, default=0)
    parser.add_argument("--model", choices=("WordPiece", "WordLevel", "BPE", "Unigram"), help="of the random tokenizers")
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--command", nargs="+", default=["build/release/tools/caracal"])
    arguments = parser.parse_args()
    wrong = 0
    for path in arguments.tokenizers:
        wrong += compare(arguments.command, path, Tokenizer.from_file(str(path)), arguments.count, random.Random(arguments.seed), f"{path.parent.name}/{path.name}")
    with tempfile.TemporaryDirectory() as folder:
        for i in range(arguments.pipelines):
            seed = arguments.seed * 1000 + i
            rng = random.Random(seed)
            path = pathlib.Path(folder) / "tokenizer.json"
            try:
                random_tokenizer(rng, arguments.model).save(str(path))
                tokenizer = Tokenizer.from_file(str(path))
            except Exception as error:  # what the reference refuses
                print(f"pipeline {seed}: not made ({error})")
                continue
            content = json.loads(tokenizer.to_str())
            kinds = [content["model"]["type"]] + [(content[k] or {}).get("type") for k in ("normalizer", "pre_tokenizer", "post_processor", "decoder")]
            try:
                differ = compare(arguments.command, path, tokenizer, arguments.count, rng, f"pipeline {seed} {kinds}")
            except RuntimeError as error:
                differ = 1
                print(f"pipeline {seed} {kinds}: {error}")
            if differ:
                content["model"] = {k: v for k, v in content["model"].items() if k not in ("vocab", "merges")}
                print("   ", json.dumps(content)[:1500])
            wrong += differ
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
