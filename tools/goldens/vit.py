"""The cases of ViT."""

from dataclasses import dataclass

import torch
from transformers import ViTConfig

from .common import Case

BASE = dict(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=16, patch_size=4,
    encoder_stride=4, initializer_range=0.2,
)  # fmt: skip
SMALL = dict(hidden_size=16, intermediate_size=24, num_attention_heads=2)
TINY = SMALL | dict(num_hidden_layers=1, image_size=12)  # for what is about heads and storage


@dataclass(frozen=True)
class Images:
    """One call; height and width are the configuration's unless given."""

    name: str
    batch: int = 2
    height: int = 0
    width: int = 0
    masked: bool = False  # give bool_masked_pos
    interpolate: bool = False
    attentions: bool = True

    def make(self, config, generator, model):
        size, patch = ([x, x] if isinstance(x, int) else list(x) for x in (config.image_size, config.patch_size))
        height, width = self.height or size[0], self.width or size[1]
        inputs = {"pixel_values": torch.randn(self.batch, config.num_channels, height, width, generator=generator)}
        if self.masked:
            patches = (height // patch[0]) * (width // patch[1])
            inputs["bool_masked_pos"] = torch.rand(self.batch, patches, generator=generator) < 0.4
        return inputs, {"interpolate_pos_encoding": True} if self.interpolate else {}


ONE, TWO, FIVE = Images("one", 1), Images("two", 2), Images("five", 5, attentions=False)
HEAD = Images("two", 2, attentions=False)
MASKED = Images("masked", 2, masked=True, attentions=False)
LARGER = Images("larger", 1, 24, 24, interpolate=True)
SMALLER = Images("smaller", 2, 8, 8, interpolate=True)
WIDER = Images("wider", 2, 12, 28, interpolate=True)
INTERPOLATED = [
    LARGER, SMALLER, WIDER,
    Images("same", 1, interpolate=True),
    Images("same_patches", 1, 8, 32, interpolate=True),  # as many patches in another shape
    Images("remainder", 1, 21, 18, interpolate=True),  # pixels that fill no patch are left out
    Images("one_patch", 1, 4, 4, interpolate=True),
]  # fmt: skip


def case(name, saved_as, changes, sets, **more):
    return Case(name, saved_as, ViTConfig(**{**BASE, **changes}), sets, **more)


def dropped_prefix(tensors):
    return {name.removeprefix("vit."): tensor for name, tensor in tensors.items()}


NEW_NAMES = dict(save_original_format=False)
MODEL, CLASSIFIER, MASKING = "ViTModel", "ViTForImageClassification", "ViTForMaskedImageModeling"
CASES = [
    case("base", MODEL, {}, [ONE, TWO, FIVE]),
    case("no_pooler", MODEL, TINY, [HEAD], init=dict(add_pooling_layer=False), load=dict(add_pooling_layer=False)),
    case("unused_pooler", MODEL, TINY, [HEAD], load=dict(add_pooling_layer=False)),
    case("pooler_size", MODEL, TINY | dict(pooler_output_size=11), [HEAD]),
    case("pooler_relu", MODEL, TINY | dict(pooler_act="relu"), [HEAD]),
    case("no_qkv_bias", MODEL, SMALL | dict(qkv_bias=False), [TWO]),
    case("gray", MODEL, SMALL | dict(num_channels=1), [TWO]),
    case("channels4", MODEL, SMALL | dict(num_channels=4), [TWO]),
    case("wide_image", MODEL, SMALL | dict(image_size=[8, 20]), [TWO]),
    case("tall_patches", MODEL, SMALL | dict(image_size=[24, 15], patch_size=[6, 5]), [TWO]),
    case("remainder", MODEL, TINY | dict(image_size=14), [HEAD]),
    case("one_patch", MODEL, SMALL | dict(image_size=4), [TWO]),
    case("interpolate", MODEL, SMALL, INTERPOLATED),
    case("interpolate_odd", MODEL, SMALL | dict(image_size=[15, 15], patch_size=5, num_channels=1), [
        Images("larger", 1, 25, 40, interpolate=True), Images("smaller", 1, 10, 5, interpolate=True)]),
    case("head_dim", MODEL, SMALL | dict(head_dim=6), [TWO]),
    case("relu", MODEL, TINY | dict(hidden_act="relu"), [HEAD]),
    case("quick_gelu", MODEL, TINY | dict(hidden_act="quick_gelu"), [HEAD]),
    case("gelu_pytorch_tanh", MODEL, TINY | dict(hidden_act="gelu_pytorch_tanh"), [HEAD]),
    case("odd_sizes", MODEL, dict(hidden_size=30, intermediate_size=41, num_attention_heads=3), [HEAD]),
    # Small weights: the norms' variance is near eps, so a wrong eps moves every output.
    case("eps_1e-3", MODEL, TINY | dict(layer_norm_eps=1e-3, initializer_range=0.002), [HEAD], embedding_range=0.02),
    case("mask_token", MODEL, SMALL, [TWO, MASKED], init=dict(use_mask_token=True), load=dict(use_mask_token=True)),
    case("image_classification", CLASSIFIER, SMALL | dict(num_labels=7), [ONE, TWO, FIVE]),
    case("image_classification_names", CLASSIFIER, TINY | dict(
        id2label={0: "tench", 1: "goldfish", 2: "white shark"}, label2id={"tench": 0, "goldfish": 1, "white shark": 2}),
        [HEAD]),
    case("image_classification_no_labels", CLASSIFIER, TINY | dict(num_labels=0), [HEAD]),
    case("image_classification_interpolate", CLASSIFIER, TINY, [LARGER, SMALLER]),
    case("masked_image", MASKING, TINY, [HEAD, MASKED, Images("interpolated", 1, 20, 20, interpolate=True)]),
    case("masked_image_gray", MASKING, TINY | dict(num_channels=1, image_size=16, patch_size=8, encoder_stride=8),
         [HEAD, MASKED]),
    case("masked_image_stride", MASKING, TINY | dict(encoder_stride=2), [HEAD]),
    # Nine patches in one row come back as 3 x 3: the head knows only their number.
    case("masked_image_row", MASKING, TINY | dict(image_size=[4, 36]), [HEAD]),
    case("new_names", CLASSIFIER, TINY, [HEAD], save=NEW_NAMES),
    case("new_names_dropped_prefix", CLASSIFIER, TINY, [HEAD], save=NEW_NAMES, edit=dropped_prefix),
    case("dropped_prefix", CLASSIFIER, TINY, [HEAD], edit=dropped_prefix),
    case("model_from_classifier", CLASSIFIER, TINY, [HEAD], task="AutoModel"),
    case("new_names_model_from_masked_image", MASKING, TINY, [HEAD], task="AutoModel", save=NEW_NAMES),
    case("classifier_from_model", MODEL, TINY, [HEAD], task="AutoModelForImageClassification"),
    case("masked_image_from_model", MODEL, TINY, [HEAD], task="AutoModelForMaskedImageModeling"),
    case("mismatched", CLASSIFIER, TINY | dict(num_labels=3), [HEAD],
         load=dict(num_labels=4, ignore_mismatched_sizes=True)),
    case("fewer_layers", CLASSIFIER, TINY | dict(num_hidden_layers=2), [HEAD], load=dict(num_hidden_layers=1)),
    case("more_layers", MODEL, TINY, [HEAD], load=dict(num_hidden_layers=2)),
    case("float16", CLASSIFIER, TINY, [HEAD], dtype=torch.float16),
    case("bfloat16", CLASSIFIER, TINY, [HEAD], dtype=torch.bfloat16, save=NEW_NAMES),
    case("sharded", CLASSIFIER, TINY, [HEAD], save=dict(max_shard_size="5KB")),
    case("sharded_variant", CLASSIFIER, TINY, [HEAD], load=dict(variant="fp16"), save=dict(max_shard_size="3KB"),
         dtype=torch.float16),
]  # fmt: skip
