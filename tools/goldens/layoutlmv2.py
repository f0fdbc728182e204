"""The cases of LayoutLMv2, and the check of the Detectron2 that stands in for the real one."""

from dataclasses import dataclass

import torch
import torchvision
from transformers import LayoutLMv2Config

from .common import Case
from .text_inputs import Text, masks

BACKBONE = LayoutLMv2Config.get_default_detectron2_config()
NARROW = {
    "MODEL.RESNETS.DEPTH": 50, "MODEL.RESNETS.NUM_GROUPS": 2, "MODEL.RESNETS.WIDTH_PER_GROUP": 1,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 3, "MODEL.RESNETS.RES2_OUT_CHANNELS": 2, "MODEL.FPN.OUT_CHANNELS": 5,
}  # fmt: skip
BASE = dict(
    vocab_size=61, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
    coordinate_size=3, shape_size=2, max_position_embeddings=40, max_2d_position_embeddings=1001,
    image_feature_pool_shape=[3, 3, 5], initializer_range=0.2,
)  # fmt: skip
TINY = dict(num_hidden_layers=1)
SMALL = TINY | dict(hidden_size=8, coordinate_size=1, shape_size=2, intermediate_size=12, max_position_embeddings=20)
NO_BIAS = dict(has_relative_attention_bias=False, has_spatial_attention_bias=False)


@dataclass(frozen=True)
class Document:
    """One call: text, its boxes and an image."""

    text: Text
    height: int = 32
    width: int = 32
    image_dtype: torch.dtype = torch.uint8
    bbox_dtype: torch.dtype = torch.long

    @property
    def name(self):
        return self.text.name

    @property
    def attentions(self):
        return self.text.attentions

    def make(self, config, generator, model):
        inputs, arguments = self.text.make(config, generator, model)
        batch, length = (inputs["inputs_embeds"] if self.text.embeds else inputs["input_ids"]).shape[:2]
        corners = torch.randint(0, 1001, (2, batch, length, 2), generator=generator)
        bbox = torch.cat([corners.amin(0), corners.amax(0)], -1)  # x0 y0 x1 y1
        bbox[:, 0] = 0  # as the tokenizer: [CLS]
        bbox[:, -1] = 1000  # [SEP]
        inputs["bbox"] = bbox.to(self.bbox_dtype)
        shape = (batch, len(pixel_mean(config)), self.height, self.width)
        if self.image_dtype == torch.uint8:
            inputs["image"] = torch.randint(0, 256, shape, generator=generator).to(torch.uint8)
        else:
            inputs["image"] = 255 * torch.rand(shape, generator=generator)
        return inputs, arguments


def pixel_mean(config):
    return config.get_detectron2_config().MODEL.PIXEL_MEAN


def backbone(**changes):
    """detectron2_config_args with changes of `RESNETS.…`, `FPN.…` and others, whose dots are double underscores."""
    changes = {"MODEL." + key.replace("__", "."): value for key, value in changes.items()}
    return dict(detectron2_config_args=BACKBONE | NARROW | changes)


def case(name, saved_as, changes, sets, **more):
    sets = [each if isinstance(each, Document) else Document(each) for each in sets]
    return Case(name, saved_as, LayoutLMv2Config(**{**BASE, **backbone(), **changes}), sets, **more)


def num_batches_tracked(tensors):
    """The counters of training, which every checkpoint of the hub has."""
    norms = [name.removesuffix("running_var") for name in tensors if name.endswith("norm.running_var")]
    return tensors | {f"{name}num_batches_tracked": torch.tensor(1000) for name in norms}


def two_sizes(config):
    """The channels may be left out."""
    return config | {"image_feature_pool_shape": config["image_feature_pool_shape"][:2]}


def dropped_prefix(tensors):
    return {name.removeprefix("layoutlmv2."): tensor for name, tensor in tensors.items()}


def check_standin():
    """The backbone against torchvision's, bit for bit."""
    from transformers.models.layoutlmv2.modeling_layoutlmv2 import LayoutLMv2VisualBackbone

    ours = LayoutLMv2VisualBackbone(LayoutLMv2Config()).backbone.eval()
    resnet = torchvision.models.resnext101_32x8d(weights=None).eval()
    pyramid = torchvision.ops.FeaturePyramidNetwork([256, 512, 1024, 2048], 256).eval()
    generator = torch.Generator().manual_seed(0)
    for module in resnet.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for buffer in (module.running_mean, module.running_var, module.weight.data, module.bias.data):
                buffer.copy_(0.5 + 0.1 * torch.rand(buffer.shape, generator=generator))
    state = {}
    for name, tensor in resnet.state_dict().items():
        parts = name.split(".")
        if parts[0] in ("conv1", "bn1"):
            parts = ["stem", *parts]
        elif parts[0].startswith("layer"):
            parts[0] = f"res{int(parts[0][-1]) + 1}"
            if parts[2] == "downsample":
                parts[2:4] = [["shortcut"], ["shortcut", "norm"]][int(parts[3])]
        parts = [x for part in parts for x in ([f"conv{part[-1]}", "norm"] if part.startswith("bn") else [part])]
        if parts[0] != "fc" and parts[-1] != "num_batches_tracked":
            state[".".join(["bottom_up", *parts])] = tensor
    for name, tensor in pyramid.state_dict().items():
        kind, i, _, part = name.split(".")
        state[f"fpn_{'lateral' if kind == 'inner_blocks' else 'output'}{int(i) + 2}.{part}"] = tensor
    ours.load_state_dict(state)  # strict: the names are the same ones

    image = torch.randn(1, 3, 96, 64, generator=generator)
    with torch.inference_mode():
        x, features = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(image)))), {}
        for i in range(1, 5):
            x = features[f"p{i + 1}"] = getattr(resnet, f"layer{i}")(x)
        want, got = pyramid(features), ours(image)
    assert list(want) == sorted(got) and all(torch.equal(want[key], got[key]) for key in want)


PLAIN, RIGHT, LEFT, HOLES = masks(length=9)
PLAIN_HEAD, RIGHT_HEAD, LEFT_HEAD, HOLES_HEAD = masks(length=7, attentions=False)
ONE = Text("length1", 1, 1)
LARGER, LARGER_HEAD = (Document(Text("larger", 1, 5, attentions=x), 64, 64) for x in (True, False))

MODEL, SEQUENCE, TOKEN, QUESTION = "LayoutLMv2Model", *(
    f"LayoutLMv2For{x}" for x in ("SequenceClassification", "TokenClassification", "QuestionAnswering"))  # fmt: skip
CASES = [
    case("base", MODEL, backbone(RESNETS__RES2_OUT_CHANNELS=4), [PLAIN, RIGHT, LEFT, HOLES, ONE]),
    case("no_bias", MODEL, SMALL | NO_BIAS, [RIGHT]),
    case("relative_bias", MODEL, SMALL | dict(has_spatial_attention_bias=False), [RIGHT, LEFT]),
    case("spatial_bias", MODEL, TINY | dict(has_relative_attention_bias=False), [RIGHT, HOLES]),
    case("qkv", MODEL, SMALL | dict(fast_qkv=False), [RIGHT]),
    case("segment", MODEL, SMALL | dict(has_visual_segment_embedding=True), [RIGHT_HEAD]),
    case("buckets", MODEL, TINY | dict(
        rel_pos_bins=8, max_rel_pos=20, rel_2d_pos_bins=17, max_rel_2d_pos=600, num_attention_heads=4), [RIGHT]),
    case("arguments", MODEL, TINY | dict(type_vocab_size=3), [
        Text("types", types=True), Text("positions", 3, 9, "right", positions="random"),
        Text("embeds", 2, 7, "left", embeds=True),
        Document(Text("int32", 2, 5, "right", ids_dtype=torch.int32, mask_dtype=torch.bool), bbox_dtype=torch.int32),
        Document(Text("float_image", 2, 5), image_dtype=torch.float32)]),
    case("image_sizes", MODEL, SMALL, [
        LARGER, Document(Text("wide", 2, 5), 32, 96), Document(Text("ragged", 1, 5), 61, 30)]),
    case("pool_7x7", MODEL, TINY | dict(image_feature_pool_shape=[7, 7, 5], max_position_embeddings=49),
         [RIGHT_HEAD, LARGER_HEAD]),
    case("pool_2x5", MODEL, SMALL | dict(image_feature_pool_shape=[2, 5, 5]), [RIGHT_HEAD, LARGER]),
    case("pool_1x1", MODEL, SMALL | dict(image_feature_pool_shape=[1, 1, 5]), [RIGHT_HEAD]),
    case("pool_two_sizes", MODEL, SMALL, [RIGHT_HEAD], edit_config=two_sizes),
    case("depth152", MODEL, SMALL | backbone(RESNETS__DEPTH=152), [PLAIN_HEAD]),
    case("groups1", MODEL, SMALL | backbone(RESNETS__NUM_GROUPS=1, RESNETS__WIDTH_PER_GROUP=2), [PLAIN_HEAD]),
    case("groups32", MODEL, SMALL | backbone(RESNETS__NUM_GROUPS=32), [PLAIN_HEAD], dtype=torch.bfloat16),
    case("stride_in_1x1", MODEL, SMALL | backbone(
        RESNETS__STRIDE_IN_1X1=True, RESNETS__RES2_OUT_CHANNELS=3), [PLAIN_HEAD, LARGER_HEAD]),
    # As wide as the stem: the first block of res2 has no shortcut convolution.
    case("no_shortcut", MODEL, SMALL | backbone(RESNETS__STEM_OUT_CHANNELS=2), [PLAIN_HEAD]),
    case("average", MODEL, SMALL | backbone(FPN__FUSE_TYPE="avg"), [PLAIN_HEAD]),
    case("pixels", MODEL, SMALL | backbone(PIXEL_MEAN=[127.5, 100.0], PIXEL_STD=[127.5, 64.0]), [PLAIN_HEAD]),
    # What the dictionary leaves out is as Detectron2 has it, not as the default dictionary.
    case("detectron2_defaults", MODEL, SMALL | dict(detectron2_config_args=NARROW | {
        "MODEL.BACKBONE.NAME": "build_resnet_fpn_backbone",
        "MODEL.FPN.IN_FEATURES": ["res2", "res3", "res4", "res5"],
        "MODEL.RESNETS.OUT_FEATURES": ["res2", "res3", "res4", "res5"]}), [PLAIN_HEAD]),
    case("head_sizes", MODEL, TINY | dict(
        hidden_size=18, num_attention_heads=3, intermediate_size=41, coordinate_size=1, shape_size=7), [RIGHT_HEAD]),
    case("eps_1e-3", MODEL, SMALL | dict(layer_norm_eps=1e-3, initializer_range=0.02), [RIGHT_HEAD],
         embedding_range=0.02),
    case("hub", SEQUENCE, SMALL | dict(max_2d_position_embeddings=1024), [RIGHT_HEAD], edit=num_batches_tracked),
    case("sequence", SEQUENCE, SMALL | dict(num_hidden_layers=2, num_labels=3),
         [PLAIN, RIGHT_HEAD, LEFT_HEAD, HOLES_HEAD]),
    case("token", TOKEN, SMALL | dict(num_labels=7), [PLAIN_HEAD, RIGHT_HEAD, HOLES_HEAD]),
    case("question", QUESTION, SMALL, [PLAIN_HEAD, RIGHT_HEAD, LEFT_HEAD]),
    case("document_question", QUESTION, SMALL, [RIGHT_HEAD], task="AutoModelForDocumentQuestionAnswering"),
    case("question_from_token", TOKEN, SMALL | dict(has_visual_segment_embedding=True), [RIGHT_HEAD],
         task="AutoModelForQuestionAnswering"),
    case("token_from_model", MODEL, SMALL, [RIGHT_HEAD], task="AutoModelForTokenClassification"),
    case("model_from_sequence", SEQUENCE, SMALL, [RIGHT_HEAD], task="AutoModel", edit=num_batches_tracked),
    case("dropped_prefix", TOKEN, SMALL, [RIGHT_HEAD], edit=dropped_prefix),
    case("bfloat16", SEQUENCE, SMALL, [RIGHT_HEAD], dtype=torch.bfloat16),
    case("sharded", MODEL, SMALL, [RIGHT_HEAD], save=dict(max_shard_size="30KB")),
]  # fmt: skip
