#!/usr/bin/env python3
"""Makes tests/data/json and tests/data/safetensors from the reference: Python's json and the safetensors package.

    python tools/make_loader_goldens.py        # needs tools/requirements.txt

json/dumps.jsonl          one case a line: a JSON text and what json.dumps makes of it in four settings
safetensors/cases.tsv     malformed and odd files (in hex) with the reference's verdict
safetensors/torch.safetensors, torch.json    a file written by safetensors.torch.save_file, and its float values
"""
import json
import pathlib
import struct

import safetensors
import safetensors.torch
import torch

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data"

JSON_TEXTS = [
    "null", "true", "false", "0", "-0", "-0.0", "1", "-1", "9223372036854775807", "-9223372036854775808",
    "9223372036854775808", "18446744073709551615", "18446744073709551616", "-9223372036854775809",
    "1000000000000000019884624838656", '{"model_max_length": 1000000000000000019884624838656}',
    "1.0", "1e0", "1E5", "1e15", "1e16", "1.5e16", "123456789012345680.0", "9999999999999998.0", "1e17", "1e22", "1e23",
    "1e-4", "0.0001", "1e-5", "0.00001", "1e-12", "1.5e-7", "0.1", "0.02", "0.30000000000000004", "3.14", "2.5e-5", "100.0",
    "1e100", "1.7976931348623157e308", "5e-324", "2.2250738585072014e-308", "-123.456", "4.35", "1e-100", "12345678.9",
    '""', '"plain"', r'"\"\\\/\b\f\n\r\t"', r'"\u0000\u0001\u001f\u007f\u0080\u00ff\u07ff\u0800\uffff"', '"é ß 東京 😀"',
    r'"\ud83d\ude00\ud834\udd1e\u00e9"', '"\u2028\u2029"', '"\x7f"', r'"\u0061"',
    "[]", "{}", "[[]]", '{"a":{}}', "[1,2,3]", '[1,[2,[3,[]]],{"k":[]}]', '{"a":1,"b":[true,false,null],"c":{"d":"e"}}',
    '{"b":1,"a":2,"é":3,"Z":4,"aa":5,"":6,"😀":7,"\uffff":8}', '{"a":1,"b":2,"a":3}', '{"a":1,"\\u0061":2}',
    ' \t\r\n{ "spaced" : [ 1 , 2 ] } \n', "[" * 100 + "]" * 100,
]


def make_json(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "dumps.jsonl", "w", encoding="utf-8") as out:
        for text in JSON_TEXTS:
            value = json.loads(text)
            case = {
                "text": text,
                "plain": json.dumps(value),
                "indent": json.dumps(value, indent=2),
                "sorted": json.dumps(value, indent=2, sort_keys=True),
                "utf8": json.dumps(value, ensure_ascii=False),
            }
            out.write(json.dumps(case) + "\n")


def tensor(dtype="F32", shape="[2,2]", offsets="[0,16]"):
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}'


def raw(header, data=b"", length=None):
    header = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def cases():
    d16, d8 = bytes(range(16)), bytes(8)
    good = '{"a":' + tensor() + "}"
    yield "valid", raw(good, d16)
    for n in range(8):
        yield f"size_{n}", bytes(n)
    yield "header_0", raw("")
    yield "header_past_file", raw(good, d16, 1000)
    yield "header_1e8_plus_1", raw(good, d16, 100_000_001)
    yield "header_2_63", raw(good, d16, 2**63)
    yield "header_2_64_minus_1", raw(good, d16, 2**64 - 1)
    yield "truncated_by_1", raw(good, d16)[:-1]
    yield "extra_byte", raw(good, d16) + b"\0"
    two = lambda a, b, size: raw('{"a":%s,"b":%s}' % (tensor(offsets=a), tensor(offsets=b)), bytes(size))
    yield "two_valid", two("[0,16]", "[16,32]", 32)
    yield "two_valid_reversed", two("[16,32]", "[0,16]", 32)
    yield "hole_before", two("[4,20]", "[20,36]", 36)
    yield "hole_between", two("[0,16]", "[20,36]", 36)
    yield "overlap", two("[0,16]", "[12,28]", 28)
    yield "same_range", two("[0,16]", "[0,16]", 16)
    yield "begin_after_end", raw('{"a":' + tensor(offsets="[16,0]") + "}", d16)
    yield "size_differs", raw('{"a":' + tensor(offsets="[0,15]") + "}", d16[:15])
    for name, number in {"negative": "-1", "float": "0.0", "exponent": "1.6e1", "string": '"0"', "minus_zero": "-0",
                         "plus": "+4", "leading_zero": "04", "2_64": "18446744073709551616", "null": "null",
                         "list": "[0]", "true": "true"}.items():
        yield f"offset_{name}", raw('{"a":' + tensor(offsets=f"[{number},16]") + "}", d16)
        yield f"shape_{name}", raw('{"a":' + tensor(shape=f"[{number},2]") + "}", d16)
    yield "offsets_1", raw('{"a":' + tensor(offsets="[16]") + "}", d16)
    yield "offsets_3", raw('{"a":' + tensor(offsets="[0,16,16]") + "}", d16)
    yield "offsets_number", raw('{"a":' + tensor(offsets="16") + "}", d16)
    yield "shape_dict", raw('{"a":' + tensor(shape="{}") + "}", d16)
    yield "dtype_unknown", raw('{"a":' + tensor("F33") + "}", d16)
    yield "dtype_lower", raw('{"a":' + tensor("f32") + "}", d16)
    yield "dtype_number", raw('{"a":{"dtype":1,"shape":[4],"data_offsets":[0,16]}}', d16)
    yield "no_dtype", raw('{"a":{"shape":[4],"data_offsets":[0,16]}}', d16)
    yield "no_shape", raw('{"a":{"dtype":"F32","data_offsets":[0,16]}}', d16)
    yield "no_offsets", raw('{"a":{"dtype":"F32","shape":[4]}}', d16)
    yield "field_twice", raw('{"a":{"dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16]}}', d16)
    yield "field_unknown", raw('{"a":{"dtype":"F32","extra":{"x":[1,{"y":null}]},"shape":[4],"data_offsets":[0,16]}}', d16)
    yield "tensor_number", raw('{"a":1}', d16)
    yield "tensor_null", raw('{"a":null}', d16)
    yield "tensor_array", raw('{"a":["F32",[2,2],[0,16]]}', d16)
    yield "name_twice", raw('{"a":%s,"a":%s}' % (tensor(), tensor()), d16)
    yield "name_twice_escaped", raw('{"a":%s,"\\u0061":%s}' % (tensor(), tensor()), d16)
    yield "name_twice_empty", raw('{"a":%s,"a":%s}' % (tensor(shape="[0]", offsets="[0,0]"), tensor(shape="[0]", offsets="[0,0]")))
    meta = lambda m: raw('{"__metadata__":' + m + ',"a":' + tensor() + "}", d16)
    yield "metadata", meta('{"format":"pt"}')
    yield "metadata_twice", meta('{},"__metadata__":{}')
    yield "metadata_number", meta('{"x":1}')
    yield "metadata_list_value", meta('{"x":[]}')
    yield "metadata_list", meta("[]")
    yield "metadata_null", meta("null")
    yield "metadata_string", meta('"x"')
    yield "metadata_key_twice", meta('{"x":"1","x":"2"}')
    yield "bom", raw(b"\xef\xbb\xbf" + good.encode(), d16)
    yield "trailing_nul", raw(good + "\0", d16)
    yield "nul_inside", raw('{"a\0":' + tensor() + "}", d16)
    yield "two_documents", raw("{}{}")
    yield "comment", raw("{/* */}")
    yield "nan", raw('{"a":' + tensor(shape="[NaN]") + "}", d16)
    yield "trailing_comma", raw('{"a":' + tensor() + ",}", d16)
    yield "lone_surrogate", raw('{"\\ud800":' + tensor() + "}", d16)
    yield "bad_utf8", raw(b'{"\xff":' + tensor().encode() + b"}", d16)
    yield "overlong_utf8", raw(b'{"\xc0\x80":' + tensor().encode() + b"}", d16)
    deep = lambda n: raw('{"a":{"dtype":"F32","x":' + "[" * n + "]" * n + ',"shape":[4],"data_offsets":[0,16]}}', d16)
    yield "depth_127", deep(125)
    yield "depth_200", deep(198)
    yield "leading_space", raw(" \t\r\n" + good, d16)
    yield "trailing_space", raw(good + " \t\r\n", d16)
    yield "shape_zero_then_2_63", raw('{"a":' + tensor(shape="[0,9223372036854775808,4]", offsets="[0,0]") + "}")
    yield "shape_2_63_then_zero", raw('{"a":' + tensor(shape="[9223372036854775808,4,0]", offsets="[0,0]") + "}")
    yield "shape_overflow", raw('{"a":' + tensor(shape="[4294967296,4294967296]") + "}", d16)
    yield "rank_64", raw('{"a":' + tensor(shape=str([1] * 62 + [2, 2])) + "}", d16)
    yield "rank_65", raw('{"a":' + tensor(shape=str([1] * 63 + [2, 2])) + "}", d16)
    yield "zero_size_shares_offset", raw('{"a":%s,"b":%s}' % (tensor(), tensor(shape="[0]", offsets="[0,0]")), d16)
    yield "zero_size_inside_another", raw('{"a":%s,"b":%s}' % (tensor(), tensor(shape="[0]", offsets="[8,8]")), d16)
    yield "scalar", raw('{"a":' + tensor(shape="[]", offsets="[0,4]") + "}", d16[:4])
    yield "f4_half_byte", raw('{"a":' + tensor("F4", "[3]", "[0,1]") + "}", b"0")
    yield "f4", raw('{"a":' + tensor("F4", "[4]", "[0,2]") + "}", b"00")
    yield "f6", raw('{"a":' + tensor("F6_E2M3", "[4]", "[0,3]") + "}", b"000")
    for name in ["F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"]:
        yield name.lower(), raw('{"a":' + tensor(name, "[8]", "[0,8]") + "}", d8)
    for name, shape in {"U16": "[4]", "U32": "[2]", "U64": "[1]", "C64": "[1]"}.items():
        yield name.lower(), raw('{"a":' + tensor(name, shape, "[0,8]") + "}", d8)
    yield "f64_at_odd_offset", raw('{"a":%s,"b":%s} ' % (tensor("U8", "[1]", "[0,1]"), tensor("F64", "[1]", "[1,9]")), bytes(9))
    yield "bool_bytes", raw('{"a":' + tensor("BOOL", "[4]", "[0,4]") + "}", b"\0\1\2\xff")
    for name, text in {"empty": "", "nul": "\\u0000", "path": "../../etc/passwd", "escape": "\\u001b[31m"}.items():
        yield f"name_{name}", raw('{"%s":%s}' % (text, tensor()), d16)
    yield "array", raw("[]")
    yield "string", raw('"x"')
    yield "null", raw("null")
    yield "no_tensors", raw("{}")
    yield "dict_key_number", raw("{1:2}")
    yield "dtype_escaped", raw('{"a":{"d\\u0074ype":"F\\u00332","shape":[4],"data_offsets":[0,16]}}', d16)


def make_safetensors(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "cases.tsv", "w", encoding="utf-8") as out:
        out.write(f"name\tsafetensors_{safetensors.__version__}\thex\n")
        for name, data in cases():
            try:
                safetensors.deserialize(data)
                verdict = "accepted"
            except safetensors.SafetensorError:
                verdict = "refused"
            out.write(f"{name}\t{verdict}\t{data.hex()}\n")

    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 5, generator=generator)
    tensors = {
        "z.float": values, "a.float": values * 2, "half": values.half(), "brain": values.bfloat16(),
        "double": values.double(), "int64": torch.arange(-3, 4), "int32": torch.arange(5, dtype=torch.int32),
        "int16": torch.tensor([-32768, 32767], dtype=torch.int16), "int8": torch.tensor([-128, 127], dtype=torch.int8),
        "uint8": torch.tensor([0, 255, 7], dtype=torch.uint8), "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4), 'nämé "quoted"\n\x7f\U0001f600': torch.ones(2),
        "": torch.tensor([1.0]), "rank8": torch.ones(1, 1, 1, 1, 1, 1, 1, 2),
    }
    safetensors.torch.save_file(tensors, folder / "torch.safetensors", metadata={"format": "pt"})
    expected = {name: t.float().flatten().tolist() for name, t in tensors.items()}
    (folder / "torch.json").write_text(json.dumps(expected))
    safetensors.torch.save_file({}, folder / "torch_empty.safetensors")


if __name__ == "__main__":
    make_json(DATA / "json")
    make_safetensors(DATA / "safetensors")
