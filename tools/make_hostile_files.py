"""Writes tests/data/hostile/files.jsonl: files made to break a reader, and the verdict that each must get.

usage: python3 tools/make_hostile_files.py      (Python's standard library alone)

A line is one case: {"kind", "name", "files": {path: content}, "links": {path: target}, "code", "parts"}. `kind` says
who reads the directory that holds the files (tests/models/hostile_files_test.cpp), `code` is the ErrorCode or "ok",
`parts` are pieces of the message. Content is a list of pieces: a text, {"base64": …} or {"repeat": text}, the latter two
perhaps with "times": n, so that bombs are small here.
"""

import base64
import json
import pathlib
import struct
import zlib

DATA = pathlib.Path(__file__).parent.parent / "tests/data"
CASES = []
BAD, NOT_FOUND, UNSUPPORTED, ARGUMENT, IO, OK = "bad_file", "not_found", "unsupported", "invalid_argument", "io", "ok"
LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 5\n"


def piece(content):
    if isinstance(content, list):
        return [part for each in content for part in piece(each)]
    if isinstance(content, bytes):
        return [{"base64": base64.b64encode(content).decode()}]
    return [content]


def case(kind, name, files, code, *parts, links=None):
    assert all(not (c["kind"] == kind and c["name"] == name) for c in CASES), (kind, name)
    line = {"kind": kind, "name": name, "files": {path: piece(content) for path, content in files.items()}}
    CASES.append({**line, "links": links or {}, "code": code, "parts": list(parts)})


# --- safetensors: one file -------------------------------------------------------------------------------------------


def tensor(dtype="F32", shape=(2,), begin=0, end=8, **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end], **more}


def raw(header, data=b"\0" * 8, length=None):
    text = header if isinstance(header, (str, bytes)) else json.dumps(header)
    text = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def safetensors(name, content, code=BAD, *parts):
    case("safetensors", name, {"x.safetensors": content}, code, *parts)


def field(name, value, **other):
    """A header whose tensor "a" has this text for one field."""
    fields = {"dtype": '"F32"', "shape": "[2]", "data_offsets": "[0,8]", **{k: str(v) for k, v in other.items()},
              name: value}
    return raw('{"a":{' + ",".join(f'"{k}":{v}' for k, v in fields.items() if v is not None) + "}}")


def make_safetensors():
    good = raw({"a": tensor()})
    safetensors("good", good, OK)
    safetensors("empty file", b"", BAD, "at least 8 bytes", "file of 0")
    safetensors("seven bytes", b"\x10\0\0\0\0\0\0", BAD, "at least 8 bytes")
    for name, length in [("zero", 0), ("one", 1), ("past the end", 1000), ("the cap", 100_000_000),
                         ("over the cap", 100_000_001), ("2^31", 2**31), ("2^63", 2**63), ("2^64 - 8", 2**64 - 8),
        ("2^64 - 1", 2**64 - 1)]:
        safetensors(f"header length {name}", raw({"a": tensor()}, length=length), BAD,
                    "JSON header" if length <= 1 else "at most 100000000" if length > 10**8 else "end at byte")
    safetensors("one byte less", good[:-1], BAD, "truncated")
    safetensors("one byte more", good + b"\0", BAD, "end with its last tensor")
    safetensors("two headers", good + good, BAD, "end with its last tensor")
    for name, text, part in [("text behind the header", "{}{}", "bad text"), ("a comment", "{/**/}", "bad text"),
                             ("a trailing comma", '{"a":1,}', "dict"), ("NaN", '{"a":NaN}', "bad text"),
        ("single quotes", "{'a':1}", "bad text"), ("a byte order mark", "\ufeff{}", "byte order mark"),
        ("a NUL at the end", "{}\0", "NUL byte"), ("a NUL inside", '{"a\0":1}', "NUL byte"),
        ("a lone surrogate", '{"\\ud800":1}', "bad text"), ("a list", "[]", "dict"), ("null", "null", "dict"),
        ("a number", "7", "dict"), ("a string", '"a"', "dict"), ("nothing but blanks", "    ", "bad text")]:
        safetensors(f"header of {name}", raw(text, b""), BAD, part)
    safetensors("bad UTF-8 in a name", raw(b'{"\xff":{}}', b""), BAD, "bad text")
    safetensors("overlong UTF-8 in a name", raw(b'{"\xc0\xaf":{}}', b""), BAD, "bad text")
    safetensors("depth of 100,000", [struct.pack("<Q", 200_000), {"repeat": '{"', "times": 1},
                                     {"repeat": "[", "times": 199_998}], BAD, "bad text")
    safetensors("depth of 128 in an unknown field", field("x", "[" * 128 + "]" * 128), BAD, "127 nested")
    for key, values in {"dtype": [("null", "null", "a string"), ("a number", "1", "a string"),
                                  ("unknown", '"F128"', "safetensors dtype"),
        ("of lower case", '"f32"', "safetensors dtype"), ("empty", '""', "safetensors dtype"),
        ("a list", '["F32"]', "a string"), ("missing", None, "lacks")],
        "shape": [("null", "null", "list of integers"), ("a number", "2", "list of integers"),
                  ("negative", "[-2]", "digits only"), ("a fraction", "[2.0]", "digits only"),
        ("an exponent", "[2e0]", "digits only"), ("minus zero", "[-0]", "digits only"),
        ("a string", '["2"]', "digits only"), ("nested", "[[2]]", "integers"), ("true", "[true]", "digits only"),
        ("2^48 + 1", "[281474976710657]", "at most 2^48"), ("2^63", "[9223372036854775808]", "at most 2^48"),
        ("2^64", "[18446744073709551616]", "digits only"), ("10^300", "[1" + "0" * 300 + "]", "digits only"),
        ("a product of 2^64", "[4294967296,4294967296]", "below 2^61 bytes"),
        ("a product that wraps to 8 bytes", "[2305843009213693953,2]", "at most 2^48"),
        ("a product of zero and 2^96", "[0,281474976710656,281474976710656]", "below 2^61 bytes"),
        ("larger than the data", "[3]", "expected 12 bytes"), ("smaller than the data", "[1]", "expected 4 bytes"),
        ("of rank 65", "[" + ",".join("1" * 64) + ",2]", "at most 64 sizes"), ("missing", None, "lacks")],
        "data_offsets": [("null", "null", "list of integers"), ("one", "[8]", "two offsets"),
                         ("three", "[0,4,8]", "two offsets"), ("descending", "[8,0]", "ascending"),
        ("negative", "[-8,0]", "digits only"), ("strings", '["0","8"]', "digits only"),
        ("2^64", "[0,18446744073709551616]", "digits only"), ("past the end", "[0,1000000]", "1000000"),
        ("2^63", "[9223372036854775808,9223372036854775816]", "no hole"), ("not from zero", "[8,16]", "no hole"),
        ("missing", None, "lacks")]}.items():
        for name, value, part in values:
            safetensors(f"{key} {name}", field(key, value), BAD, part)
    safetensors("a field twice", raw('{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}'), BAD,
                "one field dtype")
    safetensors("a name twice", raw('{"a":%s,"a":%s}' % (json.dumps(tensor()), json.dumps(tensor(begin=8, end=16))),
                                    b"\0" * 16), BAD, "unique")
    safetensors("a tensor as a list", raw('{"a":["F32",[2],[0,8]]}'), BAD, "dict")
    safetensors("two tensors on the same bytes", raw({"a": tensor(), "b": tensor()}), BAD, "overlap")
    safetensors("a hole between tensors", raw({"a": tensor(), "b": tensor(begin=9, end=17)}, b"\0" * 17), BAD,
                "no hole")
    safetensors("four bits short of a byte", raw({"a": tensor("F4", [3], 0, 1)}, b"\0"), BAD, "whole bytes")
    safetensors("metadata twice", raw('{"__metadata__":{},"__metadata__":{}}', b""), BAD, "two")
    safetensors("metadata of numbers", raw({"__metadata__": {"a": 1}}, b""), BAD, "a string")
    safetensors("metadata as a list", raw({"__metadata__": []}, b""), BAD, "__metadata__")
    safetensors("names that are paths", raw({"../../etc/passwd": tensor(), "/": tensor("F32", [0], 8, 8)}), OK)
    safetensors("an odd offset of 8-byte numbers", raw({"a": tensor("U8", [1], 0, 1), "b": tensor("F64", [1], 1, 9)},
                                                       b"\0" * 9), OK)
    safetensors("a header of blanks", [struct.pack("<Q", 2 + 100_000), "{", {"repeat": " ", "times": 100_000}, "}"], OK)


# --- weights: a directory --------------------------------------------------------------------------------------------


def make_weights():
    a, b = raw({"a": tensor()}), raw({"b": tensor()})

    def index(name, value, code=BAD, *parts, files=None, links=None):
        text = value if isinstance(value, (str, bytes)) or name.startswith("depth") else json.dumps(value)
        content = {"model.safetensors.index.json": text, "a.safetensors": a, "b.safetensors": b, **(files or {})}
        case("weights", f"index: {name}", content, code, *parts, links=links)

    index("good", {"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}, OK)
    for name, text in [("empty file", ""), ("cut short", '{"weight_map": {"a": "a.s'), ("not JSON", "weights"),
                       ("NaN", '{"x": NaN}'), ("bad UTF-8", b'{"\xff": 1}'), ("text behind it", '{"weight_map": {}} x'),
        ("a byte order mark", "\ufeff{}")]:
        index(name, text, BAD, "model.safetensors.index.json", "byte")
    index("a Git LFS pointer", LFS_POINTER, UNSUPPORTED, "model.safetensors.index.json", "git lfs pull")
    index("depth of 1,000,000", [{"repeat": "[", "times": 1_000_000}], BAD, "at most 128 nested")
    index("a key twice", '{"weight_map": {"a": "a.safetensors", "a": "b.safetensors"}}', BAD, "a")
    for name, value in [("a list", []), ("no map", {}), ("map a list", {"weight_map": []}),
                        ("map empty", {"weight_map": {}}), ("map null", {"weight_map": None})]:
        index(name, value, BAD, "weight_map")
    for name, shard in [("a number", 1), ("null", None), ("a list", ["a.safetensors"]), ("a dict", {})]:
        index(f"file name {name}", {"weight_map": {"a": shard}}, BAD, "a file name")
    for name, shard, part in [("empty", "", "empty name"), ("absolute", "/etc/passwd", "absolute"),
                              ("the parent", "..", '".."'), ("in the parent", "../a.safetensors", '".."'),
        ("by the parent", "sub/../../x/a.safetensors", '".."'), ("a dot", ".", '"."'),
        ("with a dot", "./a.safetensors", '"."'), ("with two slashes", "sub//a.safetensors", "empty part"),
        ("with a slash at the end", "a.safetensors/", "empty part"), ("a backslash", "..\\a.safetensors", "backslash"),
        ("a drive", "C:a.safetensors", "drive"), ("a NUL", "a.safetensors\0.txt", "NUL")]:
        index(f"file name {name}", {"weight_map": {"a": shard}}, BAD, part)
    index("shard that is not there", {"weight_map": {"a": "c.safetensors"}}, NOT_FOUND, "c.safetensors")
    index("shard without the tensor", {"weight_map": {"b": "a.safetensors"}}, BAD, '"b"', "lacks it")
    index("shard that is a directory", {"weight_map": {"a": "sub"}}, IO, "a directory", files={"sub/x": ""})
    index("tensor in two shards", {"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}, BAD, "one shard",
          files={"b.safetensors": raw({"a": tensor(), "b": tensor(begin=8, end=16)}, b"\0" * 16)})
    index("shard that is damaged", {"weight_map": {"a": "a.safetensors"}}, BAD, "truncated",
          files={"a.safetensors": a[:-1]})
    index("shard that is a pickle", {"weight_map": {"a": "a.safetensors"}}, UNSUPPORTED, "pickle",
          files={"a.safetensors": b"\x80\x02}q\0."})
    index("link out of the directory", {"weight_map": {"a": "out.safetensors"}}, BAD, "leaves",
          links={"out.safetensors": "/etc/passwd"})
    index("relative link out", {"weight_map": {"a": "out.safetensors"}}, BAD, "leaves",
          links={"out.safetensors": "../../../../../../etc/passwd"})
    index("folder that links out", {"weight_map": {"a": "sub/passwd"}}, BAD, "leaves", links={"sub": "/etc"})
    index("link to a device", {"weight_map": {"a": "null"}}, BAD, "leaves", links={"null": "/dev/null"})
    index("link to itself", {"weight_map": {"a": "loop"}}, IO, "loop", links={"loop": "loop"})
    index("link inside", {"weight_map": {"a": "in.safetensors"}}, OK, links={"in.safetensors": "sub/../a.safetensors"},
          files={"sub/x": ""})
    here, blobs = "models--o--n/snapshots/c0", "../../blobs"
    named_x = {"models--o--n/blobs/0b": json.dumps({"weight_map": {"a": "x.safetensors"}})}
    linked_index = {f"{here}/model.safetensors.index.json": f"{blobs}/0b", "@": here}
    case("weights", "links of a cache into its blobs", {"models--o--n/blobs/0a": a, "models--o--n/refs/main": "c0"}, OK,
         links={f"{here}/model.safetensors": f"{blobs}/0a", "@": here})
    case("weights", "index of a cache with links into its blobs", {"models--o--n/blobs/0a": a, **named_x}, OK,
         links={f"{here}/x.safetensors": f"{blobs}/0a", **linked_index})
    case("weights", "index of a cache with a link to another repository", {"models--p--q/blobs/0a": a, **named_x}, BAD,
         "leaves", links={f"{here}/x.safetensors": "../../../models--p--q/blobs/0a", **linked_index})

    case("weights", "nothing", {"readme": "x"}, NOT_FOUND, "model.safetensors")
    case("weights", "other safetensors", {"adapter.safetensors": a}, NOT_FOUND, "it has", "adapter.safetensors")
    case("weights", "a directory in its place", {"model.safetensors/x": ""}, IO, "a directory")
    for name in ["pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.pth", "model.ckpt",
                 "model.pkl", "model.pickle"]:
        case("weights", f"only {name}", {name: b"\x80\x02}q\0."}, UNSUPPORTED, "pickle", "safe_serialization=True",
             name)
    for name, part in [("weights.npz", "zip"), ("tf_model.h5", "HDF5"), ("model.gguf", "GGUF"),
                       ("flax_model.msgpack", "TensorFlow, Flax"), ("model.onnx", "ONNX")]:
        case("weights", f"only {name}", {name: "x"}, UNSUPPORTED, part, "safetensors", name)
    for name, content, part in [("a pickle of protocol 2", b"\x80\x02}q\0.", "pickle"),
                                ("a pickle of protocol 5", b"\x80\x05\x95\0\0\0\0\0\0\0\0.", "pickle"),
        ("a zip", b"PK\x03\x04" + b"\0" * 40, "zip"), ("HDF5", b"\x89HDF\r\n\x1a\n" + b"\0" * 40, "HDF5"),
        ("GGUF", b"GGUF\x03\0\0\0" + b"\0" * 40, "GGUF"), ("a Git LFS pointer", LFS_POINTER, "git lfs pull")]:
        case("weights", f"{name} under a safetensors' name", {"model.safetensors": content}, UNSUPPORTED, part)


# --- config.json beside the weights of a small BERT -------------------------------------------------------------------


def make_configs():
    base = json.loads((DATA / "models/bert/base/config.json").read_text())

    def config(name, value, code, *parts):
        case("model", name, {"config.json": value if isinstance(value,
                                                                (str, bytes, list)) else json.dumps({**base, **value})},
            code, *parts)

    config("good", {}, OK)
    for name, text in [("empty file", ""), ("cut short", json.dumps(base)[:100]), ("bad UTF-8", b'{"\xff": 1}'),
                       ("a comment", "{} // x"), ("a trailing comma", '{"a": 1,}'),
        ("1e400", '{"model_type": "bert", "layer_norm_eps": 1e400}'), ("NaN", '{"model_type": "bert", "x": NaN}'),
        ("a lone surrogate", '{"model_type": "\\ud800"}')]:
        config(name, text, BAD, "config.json", "byte")
    config("a Git LFS pointer", LFS_POINTER, UNSUPPORTED, "config.json", "git lfs pull")
    config("depth of 1,000,000", [{"repeat": '{"a":', "times": 1_000_000}], BAD, "at most 128 nested")
    config("a list", "[]", BAD, "model_type")
    for target in ("/dev/zero", "/dev/full", "/"):
        case("model", f"config.json is {target}", {"readme": "x"}, IO, "regular file", links={"config.json": target})
    config("no model_type", "{}", BAD, "model_type")
    config("model_type null", {"model_type": None}, BAD, "model_type")
    config("model_type unknown", {"model_type": "../../x"}, UNSUPPORTED, "../../x")
    config("model_type empty", {"model_type": ""}, UNSUPPORTED, "bert, distilbert")
    for key, value, part in [("hidden_size", "32", "expected int but got str"),
                             ("hidden_size", 32.0, "expected int but got float"),
        ("hidden_size", None, "expected int but got None"), ("hidden_size", True, "expected int but got bool"),
        ("hidden_size", [32], "expected int but got list"), ("hidden_size", 2**63,
                                                             "expected int but got int of more than 64 bits"),
        ("hidden_act", 7, "expected str"), ("layer_norm_eps", "x", "expected float"),
        ("is_decoder", 1, "expected bool"), ("eos_token_id", ["x"], "expected int | list[int] | None"),
        ("architectures", "x", "list[str] | None"), ("dtype", 7, "str | None"), ("dtype", "float7", "torch dtype"),
        ("id2label", [], "dict | None"), ("id2label", {"x": "y"}, "integer keys"),
        ("id2label", {"0": 1}, "expected str"), ("num_labels", -1, "from 0 to 1000000"),
        ("num_labels", 10**9, "from 0 to 1000000"), ("num_attention_heads", 5, "multiple of num_attention_heads"),
        ("num_attention_heads", 0, "num_attention_heads")]:
        config(f"{key} {json.dumps(value)}", {key: value}, ARGUMENT, part, key)
    for key, value, code, part in [("hidden_act", "glue", UNSUPPORTED, "'glue'"),
                                   ("per_layer_config", {"0": {}}, UNSUPPORTED, "per_layer_config"),
        ("num_hidden_layers", -1, ARGUMENT, "num_hidden_layers"), ("num_hidden_layers", 10**9, ARGUMENT, "0 to 10000"),
        ("num_hidden_layers", 10_000, BAD, "to draw"), ("vocab_size", 2**40, ARGUMENT, "32-bit"),
        ("vocab_size", 2**30, BAD, "to draw"), ("vocab_size", 77, BAD, "(77, 32)"),
        ("hidden_size", 2**62, ARGUMENT, "32-bit"), ("intermediate_size", 2**31, ARGUMENT, "32-bit"),
        ("intermediate_size", 2**31 - 1, BAD, "to draw"), ("max_position_embeddings", 10**12, ARGUMENT, "32-bit"),
        ("max_position_embeddings", 10**9, BAD, "to draw"), ("type_vocab_size", 0, ARGUMENT, "32-bit")]:
        config(f"{key} {json.dumps(value)}", {key: value}, code, part)
    config("auto_map is ignored", {"auto_map": {"AutoModel": "evil--evil.Model"}}, OK, "auto_map")
    config("a key of 1 MB", ['{"model_type": "bert", "', {"repeat": "x", "times": 1_000_000}, '": 1}'], BAD, "to draw")
    config("100,000 keys of one name", ['{"model_type": "x"', {"repeat": ',"k":1', "times": 100_000}, "}"], UNSUPPORTED,
           "'x'")


# --- tokenizer.json ---------------------------------------------------------------------------------------------------

DEVICE = {"tokenizer.json": (UNSUPPORTED, "tokenizer.json"), "tokenizer_config.json": (OK,),
          "special_tokens_map.json": (OK,)}


def make_tokenizers():
    model = {"type": "WordLevel", "vocab": {"a": 0, "b": 1}, "unk_token": "a"}
    whole = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
             "pre_tokenizer": None, "post_processor": None, "decoder": None, "model": model}

    def tokenizer(name, value, code=BAD, *parts, files=None):
        text = value if isinstance(value, (str, bytes, list)) else json.dumps({**whole, **value})
        case("tokenizer", name, {"tokenizer.json": text, **(files or {})}, code, *parts)

    tokenizer("good", {}, OK)
    for name, text in [("empty file", ""), ("cut short", json.dumps(whole)[:80]), ("bad UTF-8", b'{"model": "\xff"}')]:
        tokenizer(name, text, BAD, "tokenizer.json")
    tokenizer("a list", "[]", BAD, "tokenizer.json")
    tokenizer("depth of 1,000,000", [{"repeat": '{"normalizer":', "times": 1_000_000}], BAD, "byte")
    tokenizer("no model", '{"version": "1.0"}', BAD, "model")
    for name, value, code, part in [("model type unknown", {"type": "Evil", "vocab": {}}, UNSUPPORTED, "Evil"),
                                    ("vocab a list", {**model, "vocab": []}, BAD, "vocab"),
        ("ids negative", {**model, "vocab": {"a": -1}}, BAD, "31-bit id"),
        ("ids of 2^31", {**model, "vocab": {"a": 2**31}}, BAD, "31-bit id"),
        ("ids far apart", {**model, "vocab": {"a": 0, "b": 2_000_000_000}}, BAD, "near the number"),
        ("ids a string", {**model, "vocab": {"a": "0"}}, BAD, "31-bit id"),
        ("unknown token missing", {**model, "unk_token": "c"}, ARGUMENT, "'c'"),
        ("merges of unknown tokens", {"type": "BPE", "vocab": {"a": 0}, "merges": ["a c"]}, BAD, "'c'"),
        ("merges to unknown tokens", {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}, BAD, "'ab'"),
        ("merges a number", {"type": "BPE", "vocab": {"a": 0}, "merges": 7}, BAD, "list"),
        ("scores of text", {"type": "Unigram", "vocab": [["a", "x"]], "unk_id": 0}, BAD, "number"),
        ("unk_id past the vocabulary", {"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 7}, BAD, "unk_id"),
        ("WordPiece without a vocabulary", {"type": "WordPiece", "unk_token": "a"}, BAD, "vocab")]:
        tokenizer(f"model: {name}", {"model": value}, code, part)
    # The id behind that of the last token, which the first merge makes, has no text either: 64, past the last word of
    # a bit for each.
    empty = {"type": "BPE", "vocab": {"": 0, "a": 1, **{f"t{i}": i for i in range(2, 63)}, "aa": 63},
             "merges": [["a", "a"], ["", ""], ["", ""]]}
    tokenizer("model: merges of the empty token behind the last one", {"model": empty}, OK)
    for part_name in ["normalizer", "pre_tokenizer", "post_processor", "decoder"]:
        tokenizer(f"{part_name} of unknown type", {part_name: {"type": "Evil"}}, UNSUPPORTED, "Evil")
        tokenizer(f"{part_name} a number", {part_name: 7}, BAD, "'type'", part_name)
        tokenizer(f"{part_name} without a type", {part_name: {}}, BAD, "type")
    for name, regex, code in [("look-behind", "(?<=a)b", UNSUPPORTED), ("back reference", "(a)\\1", UNSUPPORTED),
                              ("unclosed", "(a", UNSUPPORTED), ("of a million repeats", "((a{1000}){1000}){1000}",
                                                                UNSUPPORTED)]:
        tokenizer(f"pattern {name}", {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": regex},
                                                        "behavior": "Isolated", "invert": False}}, code, "linear time",
            regex[:5])
    tokenizer("pattern that others blow up on", {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+b"},
                                                                   "behavior": "Isolated", "invert": False}}, OK)
    added = {"id": 2, "content": "c", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": True}
    for name, change, code, part in [("id that is not used", {"id": 2**31}, OK, ""),
                                     ("no content", {"content": None}, BAD, "expected str but got null"),
        ("content of 100 KB", {"content": "x" * 100_000}, ARGUMENT, "64 KiB")]:
        tokenizer(f"added token: {name}", {"added_tokens": [{**added, **change}]}, code, part)
    for name, files, code, part in [("tokenizer_config a list", {"tokenizer_config.json": "[]"}, BAD,
                                     "expected dict but got list"), ("tokenizer_config cut short",
                                                                     {"tokenizer_config.json": '{"a'}, BAD,
        "tokenizer_config.json"), ("tokenizer_class is code",
                                   {"tokenizer_config.json": json.dumps({"tokenizer_class": "../evil",
                                                                         "auto_map": {"AutoTokenizer": ["evil.py",
                                                                                                        None]}})}, OK,
        "auto_map"), ("model_max_length a string", {"tokenizer_config.json": json.dumps({"model_max_length": "x"})}, BAD,
              "expected float but got str"), ("padding_side up",
                                              {"tokenizer_config.json": json.dumps({"padding_side": "up"})}, ARGUMENT,
        "padding_side")]:
        tokenizer(name, {}, code, part, files=files)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        files = {} if name == "tokenizer.json" else {"tokenizer.json": json.dumps(whole)}
        case("tokenizer", f"{name} is /dev/zero", {"readme": "x", **files}, *DEVICE[name], links={name: "/dev/zero"})
    case("tokenizer", "no file", {"readme": "x"}, UNSUPPORTED, "tokenizer.json")
    for name, files in [("tokenizer.json", {}), ("tokenizer_config.json", {"tokenizer.json": json.dumps(whole)}),
                        ("special_tokens_map.json", {"tokenizer.json": json.dumps(whole)}),
        ("vocab.txt", {"config.json": '{"model_type": "bert"}'}),
        ("vocab.json", {"config.json": '{"model_type": "wav2vec2"}'}),
        ("merges.txt", {"config.json": '{"model_type": "gpt2"}', "vocab.json": '{"a": 0, "<|endoftext|>": 1}'})]:
        case("tokenizer", f"{name} is a Git LFS pointer", {**files, name: LFS_POINTER}, UNSUPPORTED, name,
             "git lfs pull")
    case("tokenizer", "vocab.txt that is shorter than the start of a pointer", {"vocab.txt": "[UNK]\n[PAD]\n[SEP]\n"
                                                                                            "[CLS]\n[MASK]\n",
                                                                               "config.json": '{"model_type": "bert"}'},
         OK)
    case("tokenizer", "vocab.txt of a BERT with NUL bytes", {"vocab.txt": b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\0b\n",
                                                             "config.json": '{"model_type": "bert"}'}, OK)
    case("tokenizer", "vocab.txt of bad UTF-8", {"vocab.txt": b"[PAD]\n\xff\xfe\n",
                                                 "config.json": '{"model_type": "bert"}'}, BAD, "UTF-8")


# --- preprocessor_config.json -----------------------------------------------------------------------------------------


def make_processors():
    def image(name, value, code=ARGUMENT, *parts):
        text = (value if isinstance(value, (str, list)) else json.dumps({"image_processor_type": "ViTImageProcessor",
                                                                         "size": 8, **value}))
        case("image_processor", name, {"preprocessor_config.json": text}, code, *parts)

    image("good", {}, OK)
    image("empty file", "", BAD, "preprocessor_config.json")
    image("a list", "[]", BAD, "an object")
    image("a Git LFS pointer", LFS_POINTER, UNSUPPORTED, "preprocessor_config.json", "git lfs pull")
    page = {"image_processor_type": "LayoutLMv2ImageProcessor", "apply_ocr": False}
    for arguments in ("--tessdata-dir /tmp", "--psm 6 --tess'data'-dir=/tmp", '--tess\\data-"dir" /tmp'):
        image(f"tesseract_config {arguments}", {**page, "tesseract_config": arguments}, BAD, "--tessdata-dir")
    image("tesseract_config --psm 6", {**page, "tesseract_config": "--psm 6"}, OK)
    image("of another class", '{"image_processor_type": "os.system"}', UNSUPPORTED, "os.system")
    for key, value in [("size", -1), ("size", 0), ("size", 2**31), ("size", 10**9), ("size", "x"),
                       ("size", {"height": 8}), ("size", {"height": -8, "width": 8}),
        ("size", {"height": 10**6, "width": 10**6}), ("size", [8, 8, 8]), ("resample", 77), ("resample", "x"),
        ("image_mean", [0.5, 0.5]), ("image_mean", "x"), ("image_std", [0.5]), ("do_resize", "x"), ("do_rescale", 7),
        ("rescale_factor", "x")]:
        image(f"{key} {json.dumps(value)}", {key: value}, ARGUMENT, key)
    image("image_std [0, 0, 0], which gives infinities as in transformers", {"image_std": [0, 0, 0]}, OK)
    case("image_processor", "preprocessor_config.json is /dev/zero", {"readme": "x"}, IO, "regular file",
         links={"preprocessor_config.json": "/dev/zero"})
    case("image_processor", "no file", {"readme": "x"}, NOT_FOUND, "preprocessor_config.json")

    def sound(name, value, code=ARGUMENT, *parts):
        whole = {"feature_extractor_type": "Wav2Vec2FeatureExtractor"}
        text = value if isinstance(value, (str, list)) else json.dumps({**whole, **value})
        case("feature_extractor", name, {"preprocessor_config.json": text}, code, *parts)

    sound("good", {}, OK)
    sound("cut short", '{"feature_extractor_type": "Wav2', BAD, "preprocessor_config.json")
    sound("a Git LFS pointer", LFS_POINTER, UNSUPPORTED, "preprocessor_config.json", "git lfs pull")
    sound("of another class", '{"feature_extractor_type": "os.system"}', UNSUPPORTED, "os.system")
    for key, value in [("sampling_rate", "x"), ("sampling_rate", None), ("feature_size", "x"), ("padding_value", "x"),
                       ("padding_side", "up"), ("do_normalize", "x"), ("return_attention_mask", 7),
        ("sampling_rate", 1.5)]:
        sound(f"{key} {json.dumps(value)}", {key: value}, ARGUMENT, key)


# --- images -----------------------------------------------------------------------------------------------------------


def chunk(kind, data, crc=None):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body) if crc is None else crc)


def png(width=2, height=2, depth=8, color=2, interlace=0, data=None, before=b"", end=True, method=0):
    header = struct.pack(">IIBBBBB", width, height, depth, color, method, 0, interlace)
    pixels = zlib.compress(b"".join(b"\0" + b"\x40" * 6 for _ in range(2))) if data is None else data
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT",
                                                                           pixels) + (chunk(b"IEND",
                                                                                            b"") if end else b""))


def make_images():
    def image(name, content, code=BAD, part="whole image"):
        case("image", name, {"x": content}, code, *([] if code == OK else [part]))

    image("empty file", b"", BAD, "empty file")
    image("one byte", b"\xff", BAD, "unknown format")
    image("zeros", b"\0" * 100, BAD, "unknown format")
    image("text", b"<svg xmlns='x'/>", BAD, "unknown format")
    for name, magic, part in [("GIF", b"GIF89a" + b"\0" * 30, "GIF"), ("BMP", b"BM" + b"\0" * 60, "BMP"),
                              ("TIFF", b"II*\0" + b"\0" * 30, "TIFF"),
        ("TIFF of the other order", b"MM\0*" + b"\0" * 30, "TIFF")]:
        image(name, magic, UNSUPPORTED, part)
    image("good png", png(), OK)
    image("png signature alone", png()[:8], BAD, "whole image")
    for name, width, height in [("2^31 - 1 by 2^31 - 1", 2**31 - 1, 2**31 - 1), ("65,535 by 65,535", 65_535, 65_535),
                                ("2^31 - 1 by 1", 2**31 - 1, 1), ("100 million by 1", 100_000_000, 1)]:
        image(f"png that claims {name} pixels", png(width, height), BAD, "1 to 89478485 pixels")
    image("png of no width", png(0, 5))
    image("png of no height", png(5, 0))
    for name, options in [("bit depth of 7", {"depth": 7}), ("colour type of 5", {"color": 5}),
                          ("interlace of 2", {"interlace": 2}), ("compression 1", {"method": 1}),
        ("no pixels", {"data": b""}), ("pixels that are no zlib stream", {"data": b"xxxxxxxx"}),
        ("too few pixels", {"data": zlib.compress(b"\0\1")}), ("a palette image without palette", {"color": 3})]:
        image(f"png with {name}", png(**options))
    image("png cut in its pixels", png()[:50], BAD, "whole image")
    image("png with a wrong checksum", png()[:-16] + b"\0\0\0\0" + png()[-12:])
    image("png with a chunk of 2^31 bytes", png(before=struct.pack(">I", 2**31) + b"tEXt"))
    for kind in (b"tEXt", b"iCCP", b"eXIf", b"abCd"):
        image(f"png that claims 1.5 GB of {kind.decode()}", png(before=struct.pack(">I", 1_500_000_000) + kind))
    claim = png(end=False) + struct.pack(">I", 1_500_000_000) + b"eXIf" + b"\0" * 40
    image("png that claims 1.5 GB of EXIF behind its pixels", claim, BAD, "whole image")
    bomb, looping = zlib.compress(b"\0" * 20_000_000, 9), b"\x12\x01\x03\0\xff\xff\xff\xff\x08\0\0\0"
    image("png with a profile that inflates to 20 MB", png(before=chunk(b"iCCP", b"x\0\0" + bomb)), OK)
    image("png with a text that inflates to 20 MB", png(before=chunk(b"zTXt", b"x\0\0" + bomb)), OK)
    texts, pixels = piece(chunk(b"zTXt", b"x\0\0" + zlib.compress(b"\0" * 8_000_000, 9))), png().index(b"IDAT") - 4
    texts[0]["times"] = 30
    image("png with 30 texts that inflate to 8 MB each", [png()[:pixels], *texts, png()[pixels:]], BAD, "more memory")
    image("png with 30 such texts behind its pixels", [png()[:-12], *texts, png()[-12:]], BAD, "more memory")
    exif = b"II*\0\x08\0\0\0\xff\xff" + looping * 20
    image("png with EXIF that points at itself", png(before=chunk(b"eXIf", exif)), OK)

    jpeg = (DATA / "media/images/gray.jpg").read_bytes()
    sof = next(i for i in range(2, len(jpeg)) if jpeg[i] == 0xFF and jpeg[i + 1] in (0xC0, 0xC2))
    image("good jpeg", jpeg, OK)
    for name, content in [("cut in its tables", jpeg[: sof - 3]), ("cut behind its frame", jpeg[: sof + 12]),
                          ("no frame", b"\xff\xd8\xff\xd9")]:
        image(f"jpeg: {name}", content)
    image("jpeg: start alone", jpeg[:2], BAD, "unknown format")
    image("jpeg: marker of length 0, which libjpeg skips", b"\xff\xd8\xff\xe0\0\0" + jpeg[4:], OK)
    image("jpeg that claims 65,535 pixels a side", jpeg[: sof + 5] + b"\xff\xff\xff\xff" + jpeg[sof + 9 :], BAD,
          "pixels")
    image("jpeg of no height", jpeg[: sof + 5] + b"\0\0" + jpeg[sof + 7 :])
    image("jpeg of 12 bits", jpeg[: sof + 4] + b"\x0c" + jpeg[sof + 5 :])
    image("jpeg of 255 components", jpeg[: sof + 9] + b"\xff" + jpeg[sof + 10 :])

    webp = min((DATA / "media/images").glob("*.webp"), key=lambda p: p.stat().st_size).read_bytes()
    image("good webp", webp, OK)
    for name, content in [("header alone", webp[:12]), ("cut", webp[: len(webp) // 2]),
                          ("size of 2^32 - 1", webp[:4] + b"\xff" * 4 + webp[8:]),
        ("chunk of 2^32 - 1", webp[:16] + b"\xff" * 4 + webp[20:]), ("unknown chunk", webp[:12] + b"EVIL" + webp[16:])]:
        image(f"webp: {name}", content)


# --- sound ------------------------------------------------------------------------------------------------------------


def wav(codec=1, channels=1, rate=16_000, bits=16, data=b"\0\0" * 8, align=None, size=None, riff=None, extra=b"",
        kind=b"RIFF"):
    align = channels * bits // 8 if align is None else align
    fmt = struct.pack("<HHIIHH", codec, channels, rate, min(rate * align, 2**32 - 1), align, bits) + extra
    size = len(data) if size is None else size
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", size) + data
    return kind + struct.pack("<I", len(body) if riff is None else riff) + body


def flac_bomb(frames):
    """FLAC whose frames of 28 bytes are 65,535 zeros each for eight channels."""

    def crc(data, polynomial, bits):
        value = 0
        for byte in data:
            value ^= byte << (bits - 8)
            for _ in range(8):
                value = ((value << 1) ^ (polynomial if value >> (bits - 1) & 1 else 0)) & ((1 << bits) - 1)
        return value.to_bytes(bits // 8, "big")

    head = b"\xff\xf8\x7e\x72\0\xff\xfe\xff\xff"  # 16 bits of block size and of rate / 10; 8 channels of 8 bits
    frame = head + crc(head, 0x07, 8) + b"\0\0" * 8
    frame += crc(frame, 0x8005, 16)
    info = struct.pack(">HH", 65_535, 65_535) + b"\0" * 6 + (655_350 << 44 | 7 << 41 | 7 << 36).to_bytes(8, "big")
    return b"fLaC\x80\0\0\x22" + info + b"\0" * 16 + frame * frames


def make_sounds():
    def sound(name, content, code=BAD, part="whole sound data"):
        case("audio", name, {"x": content}, code, *([] if code == OK else [part]))

    sound("empty file", b"")
    sound("text", b"hello, world", BAD, "unknown format")
    for name, magic, part in [("mp3 with a tag", b"ID3\x04\0\0\0\0\0\0" + b"\0" * 20, "MP3"),
                              ("ogg", b"OggS" + b"\0" * 40, "OggS"), ("aiff", b"FORM\0\0\0\x10AIFF" + b"\0" * 20,
                                                                      "FORM")]:
        sound(name, magic, UNSUPPORTED, part)
    sound("good wav", wav(), OK)
    for name, content in [("12 bytes", wav()[:12]), ("no samples' chunk", wav()[:36]),
                          ("no channels", wav(channels=0, align=2)), ("no rate", wav(rate=0)),
        ("alignment of 7", wav(align=7)), ("format of 4 bytes", wav()[:16] + b"\4\0\0\0" + wav()[20:24] + wav()[36:]),
        ("no format", b"RIFF\x14\0\0\0WAVEdata\x08\0\0\0" + b"\0" * 8)]:
        sound(f"wav: {name}", content)
    for name, options in [("codec 85 (MP3)", {"codec": 85}), ("12 bits", {"bits": 12, "align": 2}),
                          ("64-bit integers", {"bits": 64, "data": b"\0" * 64}), ("16-bit floats", {"codec": 3}),
        ("264 bits of codec 0, which is not 8 bits of codec 1", {"codec": 0, "bits": 264})]:
        sound(f"wav: {name}", wav(**options), UNSUPPORTED, "PCM, float, A-law or mu-law")
    sound("wav: 65,535 channels", wav(channels=65_535, align=65_535 * 2 % 65_536))
    sound("wav: a rate of 2^32 - 1", wav(rate=2**32 - 1), BAD, "samples a second")
    sound("wav: chunk of 2^32 - 1 bytes, cut short", wav(size=2**32 - 1), OK)
    sound("wav: riff of 0 bytes", wav(riff=0), OK)
    sound("wav: chunk of an odd length at the end", wav() + b"LIST\x01\0\0\0x", OK)
    sound("wav: 100,000 empty chunks", [wav()[:36], {"repeat": "junk\0\0\0\0", "times": 100_000}, wav()[36:]], OK)
    sound("wav: an hour at 8 Hz", wav(rate=8, data=b"\0\0" * 8 * 3600), BAD, "seconds")
    sound("rf64 without its sizes", wav(kind=b"RF64", riff=2**32 - 1, size=2**32 - 1), OK)
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, 2**64 - 1, 2**64 - 1, 2**64 - 1, 2**32 - 1)
    whole = wav(kind=b"RF64", riff=2**32 - 1, size=2**32 - 1)
    sound("rf64 of 2^64 - 1 bytes, cut short", whole[:12] + ds64 + whole[12:], OK)

    flac = min((DATA / "media/audio").glob("*.flac"), key=lambda p: p.stat().st_size).read_bytes()
    total = 4 + 4 + 10  # magic, block header; then 20 bits of rate, 3 of channels, 5 of bits, 36 of length
    word = int.from_bytes(flac[total : total + 8], "big")
    sound("good flac", flac, OK)
    sound("flac: magic alone", flac[:4])
    sound("flac: cut in its header", flac[:20])
    sound("flac: cut in its frames", flac[: len(flac) - 20])
    sound("flac that claims 2^36 - 1 samples", flac[:total] + (word | (2**36 - 1)).to_bytes(8,
                                                                                            "big") + flac[total + 8 :],
        BAD, "1800 seconds")
    sound("flac of no rate but in its frames", flac[:total] + (word & (2**44 - 1)).to_bytes(8,
                                                                                            "big") + flac[total + 8 :],
        OK)
    sound("flac: metadata of 2^24 - 1 bytes", flac[:4] + b"\x00\xff\xff\xff" + flac[8:])
    sound("flac: 500,000 samples in 28 bytes", flac_bomb(1), OK)
    sound("flac: 500,000 samples in each 28 bytes", flac_bomb(200), BAD, "samples from a file of")


def main():
    for make in (make_safetensors, make_weights, make_configs, make_tokenizers, make_processors, make_images,
                 make_sounds):
        make()
    folder = DATA / "hostile"
    folder.mkdir(exist_ok=True)
    (folder / "files.jsonl").write_text("".join(json.dumps(line) + "\n" for line in CASES))
    print(len(CASES), "cases")


if __name__ == "__main__":
    main()
