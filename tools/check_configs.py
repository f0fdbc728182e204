"""Compares caracal's configurations with transformers': every config.json below --configs, each also with random
overrides, and random files per class. For each of them

  caracal config FILE --set KEY=VALUE … --output DIR    against    AutoConfig.from_pretrained(FILE, …).save_pretrained

must write the same bytes or both refuse; transformers must read caracal's file as the configuration it made itself;
caracal must read and write transformers' file as transformers does; and `caracal config` must print the listing of
transformers 4. Prints how many were compared; exits 1 on a difference.

  python tools/check_configs.py --caracal build/release/tools/caracal --configs tests/data/configs --draws 300
  python tools/check_configs.py --configs DIR --write-goldens tests/data/configs    (what tests/models compares)
"""

import argparse
import difflib
import json
import math
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

import transformers
from transformers import AutoConfig, BertConfig, DistilBertConfig, LayoutLMv2Config, PreTrainedConfig, ViTConfig
from transformers import Wav2Vec2Config
from transformers.generation.configuration_utils import GenerationConfig

transformers.logging.set_verbosity(transformers.logging.CRITICAL)

CLASSES = {c.model_type: c for c in (BertConfig, DistilBertConfig, ViTConfig, Wav2Vec2Config, LayoutLMv2Config)}
BASE = {f.name for f in fields(PreTrainedConfig)}

# What transformers 4's base class had beyond version 5's, with its defaults.
OLD_DEFAULTS = {
    "torchscript": False, "use_bfloat16": False, "tf_legacy_loss": False, "pruned_heads": {},
    "tie_word_embeddings": True, "is_decoder": False, "cross_attention_hidden_size": None,
    "add_cross_attention": False, "tie_encoder_decoder": False, "finetuning_task": None, "task_specific_params": None,
    "tokenizer_class": None, "prefix": None, "bos_token_id": None, "pad_token_id": None, "eos_token_id": None,
    "sep_token_id": None, "decoder_start_token_id": None,
}  # fmt: skip

FLOATS = [0.1, 1e-5, 1e-12, 1 / 3, 0.0, -0.0, 1.0, 1e16, 1e22, 123456789.0, 5e-324, 1.7976931348623157e308, -2.5]
STRINGS = ["gelu", "relu", "", "é", "日本語", "\U0001f917", 'a"b\\c', "tab\tnew\nline\x7f\x01", "</script>", "None", "1"]
# Keys of real files that no class declares.
LEGACY_KEYS = [
    "gradient_checkpointing", "position_embedding_type", "pruned_heads", "output_past", "_num_labels", "directionality",
    "pooler_fc_size", "finetuning_task", "feat_extract_dropout", "freeze_feat_extract_train", "mask_channel_prob",
    "tie_weights_", "tokenizer_class", "processor_class", "use_visual_backbone", "task_specific_params", "ключ",
    "Z", "a b", "sep_token_id",
]  # fmt: skip
LEGACY_FLAGS = ["torchscript", "is_decoder", "tie_word_embeddings", "add_cross_attention"]


def any_value(rng, depth=0):
    kind = rng.randrange(9 if depth < 2 else 6)
    if kind == 0:
        return None
    if kind == 1:
        return rng.random() < 0.5
    if kind == 2:
        return rng.choice([0, 1, -1, 7, 30522, 2**53 + 1, -(2**63), 10**30])
    if kind == 3:
        return rng.choice(FLOATS + [math.inf, -math.inf, math.nan])
    if kind in (4, 5):
        return rng.choice(STRINGS)
    if kind == 6:
        return [any_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(STRINGS): any_value(rng, depth + 1) for _ in range(rng.randrange(4))}


def wrong_value(rng):
    return rng.choice([None, True, "768", 1.5, 3, [], [1, "a"], [True], [1.0], {}, {"a": 1}])


def field_value(rng, field, special=True):
    """A value of the field's type; now and then one of another type."""
    if rng.random() < 0.01:
        return wrong_value(rng)
    kinds = []
    text = str(field.type)
    if field.type is int or "int |" in text:
        kinds.append(lambda: rng.choice([0, 1, 2, 7, 12, 64, 768, 30522]))
    if field.type is float or "float" in text:
        kinds.append(lambda: rng.choice(FLOATS + ([math.inf, -math.inf, math.nan] if special else [])))
    if field.type is str:
        kinds.append(lambda: rng.choice(STRINGS))
    if field.type is bool:
        kinds.append(lambda: rng.random() < 0.5)
    if "list" in text:
        kinds.append(lambda: [rng.choice([1, 2, 14, 224]) for _ in range(rng.randrange(5))])
    if "dict" in text:
        kinds.append(lambda: {rng.choice(STRINGS): any_value(rng, 2) for _ in range(rng.randrange(3))})
    if "None" in text:
        kinds.append(lambda: None)
    return rng.choice(kinds)()


def labels_of(rng):
    ids = list(range(rng.randrange(13)))
    if rng.random() < 0.2:
        ids = rng.sample([-1, 0, 1, 5, 100, 20], 3)
    return {str(i): rng.choice([f"LABEL_{i}", f"é{i}", f"name {i}"]) for i in ids}


def draw_labels(rng):
    labels = labels_of(rng)
    ids = {name: int(i) for i, name in labels.items()}
    return rng.choice([
        {}, {}, {"id2label": labels}, {"id2label": labels, "label2id": ids}, {"label2id": ids},
        {"num_labels": rng.randrange(13)}, {"num_labels": rng.randrange(13), "id2label": labels, "label2id": ids},
        {"num_labels": len(labels), "id2label": labels}, {"id2label": None, "num_labels": 3}, {"id2label": None},
        {"num_labels": 3, "label2id": ids},
    ])  # fmt: skip


def declared(cls):
    return [f for f in fields(cls) if f.name not in BASE]


def draw_file(rng, cls):
    """A config.json, with everything that real ones have and some mistakes."""
    values = {}
    for field in declared(cls):
        if rng.random() < 0.25 and not field.name.startswith("conv_"):
            values[field.name] = field_value(rng, field)
    if cls is Wav2Vec2Config and rng.random() < 0.6:
        layers = rng.randrange(1, 9)
        for name in ("conv_dim", "conv_stride", "conv_kernel"):
            values[name] = [rng.choice([1, 2, 5, 512]) for _ in range(layers + (rng.random() < 0.03))]
        if rng.random() < 0.3:
            values["num_feat_extract_layers"] = layers + (rng.random() < 0.1)
    for alias in cls.attribute_map:
        if rng.random() < 0.2:
            values[alias] = rng.choice([1, 2, 64, 512])
    base = {
        "architectures": rng.choice([None, [], ["BertModel"], ["A", "é"]]),
        "output_hidden_states": rng.random() < 0.5,
        "output_attentions": rng.random() < 0.5,
        "return_dict": rng.random() < 0.5,
        "chunk_size_feed_forward": rng.randrange(3),
        "is_encoder_decoder": rng.random() < 0.5,
        "problem_type": rng.choice(["regression", "single_label_classification", "multi_label_classification", None]),
        "dtype": rng.choice(["float32", "float16", "bfloat16", "half", "float", "double", "nonsense", None]),
        "torch_dtype": rng.choice(["float32", "float16", "bfloat16", "float64", None]),
        "transformers_version": rng.choice(["4.10.2", None]),
        "_name_or_path": "somewhere/else",
        "name_or_path": "x",
        "_commit_hash": "abc",
        "_attn_implementation": "eager",
        "attn_implementation": None,
    }
    values |= {key: value for key, value in base.items() if rng.random() < 0.15}
    values |= draw_labels(rng)
    for key in GenerationConfig._get_default_generation_params():
        if rng.random() < 0.05 and key not in {f.name for f in fields(cls)}:
            values[key] = any_value(rng)
    known = {f.name for f in fields(cls)}
    values |= {key: any_value(rng) for key in LEGACY_KEYS if rng.random() < 0.1 and key not in known}
    values |= {key: rng.random() < 0.5 for key in LEGACY_FLAGS if rng.random() < 0.1}
    items = list(values.items())
    rng.shuffle(items)
    return dict(items)


def draw_overrides(rng, cls, file):
    overrides = {}
    for field in rng.sample(declared(cls), rng.randrange(5)):
        overrides[field.name] = field_value(rng, field, special=False)
    others = {alias: rng.choice([1, 2, 64, 512]) for alias in cls.attribute_map}
    others |= {
        "output_hidden_states": rng.random() < 0.5,
        "output_attentions": rng.random() < 0.5,
        "num_labels": rng.randrange(6),
        "id2label": labels_of(rng),
        "label2id": {"a": 0, "b": 1},
        "problem_type": rng.choice(["regression", "single_label_classification", None]),
        "dtype": rng.choice(["float16", "bfloat16", "auto" if "dtype" in file or "torch_dtype" in file else "float32"]),
        "torch_dtype": rng.choice(["float16", "bfloat16"]),
    }
    others |= {key: rng.choice(STRINGS) for key in LEGACY_KEYS if key in file}  # attributes once the file has them
    overrides |= {key: value for key, value in others.items() if rng.random() < 0.1}
    if overrides.get("dtype") == "auto":  # transformers would write "auto", and not read it again
        del overrides["dtype"]
    return overrides


def write_config(directory, values):
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(PreTrainedConfig._encode_special_floats(values), ensure_ascii=bool(len(values) % 2))
    (directory / "config.json").write_text(text, encoding="utf-8")


def reference(source, overrides, target):
    """transformers' configuration and what it writes, or (None, reason)."""
    overrides = dict(overrides)
    if overrides.get("id2label") is not None:  # keys are strings in JSON only
        overrides["id2label"] = {int(key): value for key, value in overrides["id2label"].items()}
    try:
        config = AutoConfig.from_pretrained(source, **overrides)
        config.save_pretrained(target)
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
    return config, (target / "config.json").read_bytes()


def old_listing(config):
    """`print(config)` of transformers 4: without what equals the base class's default of that time."""
    shown = config.to_diff_dict()
    class_defaults = type(config)().to_dict()
    for key, value in OLD_DEFAULTS.items():
        if key in shown and shown[key] == value and class_defaults.get(key, value) == value:
            del shown[key]
    text = json.dumps(PreTrainedConfig._encode_special_floats(shown), indent=2, sort_keys=True)
    return f"{type(config).__name__} {text}\n".encode()


def attributes(config):
    """to_dict with NaN made comparable and without the path."""
    result = PreTrainedConfig._encode_special_floats(config.to_dict())
    result.pop("_name_or_path", None)
    return result


class Checker:
    def __init__(self, caracal):
        self.caracal = caracal
        self.work = Path(tempfile.mkdtemp(prefix="check_configs"))
        self.counts = {}
        self.differences = 0

    def run(self, source, overrides, target=None):
        command = [self.caracal, "config", str(source)]
        for key, value in overrides.items():
            command += ["--set", f"{key}={json.dumps(value)}"]
        if target is not None:
            command += ["--output", str(target)]
        done = subprocess.run(command, capture_output=True)
        if done.returncode not in (0, 1):
            return None, f"exit status {done.returncode}: {done.stderr.decode()}"
        if done.returncode == 1:
            return False, done.stderr.decode()
        return True, done.stdout if target is None else (target / "config.json").read_bytes()

    def differ(self, what, source, overrides, want, got):
        self.differences += 1
        if self.differences > 20:
            return
        print(f"DIFFERENT: {what}\n  file {(source / 'config.json').read_text()[:2000]}\n  overrides {overrides}")
        lines = difflib.unified_diff(str(want).splitlines(), str(got).splitlines(), "transformers", "caracal", n=0)
        print("\n".join(f"  {line[:200]}" for line in list(lines)[:20]))

    def check(self, kind, source, overrides):
        source = Path(source)
        theirs, ours, again = self.work / "theirs", self.work / "ours", self.work / "again"
        for directory in (theirs, ours, again):
            shutil.rmtree(directory, ignore_errors=True)
        config, want = reference(source, overrides, theirs)
        ok, got = self.run(source, overrides, ours)
        count = self.counts.setdefault(kind, {"accepted": 0, "refused": 0})
        count["refused" if config is None else "accepted"] += 1
        if ok is None or ok != (config is not None):
            return self.differ("one of the two refuses", source, overrides, want, got)
        if config is None:
            return None
        if got != want:
            return self.differ("bytes written", source, overrides, want.decode(), got.decode())
        listing = self.run(source, overrides)[1]
        if listing != old_listing(config):
            self.differ("listing", source, overrides, old_listing(config).decode(), listing.decode())
        # The other way round: each reads what the other wrote.
        reread, rewritten = reference(ours, {}, self.work / "reread")
        ok, got = self.run(theirs, {}, again)
        if ok is None or ok != (reread is not None) or (ok and got != rewritten):
            self.differ("what the other wrote, read and written again", theirs, {}, rewritten, got)
        own, _ = reference(theirs, {}, self.work / "own")
        if reread is not None and attributes(reread) != attributes(own):
            self.differ("attributes loaded from caracal's file", source, overrides, attributes(own), attributes(reread))
        return None


def real_configs(folder):
    for path in sorted(Path(folder).glob("*/config.json")):
        if json.loads(path.read_text()).get("model_type") in CLASSES:
            yield path.parent


def write_goldens(configs, target, draws, seed):
    """The real configurations that are small, and what transformers makes of them and of random files."""
    target = Path(target)
    for source in real_configs(configs):
        if (source / "config.json").stat().st_size > 10_000:
            continue
        folder = target / source.name.split(".")[0]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_bytes((source / "config.json").read_bytes())
        with tempfile.TemporaryDirectory() as saved:
            config, text = reference(source, {}, Path(saved))
        (folder / "saved.json").write_bytes(text)
        (folder / "listing.txt").write_bytes(old_listing(config))
        (folder / "to_dict.json").write_text(json.dumps(attributes(config)) + "\n")
    cases = []
    rng = random.Random(seed)
    for cls in CLASSES.values():
        for _ in range(draws):
            file = {"model_type": cls.model_type} | draw_file(rng, cls)
            overrides = draw_overrides(rng, cls, file)
            with tempfile.TemporaryDirectory() as directory:
                write_config(Path(directory) / "in", file)
                config, text = reference(Path(directory) / "in", overrides, Path(directory) / "out")
                again, text_again = (None, "")
                if config is not None:
                    again, text_again = reference(Path(directory) / "out", {}, Path(directory) / "again")
            case = {"file": PreTrainedConfig._encode_special_floats(file), "overrides": overrides}
            if config is None:
                case["refused"] = text.split("\n")[0]
            else:
                case["saved"] = text.decode()
                if text_again != text:  # what was written and is read again is not always the same
                    case["saved_again"] = text_again.decode() if again is not None else None
            cases.append(case)
    lines = ",\n".join(json.dumps(case) for case in cases)
    (target / "random.json").write_text(f"[\n{lines}\n]\n")
    print(f"{len(cases)} random files, {sum('refused' in case for case in cases)} of them refused by transformers")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--caracal", default="build/release/tools/caracal", help="the command")
    parser.add_argument("--configs", default="tests/data/configs", help="folder of checkpoint folders")
    parser.add_argument("--draws", type=int, default=300, help="random files per class, and overrides per real file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write-goldens", metavar="DIR", help="write test data instead of comparing")
    args = parser.parse_args()
    if args.write_goldens:
        return write_goldens(args.configs, args.write_goldens, min(args.draws, 16), args.seed)
    checker = Checker(args.caracal)
    rng = random.Random(args.seed)
    for source in real_configs(args.configs):
        model_type = json.loads((source / "config.json").read_text())["model_type"]
        checker.check(f"{model_type}, real files", source, {})
        for _ in range(args.draws // 3):
            overrides = draw_overrides(rng, CLASSES[model_type], {})
            checker.check(f"{model_type}, real files with random overrides", source, overrides)
    for model_type, cls in CLASSES.items():
        for _ in range(args.draws):
            file = {"model_type": model_type} | draw_file(rng, cls)
            write_config(checker.work / "file", file)
            overrides = draw_overrides(rng, cls, file) if rng.random() < 0.8 else {}
            checker.check(f"{model_type}, random files", checker.work / "file", overrides)
    shutil.rmtree(checker.work)
    for kind, count in checker.counts.items():
        print(f"{kind}: {count['accepted']} accepted by transformers, {count['refused']} refused")
    print(f"{sum(sum(c.values()) for c in checker.counts.values())} compared, {checker.differences} differences")
    return int(checker.differences > 0)


if __name__ == "__main__":
    sys.exit(main())
