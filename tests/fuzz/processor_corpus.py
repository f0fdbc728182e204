"""Writes seeds of the fuzz targets on configurations to a folder: what tests/data/media gives processors and extractors.

usage: python3 processor_corpus.py image_processor|feature_extractor|ocr_config FOLDER
"""

import json
import pathlib
import sys

data, seeds = pathlib.Path(__file__).parent.parent / "data/media", set()
kind, folder = sys.argv[1:]
if kind == "ocr_config":
    seeds = {"--psm 6\neng", "--oem 1 --dpi 300 -l eng+deu", "-c tessedit_char_whitelist='a b' --tessdata-dir \"/x y\"\n",
             json.dumps({"apply_ocr": True, "ocr_lang": "eng", "tesseract_config": "--psm 11 -c a=b\\ c"})}
else:
    file = {"image_processor": "processors.jsonl", "feature_extractor": "extractor.jsonl"}[kind]
    for line in (data / file).read_text().splitlines():
        case = json.loads(line)
        seeds.add(json.dumps({**case["arguments"], **case["call"]}))
        seeds.add(case.get("saved", "{}").replace("224", "12"))
for number, seed in enumerate(sorted(seeds)):
    pathlib.Path(folder, f"seed{number}").write_text(seed)
