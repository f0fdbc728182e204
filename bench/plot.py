"""Draws a result of compare.py: one panel per cell, a bar per system in ms, its ratio to the base beside it."""

# One colour per system, the same in every plot; caracal stands out, the peers are muted.
COLORS = {
    "caracal": "#c8551b",
    "caracal-onednn": "#d98a5f",
    "caracal-eigen": "#e3ad8e",
    "caracal-cublas": "#e3ad8e",
    "caracal-tf32": "#d98a5f",
    "torch": "#8d99ae",
    "torch-tf32": "#a5b0c2",
    "compile": "#6c7a92",
    "compile-dynamic": "#56637a",
    "compile-max": "#434f63",
    "ort": "#9fb8a0",
    "ort-fused": "#73946f",
    "openvino": "#a79ac0",
    "openvino-dynamic": "#8a7ba8",
    "torch-bf16": "#8d99ae",
    "compile-bf16": "#6c7a92",
    "openvino-bf16": "#a79ac0",
    "torch-int8": "#8d99ae",
    "ort-int8": "#9fb8a0",
    "ort-fused-int8": "#73946f",
    "openvino-int8": "#a79ac0",
}
LABELS = {
    "caracal-onednn": "caracal on oneDNN",
    "caracal-eigen": "caracal on Eigen",
    "caracal-cublas": "caracal on cuBLASLt",
    "caracal-tf32": "caracal, TF32",
    "torch": "PyTorch eager",
    "torch-tf32": "PyTorch eager, TF32",
    "compile": "torch.compile, static",
    "compile-dynamic": "torch.compile, dynamic",
    "compile-max": "torch.compile, max-autotune",
    "ort": "ONNX Runtime",
    "ort-fused": "ONNX Runtime, fused",
    "openvino": "OpenVINO f32",
    "openvino-dynamic": "OpenVINO f32, dynamic",
    "torch-bf16": "PyTorch eager",
    "compile-bf16": "torch.compile, static",
    "openvino-bf16": "OpenVINO",
    "torch-int8": "PyTorch dynamic",
    "ort-int8": "ONNX Runtime dynamic",
    "ort-fused-int8": "ONNX Runtime dynamic, fused",
    "openvino-int8": "OpenVINO dynamic",
}


def describe(result, cell):
    """"bert-base 1 x 128", "vit-base-16-224 4 images", "wav2vec2-base 1 x 5 s"."""
    if cell.get("kind") == "audio":
        return f"{cell['model']} {cell['batch']} x {cell['cell'].split('x')[1][:-1]} s"
    if cell.get("images") or cell.get("kind") == "images":
        return f"{cell['model']} {cell['batch']} image" + ("s" if cell["batch"] > 1 else "")
    ragged = " ragged" if cell["cell"].endswith("r") else ""
    return f"{cell.get('model') or result['model']} {cell['batch']} x {cell['seq']}{ragged}"


def draw(result, stem):
    """Writes stem.png and stem.svg."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"font.size": 9, "svg.hashsalt": "caracal"})
    import matplotlib.pyplot as plt

    cells = result["cells"]
    columns = min(3, len(cells))
    rows = -(-len(cells) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.6 * columns, 2.4 * rows + 0.8), squeeze=False)
    for axis in axes.flat[len(cells) :]:
        axis.set_visible(False)
    for axis, cell in zip(axes.flat, cells):
        names = list(cell["systems"])
        values = [cell["systems"][name]["p50_ms"] for name in names]
        axis.barh(range(len(names)), values, color=[COLORS.get(name, "#bbbbbb") for name in names], height=0.7)
        for y, name in enumerate(names):
            entry = cell["systems"][name]
            ratio = "" if name == cell["base"] else f"  ({entry['ratio']['median']:.2f}×)"
            axis.text(entry["p50_ms"] + 0.015 * max(values), y, f"{entry['p50_ms']:.1f}{ratio}", va="center")
        axis.axvline(cell["floor_ms"], color="black", linewidth=0.8, linestyle=":")
        axis.set_yticks(range(len(names)), [LABELS.get(name, name) for name in names])
        axis.invert_yaxis()
        axis.set_xlim(0, 1.3 * max(values))
        axis.spines[["top", "right"]].set_visible(False)
        title = describe(result, cell).replace(" x ", " × ") + ("" if cell["clean"] else " *")
        axis.set_title(title, loc="left", fontweight="bold")
        axis.set_xlabel("ms per forward (p50)")
    base = cells[0]["base"] if cells else ""
    heading = result.get("heading") or (
        f"{result.get('dtype', 'float32')}, {result['threads']} threads, {result['cpu']['name']}, {result['date'][:10]}")  # fmt: skip
    figure.suptitle(
        f"{heading}\n"
        f"in brackets: time relative to {LABELS.get(base, base)}; dotted: the machine's floor; *: the machine was not all ours",
        fontsize=9,
    )
    figure.tight_layout()
    figure.savefig(f"{stem}.png", dpi=110)
    figure.savefig(f"{stem}.svg", metadata={"Date": None})
    plt.close(figure)
