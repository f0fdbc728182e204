#!/usr/bin/env python3
"""The systems that compare_gpu.py times, one process each; requests and answers as in peers.py, and
    {"do": "probe"}    -> {"tflops": ..., "gbps": ...}: a large product in the dtype, a large copy (reading and writing)

    python peers_gpu.py torch|torch-tf32|compile-max|ort-fused --model DIR --work DIR --device cuda --dtype float16

Every call begins with arrays in the CPU's memory and ends with the outputs there, as caracal's: inputs go through pinned
memory, outputs come back to it, and nothing else waits for the device.
"""

import os
import time
from pathlib import Path

import numpy as np

import peers


class Torch(peers.Torch):
    """PyTorch eager, attention by scaled_dot_product_attention. float32 is IEEE's, in convolutions too, where PyTorch's
    default is TF32."""

    tf32 = False

    def __init__(self, args):
        super().__init__(args)
        backends = self.torch.backends
        backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = self.tf32
        if args.device != "cpu":
            if not self.torch.cuda.is_available():
                raise RuntimeError("no CUDA device that PyTorch can use")
            self.version += f", {self.torch.cuda.get_device_name()}"
        self.dtype = getattr(self.torch, args.dtype)
        self.model = self.model.to(args.device, self.dtype)

    def prepare(self, inputs):
        torch, device, pinned = self.torch, self.args.device, self.args.device != "cpu"
        inputs = {name: torch.from_numpy(array) for name, array in inputs.items()}
        if "attention_mask" in inputs and inputs["attention_mask"].all():  # without a mask SDPA takes its fastest path
            del inputs["attention_mask"]
        inputs = {name: x.to(self.dtype) if x.is_floating_point() else x for name, x in inputs.items()}
        host = {name: x.pin_memory() if pinned else x for name, x in inputs.items()}
        self.inputs = there = {name: x.to(device) for name, x in inputs.items()}
        results = {}

        def call():
            with torch.inference_mode():
                for name, x in host.items():
                    there[name].copy_(x, non_blocking=True)
                for name, x in self.function(**there).items():
                    if name not in peers.OUTPUTS:
                        continue
                    if name not in results:
                        results[name] = torch.empty(x.shape, dtype=x.dtype, pin_memory=pinned)
                    results[name].copy_(x, non_blocking=True)
                if pinned:
                    torch.cuda.synchronize()
            return results

        return call

    def probe(self):
        torch, size = self.torch, {"cpu": 1024}.get(self.args.device, 4096 if self.dtype == self.torch.float32 else 8192)
        a, b = (torch.randn(size, size, device=self.args.device, dtype=self.dtype) for _ in range(2))
        large = torch.empty(size * size * 8, device=self.args.device)

        def seconds(work, count=10):
            for _ in range(3):
                work()
            times = []
            for _ in range(count):
                self.wait()
                begin = time.perf_counter()
                work()
                self.wait()
                times.append(time.perf_counter() - begin)
            return sorted(times)[count // 2]

        return {"tflops": 2e-12 * size**3 / seconds(lambda: a @ b), "gbps": 2e-9 * large.nbytes / seconds(large.clone)}

    def wait(self):
        if self.args.device != "cpu":
            self.torch.cuda.synchronize()


class Tf32(Torch):
    """The same with products of float32 in TF32."""

    tf32 = True


class Compile(Torch):
    """torch.compile with mode max-autotune: CUDA graphs, and products chosen by trying cuBLAS and Triton's. A shape is
    compiled in a minute, so texts are padded together and not grouped."""

    groupings = staticmethod(peers.whole)

    def __init__(self, args):
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(args.work) / "inductor-gpu"))
        super().__init__(args)
        self.torch._dynamo.config.recompile_limit = 64

    def start(self):
        self.torch._dynamo.reset()
        self.function = self.torch.compile(self.model, dynamic=False, mode="max-autotune")


class Onnx:
    """ONNX Runtime on the graph after onnxruntime.transformers.optimizer, for float16 converted by it. Inputs and outputs
    are bound to memory of the device; with a CUDA graph where the model can be captured."""

    groupings = staticmethod(peers.whole)

    def __init__(self, args):
        import onnxruntime

        self.onnxruntime, self.args = onnxruntime, args
        if args.device != "cpu":
            if hasattr(onnxruntime, "preload_dlls"):
                onnxruntime.preload_dlls()
            if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
                raise RuntimeError(f"onnxruntime {onnxruntime.__version__} has no CUDA here (it needs onnxruntime-gpu)")
        if args.dtype == "bfloat16":
            raise RuntimeError("onnxruntime.transformers.optimizer makes no bfloat16")
        self.file = Path(args.work) / f"fused-gpu-{args.dtype}.onnx"
        for step, file in (("export", Path(args.work) / "raw.onnx"), (f"fuse-{args.dtype}", self.file)):
            if not file.exists():
                peers.in_a_child(step, args)
        self.version = f"onnxruntime {onnxruntime.__version__}"

    def start(self):
        pass

    def session(self, graph):
        options = self.onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = self.args.threads, 1, 3
        provider = "CPUExecutionProvider"
        if self.args.device != "cpu":
            provider = ("CUDAExecutionProvider", {"enable_cuda_graph": str(int(graph)), "use_tf32": "0"})
        return self.onnxruntime.InferenceSession(str(self.file), options, providers=[provider])

    def prepare(self, inputs):
        plain = self.session(False)
        dtypes = peers.DTYPES | {"tensor(float16)": np.float16}
        arrays = {i.name: np.ascontiguousarray(inputs[i.name].astype(dtypes[i.type])) for i in plain.get_inputs()}
        self.outputs = [output.name for output in plain.get_outputs()]
        results = plain.run(self.outputs, arrays)
        try:
            if self.args.device == "cpu":
                raise RuntimeError("no CUDA graphs on a CPU")
            call = self.bound(self.session(True), arrays, results)
            for _ in range(3):
                call()
            self.version += ", CUDA graph"
            return call
        except Exception as error:  # what cannot be captured says so in many ways
            print(f"without a CUDA graph: {error}", flush=True)
            return self.bound(plain, arrays, results)

    def bound(self, session, arrays, results):
        OrtValue, device = self.onnxruntime.OrtValue, self.args.device
        binding = session.io_binding()
        values = {name: OrtValue.ortvalue_from_numpy(array, device, 0) for name, array in arrays.items()}
        there = [OrtValue.ortvalue_from_numpy(result, device, 0) for result in results]
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in zip(self.outputs, there):
            binding.bind_ortvalue_output(name, value)

        def call():
            for name, value in values.items():
                value.update_inplace(arrays[name])
            session.run_with_iobinding(binding)
            return [value.numpy() for value in there]

        return call

    def arrays(self, result):
        return {name: array.astype(np.float32) for name, array in zip(self.outputs, result)}


KINDS = {"torch": Torch, "torch-tf32": Tf32, "compile-max": Compile, "ort-fused": Onnx}
STEPS = {
    "export": peers.export_onnx,
    "fuse-float32": lambda args: peers.fuse_onnx(args, "fused-gpu-float32.onnx", use_gpu=True),
    "fuse-float16": lambda args: peers.fuse_onnx(
        args, "fused-gpu-float16.onnx", lambda graph: graph.convert_float_to_float16(keep_io_types=False), use_gpu=True),
}  # fmt: skip


if __name__ == "__main__":
    peers.SCRIPT = __file__
    parser = peers.options(__doc__, [*KINDS, *STEPS])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])
    peers.main(parser.parse_args(), STEPS, lambda args: KINDS[args.peer](args))
