"""Writes the arguments of tests/data/media/processors.jsonl and extractor.jsonl as seeds: a JSON document a file."""

import json
import pathlib
import sys

data, seeds = pathlib.Path(__file__).parent.parent / "data/media", set()
for name in ["processors.jsonl", "extractor.jsonl"]:
    for line in (data / name).read_text().splitlines():
        case = json.loads(line)
        seeds.add(json.dumps({**case["arguments"], **case["call"]}))
        seeds.add(case.get("saved", "{}"))
for number, seed in enumerate(sorted(seeds)):
    pathlib.Path(sys.argv[1], f"seed{number}").write_text(seed)
