#!/usr/bin/env python3
"""Makes the reference data that the C++ tests compare with, by running transformers itself.

    python tools/make_goldens.py bert distilbert vit wav2vec2 layoutlmv2 minilm

bert distilbert vit wav2vec2 layoutlmv2: tests/data/models/<architecture>/<case>/, in the format that
    goldens/__init__.py describes.
minilm: tests/data/minilm/embeddings.safetensors (goldens/minilm.py; --minilm DIR names another copy of the model).
"""

import argparse
import importlib
import sys
import zlib

import torch
from goldens.common import DATA, make_case, print_table
from transformers.utils import logging

ARCHITECTURES = ["bert", "distilbert", "vit", "wav2vec2", "layoutlmv2"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=[*ARCHITECTURES, "minilm"])
    parser.add_argument("--only", metavar="CASE", nargs="+", help="these cases alone")
    parser.add_argument("--minilm", metavar="DIR", help="directory of all-MiniLM-L6-v2")
    args = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)  # the same sums on every machine with the same kernels
    rows, bad = [], []
    for what in args.what:
        if what == "minilm":
            from goldens.minilm import make_minilm

            make_minilm(args.minilm)
            continue
        module = importlib.import_module(f"goldens.{what}")
        if what == "layoutlmv2":
            module.check_standin()
        cases = module.CASES
        assert len({case.name for case in cases}) == len(cases)
        for case in cases:
            if args.only and case.name not in args.only:
                continue
            # A seed of its own, so that a new case leaves the others' data as it is.
            row, good = make_case(DATA / "models" / what, case, seed=zlib.crc32(f"{what}/{case.name}".encode()))
            rows.append(row)
            if not good:
                bad.append(row[0])
    if rows:
        print_table(rows)
    if bad:
        sys.exit(f"too ill-conditioned for a golden: {', '.join(bad)}")


if __name__ == "__main__":
    main()
