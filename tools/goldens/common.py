"""What every architecture's goldens share: filling weights, running, storing a case and checking it."""

import copy
import json
import shutil
import sys
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).resolve().parent / "standin"))  # a detectron2, before transformers looks for one
import transformers
from safetensors.torch import load_file, safe_open
from safetensors.torch import save_file as save_private_file
from torch import nn
from transformers import DynamicCache, EncoderDecoderCache

DATA = Path(__file__).resolve().parent.parent.parent / "tests" / "data"
CHECK = 1e-5  # allowed |float32 - float64|, times max(1, |reference|); the tests allow 2e-5

HEADS = [
    "ForPreTraining", "ForMaskedLM", "ForNextSentencePrediction", "ForSequenceClassification", "ForMultipleChoice",
    "ForTokenClassification", "ForQuestionAnswering", "ForImageClassification", "ForMaskedImageModeling", "ForCTC",
    "ForAudioFrameClassification",
]  # fmt: skip
IRREGULAR = {
    "BertLMHeadModel": "AutoModelForCausalLM",
    "Wav2Vec2ForSequenceClassification": "AutoModelForAudioClassification",
    "Wav2Vec2ForXVector": "AutoModelForAudioXVector",
}


def task_of(class_name):
    """The Auto class that opens a checkpoint as `class_name`."""
    if class_name in IRREGULAR:
        return IRREGULAR[class_name]
    for head in HEADS:
        if class_name.endswith(head):
            return f"AutoModel{head}"
    return "AutoModel"


@dataclass
class Case:
    """One directory: configuration, input sets (each `make(config, generator, model)`), how the weights are stored."""

    name: str
    saved_as: str  # the class whose weights are saved
    config: Any
    sets: list
    task: str = ""  # the Auto class of the reference; by default the one of saved_as
    load: dict = field(default_factory=dict)  # arguments of from_pretrained
    init: dict = field(default_factory=dict)  # arguments of the saved class
    dtype: torch.dtype = torch.float32  # stored
    save: dict = field(default_factory=dict)  # arguments of save_pretrained
    edit: Callable | None = None  # changes the tensors of model.safetensors
    edit_config: Callable | None = None  # changes config.json
    extra: Callable | None = None  # (path, model, generator): writes further files
    embedding_range: float = 0.5


def save_file(tensors, path, metadata):
    save_private_file(tensors, path, metadata=metadata)
    path.chmod(0o644)  # safetensors writes for the owner only
    # It writes the metadata in another order each time: put that in order, for the same bytes from every run.
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])


def randomize(model, generator, embedding_range=0.5):
    """Fills every weight: normal(0, initializer_range), norm weights around 1; biases and padding rows are not 0."""
    norms = {id(m.weight) for m in model.modules() if isinstance(m, (nn.LayerNorm, nn.GroupNorm))}
    fixed = set()
    if getattr(model.config, "sinusoidal_pos_embds", False):  # a weight like any other, but sines that a test can know
        fixed = {id(model.base_model.get_position_embeddings().weight)}
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if id(weight) in norms:
            weight.data = 1 + 0.3 * noise
        elif name.endswith("bias"):
            weight.data = 0.3 * noise
        elif id(weight) in fixed:
            continue
        elif name.endswith("weight.original0"):  # the lengths of weight norm
            weight.data = 0.5 + 0.15 * noise
        elif name.endswith(("layer_weights", "codevectors", "weight_proj.weight", "rel_pos_bias.weight",
                            "rel_pos_x_bias.weight", "rel_pos_y_bias.weight")):  # what a softmax or a choice sees
            weight.data = noise
        elif ".backbone." in name:  # deep: every convolution keeps the scale
            weight.data = noise * (2 / weight[0].numel()) ** 0.5
        elif "embeddings" in name and "projection" not in name:  # tables, the class token, the mask token
            weight.data = embedding_range * noise
        else:
            weight.data = model.config.initializer_range * noise
    for name, buffer in model.named_buffers():
        if ".norm." in name:  # frozen batch norm
            noise = torch.rand(buffer.shape, generator=generator) - 0.5
            buffer.copy_(0.6 * noise + (1 if name.endswith(("weight", "running_var")) else 0))
            if name.endswith("conv3.norm.weight"):  # of many residuals
                buffer *= 0.3
    return model.eval()


def cache_from(inputs):
    """The Cache object of `past_key_values.<layer>.<part>` tensors, which run() may write to; None without any."""
    layers = sorted({int(name.split(".")[1]) for name in inputs if name.startswith("past_key_values.")})
    if not layers:
        return None
    parts = DynamicCache(), DynamicCache()
    for i in layers:
        for cache, prefix in zip(parts, ("", "cross_")):
            if f"past_key_values.{i}.{prefix}keys" in inputs:
                keys, values = (inputs[f"past_key_values.{i}.{prefix}{part}"].clone() for part in ("keys", "values"))
                cache.update(keys, values, i)
    return EncoderDecoderCache(*parts) if len(parts[1]) else parts[0]


def cache_tensors(cache):
    own, cross = cache, None
    if isinstance(cache, EncoderDecoderCache):
        own, cross = cache.self_attention_cache, cache.cross_attention_cache
    result = {}
    for prefix, part in (("", own), ("cross_", cross)):
        for i, layer in enumerate(part.layers if part is not None else []):
            result[f"past_key_values.{i}.{prefix}keys"] = layer.keys
            result[f"past_key_values.{i}.{prefix}values"] = layer.values
    return result


@contextmanager
def doubles_stay():
    """LayoutLMv2 masks its scores with the lowest number of the model's dtype after taking them to float32, where that
    of float64 does not fit: here float() leaves doubles as they are."""
    to_float = torch.Tensor.float
    torch.Tensor.float = lambda x: x if x.dtype == torch.float64 else to_float(x)
    try:
        yield
    finally:
        torch.Tensor.float = to_float


def run(model, inputs, arguments=None, attentions=True):
    """Every output of one call as {name: tensor}. Floating inputs are taken in the model's dtype."""
    inputs = {k: v.to(model.dtype) if v.dtype == torch.float32 and "mask" not in k else v for k, v in inputs.items()}
    tensors = {name: value for name, value in inputs.items() if not name.startswith("past_key_values.")}
    cache = cache_from(inputs)
    if cache is not None:
        tensors["past_key_values"] = cache
    in_double = model.dtype == torch.float64 and model.config.model_type == "layoutlmv2"
    with torch.inference_mode(), doubles_stay() if in_double else nullcontext():
        out = model(**tensors, **(arguments or {}), output_hidden_states=True, output_attentions=attentions)
    result = {}
    for name, value in out.items():
        if name == "loss":
            continue
        if isinstance(value, torch.Tensor):
            result[name] = value
        elif isinstance(value, tuple):
            result |= {f"{name}.{i}": x for i, x in enumerate(value)}
        else:
            result |= cache_tensors(value)
    return {name: tensor.contiguous().clone() for name, tensor in result.items()}


def worst(got, want):
    return max(float(((got[k].double() - want[k]).abs() / want[k].abs().clamp(min=1)).max()) for k in want)


def save_reference(path, inputs, outputs, metadata):
    """metadata: strings stay, anything else becomes JSON."""
    tensors = {f"inputs.{name}": tensor.contiguous() for name, tensor in inputs.items()}
    tensors |= {name: tensor.float() for name, tensor in outputs.items()}
    text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    save_file(tensors, path, text)


def read_metadata(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def load(path, task, arguments, dtype, seed=0):
    """The model that from_pretrained gives, and its loading info."""
    torch.manual_seed(seed)
    arguments = {key: value for key, value in arguments.items() if key != "dtype"}
    auto = getattr(transformers, task)
    model, info = auto.from_pretrained(
        path, dtype=dtype, attn_implementation="eager", output_loading_info=True, **arguments
    )  # eager, because sdpa gives no attentions
    report = {
        "missing_keys": sorted(info["missing_keys"]),
        "unexpected_keys": sorted(info["unexpected_keys"]),
        "mismatched_keys": sorted([key, list(a), list(b)] for key, a, b in info["mismatched_keys"]),
    }
    return model, report


def store(case, path, model):
    folder = path / case.load.get("subfolder", "")
    variant = {"variant": case.load["variant"]} if "variant" in case.load else {}
    model.to(case.dtype).save_pretrained(folder, **{"max_shard_size": "50GB"} | variant | case.save)
    for file in folder.iterdir():
        file.chmod(0o644)
    if case.edit:
        file = folder / "model.safetensors"
        save_file(case.edit(load_file(file)), file, metadata={"format": "pt"})
    if case.edit_config:
        config = case.edit_config(json.loads((folder / "config.json").read_text()))
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def make_case(root, case, seed):
    """Writes the directory; returns its line of the table and whether it is well-conditioned."""
    path = root / case.name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    saved = getattr(transformers, case.saved_as)(copy.deepcopy(case.config), **case.init)
    randomize(saved, generator, case.embedding_range)
    store(case, path, saved)
    if case.extra:
        case.extra(path, saved, generator)

    task = case.task or task_of(case.saved_as)
    arguments = dict(case.load)
    if case.dtype != torch.float32:
        arguments["dtype"] = "float32"
    model, info = load(path, task, arguments, torch.float32)
    exact, _ = load(path, task, arguments, torch.float64)
    fresh = bool(info["missing_keys"] or info["mismatched_keys"])
    other = load(path, task, arguments, torch.float32, seed=1)[0] if fresh else None
    error, outputs = 0.0, set()
    for i, inputs_of in enumerate(case.sets):
        inputs, options = inputs_of.make(model.config, generator, model)
        expected = run(model, inputs, options, inputs_of.attentions)
        if fresh:
            again = run(other, inputs, options, inputs_of.attentions)
            expected = {name: x for name, x in expected.items() if torch.equal(x, again[name])}
        assert expected, case.name
        double = run(exact, inputs, options, inputs_of.attentions)
        error = max(error, worst(expected, {name: double[name] for name in expected}))
        outputs |= {name.split(".")[0] for name in expected} - {"hidden_states", "attentions"}
        metadata = {"class": type(model).__name__, "task": task, "set": inputs_of.name, "arguments": options,
                    "load": arguments, "loading_info": info}  # fmt: skip
        save_reference(path / f"reference.{i}.safetensors", inputs, expected, metadata)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    report = "/".join(str(len(keys)) for keys in info.values())
    row = [f"{root.name}/{case.name}", type(model).__name__, str(len(case.sets)), str(size), report, f"{error:.1e}",
           " ".join(sorted(outputs))]  # fmt: skip
    return row, error <= CHECK


def print_table(rows):
    head = ["case", "class", "sets", "bytes", "m/u/m", "f32-f64", "outputs"]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    print(f"{len(rows)} cases, {sum(int(row[2]) for row in rows)} sets, {sum(int(row[3]) for row in rows)} bytes")
