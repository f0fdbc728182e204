#!/usr/bin/env python3
"""The systems that compare.py times, one process each.

    python peers.py PEER --model DIR --work DIR --threads N

Reads one JSON request a line on stdin and answers each with one JSON line (any other output goes to stderr):
    {"do": "prepare", "cell": FILE}    load inputs, compile for their shape    -> {"ready_s": ...}
    {"do": "output", "file": FILE}     write the outputs
    {"do": "time", "warmup_s": ..., "seconds": ...}    -> {"p50_ms", "p90_ms", "p99_ms", "min_ms", "mean_ms", "calls"}
The cell file holds input_ids and attention_mask (B, S) I64, or pixel_values (B, C, height, width) F32. Every peer
returns what the model of transformers' AutoModel returns: last_hidden_state and, where there is a pooler, pooler_output.
"""

import argparse
import contextlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

NAMES = ["torch", "compile", "compile-dynamic", "ort", "ort-fused", "openvino"]
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
        model = transformers.AutoModel.from_pretrained(args.model, dtype=torch.float32, attn_implementation="sdpa")
        self.model = model.eval()

    def prepare(self, inputs):
        self.inputs = {name: self.torch.from_numpy(array) for name, array in inputs.items()}
        if self.inputs.get("attention_mask", self.torch.zeros(1)).all():  # without a mask SDPA takes its fastest path
            del self.inputs["attention_mask"]
        self.function = self.model

    def call(self):
        with self.torch.inference_mode():
            return self.function(**self.inputs)

    def output(self):
        return {name: value.numpy() for name, value in self.call().items() if name in OUTPUTS}


class Compile(Torch):
    """torch.compile with the weights frozen into the graph, and so packed: by MKL where the shape is static, by oneDNN
    where it is dynamic. Which is faster depends on the CPU."""

    def __init__(self, args):
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(args.work) / "inductor"))
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
        super().__init__(args)
        import torch._inductor.config

        torch._inductor.config.freezing = True
        self.dynamic = args.peer == "compile-dynamic"

    def prepare(self, inputs):
        super().prepare(inputs)
        self.torch._dynamo.reset()
        self.function = self.torch.compile(self.model, dynamic=self.dynamic)
        self.call()


class Onnx:
    """ONNX Runtime on the graph as exported, or after onnxruntime.transformers.optimizer."""

    def __init__(self, args, fused):
        import onnxruntime

        file = Path(args.work) / ("fused.onnx" if fused else "raw.onnx")
        if not file.exists():
            # In a child, so that this process never holds PyTorch's threads and memory.
            status = os.spawnv(os.P_WAIT, sys.executable, [sys.executable, __file__, "export", "--model", args.model,
                                                           "--work", args.work])  # fmt: skip
            if status:
                raise RuntimeError("the ONNX export failed")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.version = f"onnxruntime {onnxruntime.__version__}"
        self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self.session.get_outputs()]

    def prepare(self, inputs):
        self.inputs = {i.name: inputs[i.name].astype(DTYPES[i.type]) for i in self.session.get_inputs()}

    def call(self):
        return self.session.run(self.outputs, self.inputs)

    def output(self):
        return dict(zip(self.outputs, self.call()))


class OpenVino:
    """OpenVINO in float32, compiled for the cell's static shape, one stream."""

    def __init__(self, args):
        import openvino

        self.openvino, self.args = openvino, args
        self.version = f"openvino {openvino.__version__}"
        file = Path(args.work) / "openvino.xml"
        if not file.exists():
            status = os.spawnv(os.P_WAIT, sys.executable, [sys.executable, __file__, "export-openvino", "--model",
                                                           args.model, "--work", args.work])  # fmt: skip
            if status:
                raise RuntimeError("the OpenVINO export failed")
        self.core = openvino.Core()
        self.file = file

    def prepare(self, inputs):
        model = self.core.read_model(self.file)
        model.reshape({name: list(array.shape) for name, array in inputs.items()})
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",  # the default is bfloat16 on CPUs that have it
            "INFERENCE_NUM_THREADS": self.args.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
        }
        self.request = self.core.compile_model(model, "CPU", settings).create_infer_request()
        self.inputs = inputs
        self.outputs = [output.get_any_name() for output in model.outputs]

    def call(self):
        return self.request.infer(self.inputs, share_inputs=True, share_outputs=True)

    def output(self):
        out = self.call()
        return {name: np.array(out[name]) for name in self.outputs}


def make_peer(args):
    if args.peer == "torch":
        return Torch(args)
    if args.peer in ("compile", "compile-dynamic"):
        return Compile(args)
    if args.peer == "openvino":
        return OpenVino(args)
    return Onnx(args, fused=args.peer == "ort-fused")


def exportable(args, attention):
    """The model with its inputs in their order and a tuple of outputs, example inputs, names of the outputs, config."""
    import torch
    import transformers

    model = transformers.AutoModel.from_pretrained(args.model, dtype=torch.float32, attn_implementation=attention)
    config = model.config
    if config.model_type == "vit":
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

    with torch.no_grad():
        outputs = [name for name in model.eval()(**inputs) if name in OUTPUTS]
    return (Image if "pixel_values" in inputs else Text)().eval(), inputs, outputs, config


def export_onnx(args):
    """raw.onnx and fused.onnx. Eager attention through the TorchScript exporter is the form whose every block the
    optimizer recognises; it finds no attention to fuse in the newer exporter's graph."""
    import torch
    from onnxruntime.transformers import optimizer

    model, inputs, outputs, config = exportable(args, "eager")
    raw, fused = Path(args.work) / "raw.onnx", Path(args.work) / "fused.onnx"
    axes = {name: {0: "batch"} for name in [*inputs, *outputs]}
    for name in ("input_ids", "attention_mask", "last_hidden_state"):
        if name in axes and config.model_type != "vit":
            axes[name][1] = "length"
    torch.onnx.export(model, tuple(inputs.values()), str(raw) + ".part", input_names=list(inputs), output_names=outputs,
                      dynamic_axes=axes, opset_version=17, dynamo=False)  # fmt: skip
    os.replace(str(raw) + ".part", raw)
    kind = "vit" if config.model_type == "vit" else "bert"
    graph = optimizer.optimize_model(str(raw), model_type=kind, num_heads=config.num_attention_heads,
                                     hidden_size=config.hidden_size, opt_level=0)  # fmt: skip
    counts = {op: n for op, n in graph.get_fused_operator_statistics().items() if n}
    print("fused operators:", counts, file=sys.stderr)
    if counts.get("Attention", 0) + counts.get("MultiHeadAttention", 0) < config.num_hidden_layers:
        raise RuntimeError(f"the optimizer did not fuse every attention: {counts}")
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


def measure(call, warmup_s, seconds):
    """Back to back calls: at least 3 and warmup_s not counted, then at least 3 and `seconds` counted."""
    begin = time.perf_counter()
    calls = 0
    while calls < 3 or time.perf_counter() - begin < warmup_s:
        call()
        calls += 1
    times = []
    begin = last = time.perf_counter()
    while len(times) < 3 or last - begin < seconds:
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


def serve(args, answer):
    begin = time.perf_counter()
    peer = make_peer(args)
    answer({"version": peer.version, "load_s": time.perf_counter() - begin})
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "prepare":
            begin = time.perf_counter()
            peer.prepare(load_file(request["cell"]))
            peer.call()
            answer({"ready_s": time.perf_counter() - begin})
        elif request["do"] == "output":
            arrays = {name: np.ascontiguousarray(array) for name, array in peer.output().items()}
            save_file(arrays, request["file"])
            answer({})
        elif request["do"] == "time":
            answer(measure(peer.call, request["warmup_s"], request["seconds"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=NAMES + ["export", "export-openvino"])
    parser.add_argument("--model", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.peer == "export":
        return export_onnx(args)
    if args.peer == "export-openvino":
        return export_openvino(args)
    # Answers keep the real stdout; whatever a library prints goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(message):
        print(json.dumps(message), file=answers, flush=True)

    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        try:
            serve(args, answer)
        except Exception as error:  # one line to the driver, which goes on with the other peers
            answer({"error": f"{type(error).__name__}: {error}"})
            raise


if __name__ == "__main__":
    main()
