"""The cases of Wav2Vec2."""

from dataclasses import dataclass

import torch
from transformers import Wav2Vec2Config

from .common import Case, save_file
from .text_inputs import make_mask

BASE = dict(
    vocab_size=13, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
    conv_dim=[8, 8, 12], conv_kernel=[10, 3, 2], conv_stride=[5, 2, 2], num_conv_pos_embeddings=8,
    num_conv_pos_embedding_groups=4, initializer_range=0.2,
)  # fmt: skip
TINY = dict(num_hidden_layers=1)
LAYER = dict(feat_extract_norm="layer")  # as wav2vec2-large-lv60 and XLSR: both, and conv_bias
STABLE = LAYER | dict(do_stable_layer_norm=True, conv_bias=True)
TINY_STABLE = STABLE | TINY
MMS = STABLE | dict(adapter_attn_dim=6)
QUANTIZER = dict(num_codevectors_per_group=6, codevector_dim=8, proj_codevector_dim=10)
XVECTOR = dict(tdnn_dim=[10, 12, 14], tdnn_kernel=[5, 3, 1], tdnn_dilation=[1, 2, 1], xvector_output_dim=9)
CLEAR = 1e-3  # between the two largest scores of a quantizer, so that every float32 sum finds the same code


def frames_of(config, samples, adapter=False):
    """Frames of as many samples (an int or a tensor): those of the convolutions, or of the adapter behind them."""
    for kernel, stride in zip(config.conv_kernel, config.conv_stride):
        samples = (samples - kernel) // stride + 1
    for _ in range(config.num_adapter_layers if adapter and config.add_adapter else 0):
        samples = (samples - 1) // config.adapter_stride + 1
    return samples


def receptive_field(config, frames=1):
    """The fewest samples that give as many frames."""
    for kernel, stride in reversed(list(zip(config.conv_kernel, config.conv_stride))):
        frames = (frames - 1) * stride + kernel
    return frames


def frame_mask(config, mask, frames, adapter=False):
    """(B, frames) of a mask of samples (B, N), of which only the sums count."""
    return torch.arange(frames) < frames_of(config, mask.sum(-1, keepdim=True), adapter)


@dataclass(frozen=True)
class Audio:
    """One call. Lengths are the rows' samples; what lies behind them is 0, as a feature extractor pads."""

    name: str
    batch: int = 2
    samples: int = 400
    lengths: tuple = ()
    mask: str = ""  # give attention_mask: "right", or "left" and "holes" with as many samples
    mask_dtype: torch.dtype = torch.long
    time_mask: bool = False  # give mask_time_indices
    attentions: bool = True

    def make(self, config, generator, model):
        for _ in range(100):
            inputs = self.draw(config, generator)
            if clear(model, inputs):
                return inputs, {}
        raise ValueError(f"{self.name}: no audio in 100 whose codes are clear")

    def draw(self, config, generator):
        audio = torch.randn(self.batch, self.samples, generator=generator)
        inputs = {"input_values": audio}
        if self.lengths:
            mask = make_mask("right", self.batch, self.samples, generator, self.lengths)
            audio *= mask
            if self.mask == "left":
                mask = mask.flip(1)
            elif self.mask == "holes":
                mask = torch.stack([row[torch.randperm(self.samples, generator=generator)] for row in mask])
            if self.mask:
                inputs["attention_mask"] = mask.to(self.mask_dtype)
        if self.time_mask:
            chosen = torch.rand(self.batch, frames_of(config, self.samples), generator=generator) < 0.4
            chosen[:, 0] = True
            inputs["mask_time_indices"] = chosen
        return inputs


def clear(model, inputs):
    """Whether no frame's code hangs on a rounding."""
    quantizer = getattr(model, "quantizer", None)
    if quantizer is None:
        return True
    scores = []
    hook = quantizer.weight_proj.register_forward_hook(lambda module, given, result: scores.append(result))
    with torch.inference_mode():
        model(**inputs)
    hook.remove()
    best = scores[0].unflatten(-1, (quantizer.num_groups, -1)).topk(2).values
    return bool((best[..., 0] - best[..., 1] > CLEAR).all())


ONE, TWO = Audio("one", 1), Audio("two")
RAGGED = dict(batch=3, lengths=(400, 231, 75))
PADDED, MASKED = Audio("padded", **RAGGED), Audio("masked", mask="right", **RAGGED)
HEAD, HEAD_MASKED = Audio("two", attentions=False), Audio("masked", mask="right", attentions=False, **RAGGED)
TIME, TIME_MASKED = Audio("time", time_mask=True), Audio("time_masked", mask="right", time_mask=True, **RAGGED)
LONG_MASKED = Audio("masked", 2, 700, (700, 517), "right", attentions=False)
SHORTEST = Audio("one_frame", 2, 30)


def case(name, saved_as, changes, sets, **more):
    return Case(name, saved_as, Wav2Vec2Config(**{**BASE, **changes}), sets, **more)


def weight_norm_of_before(tensors):
    """The positional convolution's names in every checkpoint of the hub."""
    return {name.replace("parametrizations.weight.original0", "weight_g")
                .replace("parametrizations.weight.original1", "weight_v"): tensor
            for name, tensor in tensors.items()}  # fmt: skip


def dropped_prefix(tensors):
    return {name.removeprefix("wav2vec2."): tensor for name, tensor in tensors.items()}


def language(name, vocab_size):
    """Writes the attention adapters and the head of a language, for target_lang."""
    def write(path, model, generator):
        weights = {key: torch.randn(x.shape, generator=generator) * 0.3 for key, x in model._get_adapters().items()}
        head = torch.randn(vocab_size, weights["lm_head.weight"].shape[1], generator=generator)
        weights |= {"lm_head.weight": head * 0.3, "lm_head.bias": head[:, 0].clone()}
        save_file(weights, path / f"adapter.{name}.safetensors", {"format": "pt"})

    return write


MODEL, PRETRAINING, CTC = "Wav2Vec2Model", "Wav2Vec2ForPreTraining", "Wav2Vec2ForCTC"
SEQUENCE, FRAMES, SPEAKER = (
    f"Wav2Vec2For{x}" for x in ("SequenceClassification", "AudioFrameClassification", "XVector"))  # fmt: skip
CASES = [
    case("group", MODEL, {}, [ONE, TWO, PADDED, MASKED, SHORTEST]),
    case("group_bias", MODEL, dict(conv_bias=True), [TWO, PADDED]),
    case("group_stable", MODEL, TINY | dict(do_stable_layer_norm=True), [TWO, MASKED]),
    case("layer", MODEL, LAYER, [ONE, PADDED, MASKED, SHORTEST]),
    case("layer_bias", MODEL, LAYER | TINY | dict(conv_bias=True), [MASKED]),
    case("stable", MODEL, STABLE, [
        TWO, MASKED, Audio("left", mask="left", **RAGGED), Audio("holes", mask="holes", **RAGGED),
        Audio("bool_mask", mask="right", mask_dtype=torch.bool, **RAGGED),
        Audio("int32_mask", 4, 100, (30, 49, 50, 100), "right", mask_dtype=torch.int32)]),
    case("positions_odd", MODEL, TINY | dict(num_conv_pos_embeddings=7), [TWO]),
    case("positions_odd_layer", MODEL, LAYER | TINY | dict(num_conv_pos_embeddings=5, num_conv_pos_embedding_groups=1),
         [MASKED]),
    case("positions_1", MODEL, TINY | dict(num_conv_pos_embeddings=1, num_conv_pos_embedding_groups=16), [TWO]),
    case("positions_128", MODEL, LAYER | TINY | dict(
        hidden_size=32, num_conv_pos_embeddings=128, num_conv_pos_embedding_groups=16),
        [HEAD, Audio("masked", 2, 900, (900, 333), "right", attentions=False)]),
    # The default geometry: 400 samples see one frame, 320 more another.
    case("base_geometry", MODEL, TINY | dict(
        conv_dim=[8] * 7, conv_kernel=[10, 3, 3, 3, 3, 2, 2], conv_stride=[5, 2, 2, 2, 2, 2, 2]),
        [Audio("one_frame", 1, 400), Audio("two", 2, 1679), Audio("padded", 2, 2000, (2000, 1040))]),
    case("large_geometry", MODEL, TINY_STABLE | dict(
        conv_dim=[8] * 7, conv_kernel=[10, 3, 3, 3, 3, 2, 2], conv_stride=[5, 2, 2, 2, 2, 2, 2]),
        [Audio("masked", 3, 2000, (2000, 1039, 1040), "right")]),
    case("one_conv", MODEL, TINY | dict(conv_dim=[12], conv_kernel=[16], conv_stride=[20]), [TWO]),  # gaps between
    case("four_convs", MODEL, LAYER | TINY | dict(conv_dim=[4, 6, 10, 7], conv_kernel=[7, 1, 4, 3],
         conv_stride=[4, 1, 3, 2]), [Audio("masked", 3, 397, (397, 200, 120), "right")]),
    case("activations", MODEL, TINY | dict(feat_extract_activation="relu", hidden_act="silu"), [TWO]),
    case("activations_layer", MODEL, TINY_STABLE | dict(feat_extract_activation="gelu_new", hidden_act="relu"),
         [MASKED]),
    case("quick_gelu", MODEL, TINY | dict(feat_extract_activation="quick_gelu", hidden_act="gelu_new"), [HEAD]),
    case("odd_sizes", MODEL, TINY_STABLE | dict(
        hidden_size=30, num_attention_heads=3, intermediate_size=41, conv_dim=[5, 9, 11],
        num_conv_pos_embedding_groups=5), [MASKED]),
    # Small weights: the norms' variance is near eps, so a wrong eps moves every output.
    case("eps", MODEL, TINY | dict(layer_norm_eps=1e-3, initializer_range=0.02), [HEAD]),
    case("time_mask", MODEL, TINY_STABLE, [TIME, TIME_MASKED]),
    case("no_time_mask", MODEL, TINY | dict(apply_spec_augment=False), [TIME]),  # given, but ignored
    case("no_mask_vector", MODEL, TINY | dict(mask_time_prob=0.0), [HEAD]),
    case("adapter", MODEL, TINY_STABLE | dict(add_adapter=True), [TWO, MASKED]),
    case("adapter_size", MODEL, TINY | dict(
        add_adapter=True, output_hidden_size=10, num_adapter_layers=1, adapter_kernel_size=5, adapter_stride=3),
        [TWO, MASKED]),
    case("adapter_kernel", MODEL, TINY_STABLE | dict(
        add_adapter=True, output_hidden_size=20, num_adapter_layers=2, adapter_kernel_size=2, adapter_stride=1),
        [HEAD]),
    case("attention_adapter", MODEL, MMS, [TWO, MASKED]),
    case("attention_adapter_unused", MODEL, TINY | dict(adapter_attn_dim=6), [HEAD]),  # post-norm layers have none
    case("pretraining", PRETRAINING, QUANTIZER, [TWO, PADDED, TIME]),
    case("pretraining_stable", PRETRAINING, TINY_STABLE | QUANTIZER, [MASKED, TIME_MASKED]),
    case("pretraining_one_group", PRETRAINING, TINY | QUANTIZER | dict(
        num_codevector_groups=1, num_codevectors_per_group=17), [HEAD]),
    case("pretraining_groups", PRETRAINING, TINY | QUANTIZER | dict(
        num_codevector_groups=4, num_codevectors_per_group=3, codevector_dim=12), [HEAD]),
    case("ctc", CTC, {}, [ONE, TWO, PADDED]),
    case("ctc_stable", CTC, STABLE, [HEAD, HEAD_MASKED]),
    case("ctc_adapter", CTC, TINY_STABLE | dict(add_adapter=True, output_hidden_size=10, num_adapter_layers=2),
         [HEAD, HEAD_MASKED]),
    case("ctc_language", CTC, MMS | TINY, [HEAD_MASKED], extra=language("fra", 13), load=dict(target_lang="fra")),
    case("ctc_language_vocabulary", CTC, MMS | TINY, [HEAD_MASKED], extra=language("cmn-script_simplified", 21),
         load=dict(target_lang="cmn-script_simplified")),
    case("ctc_no_language", CTC, MMS | TINY, [HEAD], extra=language("fra", 13)),  # the checkpoint's own stays
    case("sequence", SEQUENCE, dict(num_labels=5, classifier_proj_size=9), [TWO, PADDED, MASKED]),
    case("sequence_weighted", SEQUENCE, STABLE | dict(
        num_labels=3, classifier_proj_size=12, use_weighted_layer_sum=True), [HEAD, HEAD_MASKED]),
    case("frames", FRAMES, dict(num_labels=4), [HEAD, HEAD_MASKED]),
    case("frames_weighted", FRAMES, STABLE | dict(use_weighted_layer_sum=True), [HEAD, HEAD_MASKED]),
    case("xvector", SPEAKER, XVECTOR, [HEAD, Audio("padded", 2, 500, (500, 300), attentions=False)]),
    case("xvector_stable", SPEAKER, STABLE | XVECTOR | dict(num_labels=6), [HEAD, LONG_MASKED]),
    case("xvector_weighted", SPEAKER, TINY | XVECTOR | dict(
        use_weighted_layer_sum=True, tdnn_dim=[8, 8, 8, 8, 11], tdnn_kernel=[5, 3, 3, 1, 1],
        tdnn_dilation=[1, 2, 3, 1, 1]), [LONG_MASKED]),
    case("weight_norm_of_before", CTC, TINY, [HEAD], edit=weight_norm_of_before),
    case("dropped_prefix", CTC, TINY, [HEAD], edit=dropped_prefix),
    case("model_from_ctc", CTC, TINY_STABLE, [HEAD], task="AutoModel"),
    case("ctc_from_pretraining", PRETRAINING, TINY | QUANTIZER, [HEAD], task="AutoModelForCTC",
         edit=weight_norm_of_before),
    case("sequence_from_model", MODEL, TINY, [HEAD], task="AutoModelForAudioClassification"),
    case("ctc_mismatched", CTC, TINY, [HEAD], load=dict(vocab_size=9, ignore_mismatched_sizes=True)),
    case("fewer_layers", CTC, {}, [HEAD], load=dict(num_hidden_layers=1)),
    case("float16", CTC, TINY, [HEAD], dtype=torch.float16),
    case("bfloat16", SPEAKER, TINY_STABLE | XVECTOR, [HEAD], dtype=torch.bfloat16),
    case("sharded", CTC, TINY, [HEAD], save=dict(max_shard_size="5KB")),
]  # fmt: skip
