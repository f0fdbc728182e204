#!/usr/bin/env python3
"""The systems that compare.py times, one process each.

    python peers.py PEER --model DIR --work DIR --threads N

Reads one JSON request a line on stdin and answers each with one JSON line (any other output goes to stderr):
    {"do": "prepare", "cell": FILE}    load inputs, compile for their shape    -> {"first_ms": ..., "groups": [...]}
    {"do": "output", "file": FILE}     write the outputs                       -> {"convolutions": {...}} from PyTorch
    {"do": "time", "warmup_s": ..., "seconds": ..., "every_ms": 0}    -> {"p50_ms", "p90_ms", "p99_ms", "min_ms", "mean_ms", "calls"}
The cell file holds input_ids and attention_mask (B, S) I64 (and, for LayoutLMv2, bbox (B, S, 4) I64 and image
(B, 3, 224, 224) U8), or pixel_values (B, C, height, width) F32, or input_values (B, N) F32. Every peer returns what transformers' AutoModel does: last_hidden_state and, where there is a
pooler, pooler_output. Texts of unequal lengths are padded together, or sorted by length and called in 2, 4 or 8 groups:
whichever this peer does fastest.
"""

import argparse
import contextlib
import json
import os
import re
import sys
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools" / "goldens" / "standin"))  # detectron2, of LayoutLMv2

NAMES = ["torch", "compile", "compile-dynamic", "compile-max", "ort", "ort-fused", "openvino", "openvino-dynamic",
         "torch-bf16", "compile-bf16", "openvino-bf16", "torch-int8", "ort-int8", "ort-fused-int8", "openvino-int8"]  # fmt: skip
OUTPUTS = ["last_hidden_state", "pooler_output"]
DTYPES = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(int64)": np.int64}


class Torch:
    """PyTorch eager, attention by scaled_dot_product_attention."""

    def __init__(self, args):
        import torch
        import transformers

        self.torch, self.args = torch, args
        torch.set_num_threads(args.threads)
        torch.set_num_interop_threads(1)
        self.version = f"torch {torch.__version__}, transformers {transformers.__version__}"
        model = load_model(args, "sdpa").eval()
        if args.peer.endswith("-bf16"):
            model = model.to(torch.bfloat16)
        if args.peer.endswith("-int8"):  # weights per channel, activations per tensor, found anew in each call
            from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

            torch.backends.quantized.engine = "onednn"  # of onednn, x86 and fbgemm the fastest here
            model = quantize_dynamic(model, {torch.nn.Linear: per_channel_dynamic_qconfig})
        self.model = model

    def start(self):
        self.function = self.model

    def prepare(self, inputs):
        inputs = {name: self.torch.from_numpy(array) for name, array in inputs.items()}
        if self.args.peer.endswith("-bf16"):
            inputs = {name: x.to(self.torch.bfloat16) if x.is_floating_point() else x for name, x in inputs.items()}
        self.inputs = inputs
        mask = inputs.get("attention_mask")
        if mask is not None and mask.all():  # without a mask SDPA takes its fastest path
            del inputs["attention_mask"]

        def call():
            with self.torch.inference_mode():
                return self.function(**inputs)

        return call

    def arrays(self, result):
        return {name: value.float().numpy() for name, value in result.items() if name in OUTPUTS}

    def count_convolutions(self):
        """FLOP and weights of the convolutions of a call, which no formula of the encoder counts. Of LayoutLMv2's pyramid
        only level 2 reaches the result."""
        count = {"flop": 0, "weights": 0}

        def add(module, inputs, output):
            weight = module.weight  # (out, in / groups, taps...)
            count["flop"] += 2 * output.numel() * weight[0].numel()
            count["weights"] += weight.numel()

        kinds = (self.torch.nn.Conv1d, self.torch.nn.Conv2d)
        hooks = [m.register_forward_hook(add) for name, m in self.model.named_modules()
                 if isinstance(m, kinds) and not re.search("fpn_output[345]", name)]  # fmt: skip
        with self.torch.inference_mode():
            self.model(**self.inputs)
        for hook in hooks:
            hook.remove()
        return count


class Compile(Torch):
    """torch.compile with the weights frozen into the graph, and so packed: by MKL where the shape is static, by oneDNN
    where it is dynamic. Which is faster depends on the CPU. compile-max also times C++ templates for each product."""

    def __init__(self, args):
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(args.work) / "inductor"))
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
        super().__init__(args)
        import torch._inductor.config

        torch._inductor.config.freezing = True
        torch._dynamo.config.recompile_limit = 16  # a shape each

    def start(self):
        self.torch._dynamo.reset()
        mode = "max-autotune" if self.args.peer == "compile-max" else None
        self.function = self.torch.compile(self.model, dynamic=self.args.peer == "compile-dynamic", mode=mode)


def load_model(args, attention):
    import torch
    import transformers

    if "layoutlmv2" in (Path(args.model) / "config.json").read_text():
        attention = "eager"  # the only one it has
    return transformers.AutoModel.from_pretrained(args.model, dtype=torch.float32, attn_implementation=attention)


SCRIPT = __file__  # that knows the steps; peers_gpu.py has steps of its own


def in_a_child(step, args):
    """Makes a file in another process, so that this one never holds PyTorch's threads and memory."""
    command = [sys.executable, SCRIPT, step, "--model", args.model, "--work", args.work]
    if os.spawnv(os.P_WAIT, sys.executable, command):
        raise RuntimeError(f"{step} failed")


class Onnx:
    """ONNX Runtime on the graph as exported, or after onnxruntime.transformers.optimizer; and either one with the
    weights in 8 bits by onnxruntime.quantization.quantize_dynamic."""

    def __init__(self, args):
        import onnxruntime

        fused, int8 = "fused" in args.peer, args.peer.endswith("-int8")
        steps = [("export", "raw.onnx"), ("fuse", "fused.onnx")][: 2 if fused else 1]
        if int8:
            steps.append(("quantize-fused", "fused-int8.onnx") if fused else ("quantize", "raw-int8.onnx"))
        for step, name in steps:
            file = Path(args.work) / name
            if not file.exists():
                in_a_child(step, args)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.version = f"onnxruntime {onnxruntime.__version__}"
        self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self.session.get_outputs()]

    def start(self):
        pass

    def prepare(self, inputs):
        inputs = {i.name: inputs[i.name].astype(DTYPES[i.type]) for i in self.session.get_inputs()}
        return lambda: self.session.run(self.outputs, inputs)

    def arrays(self, result):
        return dict(zip(self.outputs, result))


class OpenVino:
    """OpenVINO, one stream, compiled for the cell's static shape, or once for any shape: in float32, in bfloat16 (its
    default on CPUs that have it), or with weights in 8 bits by NNCF and dynamically quantised activations."""

    def __init__(self, args):
        import openvino

        self.openvino, self.args = openvino, args
        self.version = f"openvino {openvino.__version__}"
        int8 = args.peer.endswith("-int8")
        for step, name in [("export-openvino", "openvino.xml"), ("compress-openvino", "openvino-int8.xml")][: 1 + int8]:
            file = Path(args.work) / name
            if not file.exists():
                in_a_child(step, args)
        self.core = openvino.Core()
        self.file = file

    def start(self):
        self.compiled = self.compile({}) if self.args.peer == "openvino-dynamic" else None

    def compile(self, shapes):
        model = self.core.read_model(self.file)
        if shapes:
            model.reshape(shapes)
        self.outputs = [output.get_any_name() for output in model.outputs]
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if self.args.peer.endswith("-bf16") else "f32",
            "INFERENCE_NUM_THREADS": self.args.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
        }
        if self.args.peer.endswith("-int8"):
            settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = os.environ.get("OPENVINO_GROUP", "256")
        return self.core.compile_model(model, "CPU", settings)

    def prepare(self, inputs):
        compiled = self.compiled or self.compile({name: list(array.shape) for name, array in inputs.items()})
        request = compiled.create_infer_request()
        return lambda: request.infer(inputs, share_inputs=True, share_outputs=True)

    def arrays(self, result):
        return {name: np.array(result[name]) for name in self.outputs}


def make_peer(args):
    kinds = {"torch": Torch, "compile": Compile, "openvino": OpenVino, "ort": Onnx}
    return kinds[args.peer.split("-")[0]](args)


def exportable(args, attention):
    """The model with its inputs in their order and a tuple of outputs, example inputs, names of the outputs, config."""
    import torch

    model = load_model(args, attention)
    config = model.config
    if config.model_type == "layoutlmv2":
        raise RuntimeError("LayoutLMv2 is measured beside PyTorch only")
    if config.model_type == "wav2vec2":
        inputs = {"input_values": torch.randn(2, 16000)}
    elif config.model_type == "vit":
        inputs = {"pixel_values": torch.randn(2, config.num_channels, config.image_size, config.image_size)}
    else:
        inputs = {"input_ids": torch.randint(0, config.vocab_size, (2, 16)), "attention_mask": torch.ones(2, 16).long()}
        inputs["attention_mask"][1, 9:] = 0

    class Outputs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def run(self, **inputs):
            out = self.model(**inputs)
            return tuple(out[name] for name in outputs)

    class Text(Outputs):
        def forward(self, input_ids, attention_mask):
            return self.run(input_ids=input_ids, attention_mask=attention_mask)

    class Image(Outputs):
        def forward(self, pixel_values):
            return self.run(pixel_values=pixel_values)

    class Audio(Outputs):
        def forward(self, input_values):
            return self.run(input_values=input_values)

    with torch.no_grad():
        outputs = [name for name in model.eval()(**inputs) if name in OUTPUTS]
    kind = {"pixel_values": Image, "input_values": Audio}.get(next(iter(inputs)), Text)
    return kind().eval(), inputs, outputs, config


def export_onnx(args):
    """raw.onnx. Eager attention through the TorchScript exporter is the form whose every block the optimizer
    recognises; it finds no attention to fuse in the newer exporter's graph."""
    import torch

    model, inputs, outputs, _ = exportable(args, "eager")
    raw = Path(args.work) / "raw.onnx"
    axes = {name: {0: "batch"} for name in [*inputs, *outputs]}
    if "input_ids" in inputs:
        for name in ("input_ids", "attention_mask", "last_hidden_state"):
            axes[name][1] = "length"
    if "input_values" in inputs:
        axes["input_values"][1], axes["last_hidden_state"][1] = "samples", "frames"
    torch.onnx.export(model, tuple(inputs.values()), str(raw) + ".part", input_names=list(inputs), output_names=outputs,
                      dynamic_axes=axes, opset_version=17, dynamo=False)  # fmt: skip
    os.replace(str(raw) + ".part", raw)


def fuse_onnx(args, name="fused.onnx", finish=lambda graph: None, **options):
    """fused.onnx from raw.onnx."""
    import onnx
    import transformers
    from onnxruntime.transformers import optimizer

    raw, fused = Path(args.work) / "raw.onnx", Path(args.work) / name
    config = transformers.AutoConfig.from_pretrained(args.model)
    kind, source = "bert", raw
    if config.model_type == "vit":
        # Attention without a mask is found by the patterns made for CLIP, which want the residual as the first operand.
        kind, source = "clip", Path(args.work) / "residual_first.onnx"
        graph = onnx.load(raw)
        for node in graph.graph.node:
            if node.op_type == "Add" and "/o_proj/Add" in node.input[0]:
                node.input[0], node.input[1] = node.input[1], node.input[0]
        onnx.save(graph, source)
    graph = optimizer.optimize_model(str(source), model_type=kind, num_heads=config.num_attention_heads,
                                     hidden_size=config.hidden_size, opt_level=0, **options)  # fmt: skip
    counts = {op: n for op, n in graph.get_fused_operator_statistics().items() if n}
    print("fused operators:", counts, file=sys.stderr)
    if config.model_type == "wav2vec2":
        print("no attention of Wav2Vec2 is known to the optimizer", file=sys.stderr)
    elif counts.get("Attention", 0) + counts.get("MultiHeadAttention", 0) < config.num_hidden_layers:
        raise RuntimeError(f"the optimizer did not fuse every attention: {counts}")
    finish(graph)
    graph.save_model_to_file(str(fused) + ".part")
    os.replace(str(fused) + ".part", fused)


def export_openvino(args):
    """From the PyTorch model with SDPA, which OpenVINO keeps as one operator."""
    import openvino

    model, inputs, outputs, _ = exportable(args, "sdpa")
    converted = openvino.convert_model(model, example_input=inputs)
    for output, name in zip(converted.outputs, outputs):
        output.get_tensor().set_names({name})
    openvino.save_model(converted, Path(args.work) / "openvino.xml", compress_to_fp16=False)


def quantize_onnx(args):
    """raw-int8.onnx or fused-int8.onnx: MatMul's weights in 8 bits, a scale for each column."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    name = "fused" if args.peer == "quantize-fused" else "raw"
    source, target = Path(args.work) / f"{name}.onnx", Path(args.work) / f"{name}-int8.onnx"
    quantize_dynamic(source, f"{target}.part", per_channel=True, weight_type=QuantType.QInt8,
                     op_types_to_quantize=["MatMul", "Attention"])  # fmt: skip
    os.replace(f"{target}.part", target)


def compress_openvino(args):
    """openvino-int8.xml: weights in 8 bits, a scale for each output."""
    import nncf
    import openvino

    model = openvino.Core().read_model(Path(args.work) / "openvino.xml")
    model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
    openvino.save_model(model, Path(args.work) / "openvino-int8.xml", compress_to_fp16=False)


STEPS = {"export": export_onnx, "fuse": fuse_onnx, "quantize": quantize_onnx, "quantize-fused": quantize_onnx,
         "export-openvino": export_openvino, "compress-openvino": compress_openvino}  # fmt: skip


class Batch:
    """A cell's inputs as the peer is called with them: one padded batch, or groups of like lengths."""

    def __init__(self, peer, inputs, groups):
        self.peer, self.groups, self.shape = peer, groups, inputs[next(iter(inputs))].shape
        begin = time.perf_counter()
        self.calls = []
        for rows in groups:
            part = {name: array[rows] for name, array in inputs.items()}
            if len(groups) > 1:
                longest = part["attention_mask"].sum(axis=1).max()
                part = {name: np.ascontiguousarray(array[:, :longest]) for name, array in part.items()}
            self.calls.append(peer.prepare(part))
        self()
        self.first_ms = (time.perf_counter() - begin) * 1e3

    def __call__(self):
        return [call() for call in self.calls]

    def output(self):
        if len(self.groups) == 1:
            return self.peer.arrays(self.calls[0]())
        merged = {}
        for rows, result in zip(self.groups, self()):
            for name, array in self.peer.arrays(result).items():
                shape = self.shape[: array.ndim - 1] + array.shape[-1:]
                into = merged.setdefault(name, np.zeros(shape, array.dtype))
                into[(rows, slice(array.shape[1])) if array.ndim == 3 else rows] = array
        return merged


def whole(inputs):
    """All rows at once."""
    yield [np.arange(len(next(iter(inputs.values()))))]


def groupings(inputs):
    """All rows at once; of texts of unequal lengths also 2, 4 and 8 groups of neighbours in length."""
    mask = inputs.get("attention_mask")
    batch = len(next(iter(inputs.values())))
    yield from whole(inputs)
    if mask is not None and not mask.all():
        by_length = np.argsort(mask.sum(axis=1), kind="stable")
        for count in (2, 4, 8):
            if count <= batch:
                yield np.array_split(by_length, count)


def measure(call, warmup_s, seconds, every_ms=0):
    """At least 3 calls and warmup_s not counted, then at least 3 and `seconds` counted: back to back, or one each
    every_ms, between which the caller sleeps."""
    begin = time.perf_counter()
    calls = 0
    while calls < 3 or time.perf_counter() - begin < warmup_s:
        call()
        calls += 1
    times = []
    begin = last = time.perf_counter()
    while len(times) < 3 or last - begin < seconds:
        if every_ms:
            time.sleep(max(0, begin + (len(times) + 1) * every_ms / 1e3 - time.perf_counter()))
            last = time.perf_counter()
        call()
        now = time.perf_counter()
        times.append((now - last) * 1e3)
        last = now
    times.sort()
    percentile = lambda p: times[min(len(times) - 1, int(p * len(times)))]  # noqa: E731
    return {
        "p50_ms": percentile(0.5), "p90_ms": percentile(0.9), "p99_ms": percentile(0.99), "min_ms": times[0],
        "mean_ms": sum(times) / len(times), "calls": len(times),
    }  # fmt: skip


def serve(args, answer, make_peer):
    begin = time.perf_counter()
    peer = make_peer(args)
    answer({"version": peer.version, "load_ms": (time.perf_counter() - begin) * 1e3})
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "prepare":
            inputs = load_file(request["cell"])
            peer.start()
            batches = [Batch(peer, inputs, groups) for groups in getattr(peer, "groupings", groupings)(inputs)]
            batch = min(batches, key=lambda each: measure(each, 0.1, 0.5)["p50_ms"]) if len(batches) > 1 else batches[0]
            answer({"first_ms": batch.first_ms, "groups": [len(rows) for rows in batch.groups]})
            del batches
        elif request["do"] == "output":
            save_file({name: np.ascontiguousarray(array) for name, array in batch.output().items()}, request["file"])
            answer({"convolutions": peer.count_convolutions()} if args.peer == "torch" else {})
        elif request["do"] == "probe":
            answer(peer.probe())
        elif request["do"] == "time":
            answer(measure(batch, request["warmup_s"], request["seconds"], request["every_ms"]))


def options(description, names):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=names)
    parser.add_argument("--model", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--threads", type=int, default=1)
    return parser


def main(args, steps, make_peer):
    if args.peer in steps:
        return steps[args.peer](args)
    # Answers keep the real stdout; whatever a library prints goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(message):
        print(json.dumps(message), file=answers, flush=True)

    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        try:
            serve(args, answer, make_peer)
        except Exception as error:  # one line to the driver, which goes on with the other peers
            answer({"error": f"{type(error).__name__}: {error}"})
            raise


if __name__ == "__main__":
    main(options(__doc__, NAMES + list(STEPS)).parse_args(), STEPS, make_peer)
