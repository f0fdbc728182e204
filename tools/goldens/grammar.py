"""Random configurations and calls of every class, for parity.py."""

import dataclasses

import torch
from transformers import BertConfig, DistilBertConfig, LayoutLMv2Config, ViTConfig, Wav2Vec2Config

from .common import Case
from .layoutlmv2 import Document, backbone
from .text_inputs import Text
from .vit import Images
from .wav2vec2 import Audio, language, receptive_field

BERT_HEADS = ["ForPreTraining", "ForMaskedLM", "ForNextSentencePrediction", "ForSequenceClassification",
              "ForMultipleChoice", "ForTokenClassification", "ForQuestionAnswering"]  # fmt: skip
DISTILBERT_HEADS = [head for head in BERT_HEADS if head not in ("ForPreTraining", "ForNextSentencePrediction")]
CLASSES = [
    "BertModel", "BertLMHeadModel", *[f"Bert{head}" for head in BERT_HEADS],
    "DistilBertModel", *[f"DistilBert{head}" for head in DISTILBERT_HEADS],
    "ViTModel", "ViTForImageClassification", "ViTForMaskedImageModeling",
    "Wav2Vec2Model", "Wav2Vec2ForPreTraining", "Wav2Vec2ForCTC", "Wav2Vec2ForSequenceClassification",
    "Wav2Vec2ForAudioFrameClassification", "Wav2Vec2ForXVector",
    "LayoutLMv2Model", "LayoutLMv2ForSequenceClassification", "LayoutLMv2ForTokenClassification",
    "LayoutLMv2ForQuestionAnswering",
]  # fmt: skip
ACTIVATIONS = ["gelu", "gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_python", "gelu_fast", "gelu_accurate",
               "gelu_python_tanh", "quick_gelu", "relu", "silu", "swish", "tanh", "sigmoid", "linear"]  # fmt: skip
WITH_POOLER = ("BertModel", "ForPreTraining", "ForNextSentencePrediction", "ForSequenceClassification",
               "ForMultipleChoice")  # fmt: skip
WITH_LABELS = ("ForSequenceClassification", "ForTokenClassification", "ForImageClassification",
               "ForAudioFrameClassification", "ForXVector")  # fmt: skip


def draw_case(class_name, rng):
    """A Case with one input set, from a random.Random."""
    if class_name.startswith("DistilBert"):
        case = draw_distilbert(class_name, rng)
    elif class_name.startswith("Bert"):
        case = draw_bert(class_name, rng)
    elif class_name.startswith("LayoutLMv2"):
        case = draw_layoutlmv2(class_name, rng)
    elif class_name.startswith("Wav2Vec2"):
        case = draw_wav2vec2(class_name, rng)
    else:
        case = draw_vit(class_name, rng)
    case.embedding_range = rng.choice([0.05, 0.3, 0.5, 1.0])
    case.dtype = rng.choice([torch.float32] * 8 + [torch.float16, torch.bfloat16])
    if rng.random() < 0.1:
        case.save = {"max_shard_size": rng.choice(["2KB", "10KB", "50KB"])}
    return case


def sizes(rng):
    """(hidden size, heads)"""
    while True:
        heads, head_size = rng.choice([1, 2, 3, 4, 5, 8, 12, 16]), rng.choice([1, 2, 3, 4, 6, 7, 8, 12, 16, 20, 32, 64])
        if 8 <= heads * head_size <= 128:
            return heads * head_size, heads


def labels(class_name, rng):
    if class_name.endswith(WITH_LABELS):
        return {"num_labels": rng.choice([1, 2, 3, 5, 9, 17, 33])}
    return {}


def draw_text(class_name, rng, longest, chunk, decoder=False, cross=False, pooled=False, causal_lm=False):
    """One call of a text model."""
    past = rng.randint(1, longest // 2) if causal_lm and decoder and rng.random() < 0.5 else 0
    most = min(longest - past, 40)
    length = rng.choice([1, most, rng.randint(1, most)])
    length = max(length // chunk, 1) * chunk
    mask = ["", "ones", "right", "left", "holes"]
    if decoder and pooled:
        mask.remove("left")  # position 0 would see nothing
    choices = rng.randint(1, 4) if class_name.endswith("ForMultipleChoice") else 0
    positions = ["", "", "random", "permuted", "row"]
    if choices:
        positions = [""] if class_name.startswith("Distil") else ["", "random"]  # DistilBERT does not flatten them
    encoder = cross and rng.random() < 0.8
    arguments = {}
    if decoder and class_name in ("BertModel", "BertLMHeadModel") and rng.random() < 0.3:
        arguments["use_cache"] = past > 0 or rng.random() < 0.5
    return Text(
        "drawn", rng.randint(1, 5), length, rng.choice(mask), types=rng.random() < 0.4, positions=rng.choice(positions),
        embeds=rng.random() < 0.2, choices=choices, past=past, encoder=rng.randint(1, 20) if encoder else 0,
        encoder_mask=rng.choice(["", "right", "left", "holes"]) if encoder else "", arguments=tuple(arguments.items()),
    )  # fmt: skip


def draw_bert(class_name, rng):
    hidden, heads = sizes(rng)
    longest, chunk = rng.randint(8, 60), rng.choice([1, 1, 1, 2, 4])
    decoder = rng.random() < {"BertLMHeadModel": 0.8, "BertModel": 0.4}.get(class_name, 0.15)
    cross = decoder and class_name in ("BertModel", "BertLMHeadModel") and rng.random() < 0.5
    init = {"add_pooling_layer": rng.random() < 0.7} if class_name == "BertModel" else {}
    pooled = class_name.endswith(WITH_POOLER) and init.get("add_pooling_layer", True)
    vocab = rng.randint(3, 200)
    config = BertConfig(
        vocab_size=vocab, hidden_size=hidden, num_attention_heads=heads, num_hidden_layers=rng.randint(1, 4),
        intermediate_size=rng.randint(1, 150), hidden_act=rng.choice(ACTIVATIONS), max_position_embeddings=longest,
        type_vocab_size=rng.randint(1, 4), initializer_range=rng.choice([0.02, 0.1, 0.2]),
        layer_norm_eps=rng.choice([1e-12, 1e-12, 1e-7, 1e-5, 1e-3]), pad_token_id=rng.choice([0, None, vocab - 1]),
        tie_word_embeddings=rng.random() < 0.7, is_decoder=decoder, add_cross_attention=cross,
        use_cache=rng.random() < 0.7, chunk_size_feed_forward=0 if chunk == 1 else chunk, **labels(class_name, rng),
    )  # fmt: skip
    call = draw_text(class_name, rng, longest, chunk, decoder, cross, pooled,
                     causal_lm=class_name in ("BertModel", "BertLMHeadModel") and chunk == 1)  # fmt: skip
    return Case("", class_name, config, [call], init=init, load=init)


def draw_distilbert(class_name, rng):
    dim, heads = sizes(rng)
    longest, chunk = rng.randint(8, 60), rng.choice([1, 1, 1, 2, 4])
    vocab = rng.randint(3, 200)
    config = DistilBertConfig(
        vocab_size=vocab, dim=dim, n_heads=heads, n_layers=rng.randint(1, 4), hidden_dim=rng.randint(1, 150),
        activation=rng.choice(ACTIVATIONS), max_position_embeddings=longest, sinusoidal_pos_embds=rng.random() < 0.3,
        initializer_range=rng.choice([0.02, 0.1, 0.2]), pad_token_id=rng.choice([0, None, vocab - 1]),
        tie_word_embeddings=rng.random() < 0.7, chunk_size_feed_forward=0 if chunk == 1 else chunk,
        **labels(class_name, rng),
    )  # fmt: skip
    return Case("", class_name, config, [draw_text(class_name, rng, longest, chunk)])


def draw_vit(class_name, rng):
    hidden, heads = sizes(rng)
    rows = columns = rng.randint(1, 6)
    patch = rng.randint(1, 7)
    masking = class_name == "ViTForMaskedImageModeling"
    masked = class_name != "ViTForImageClassification" and rng.random() < 0.5
    interpolate = not (masking and masked) and rng.random() < 0.4
    height = width = patch * rows
    if interpolate:  # works for one patch size and a square grid; a masked-image head takes square numbers of patches
        size = height + rng.randrange(patch)
        rows, columns = rng.randint(1, 8), rng.randint(1, 8)
        columns = rows if masking else columns
        height, width = patch * rows + rng.randrange(patch), patch * columns + rng.randrange(patch)
    elif masking:
        size = height if masked else [height, width + rng.randrange(patch)]
        height, width = (size, size) if masked else size
    else:
        columns = rng.randint(1, 6)
        patch = [patch, rng.randint(1, 7)]
        size = height, width = [x * n + rng.randrange(x) for x, n in zip(patch, (rows, columns))]
    init = {"add_pooling_layer": rng.random() < 0.7} if class_name == "ViTModel" else {}
    if class_name == "ViTModel" and (masked or rng.random() < 0.2):
        init["use_mask_token"] = True
    more = {"head_dim": rng.randint(1, 20)} if rng.random() < 0.1 else {}
    config = ViTConfig(
        hidden_size=hidden, num_attention_heads=heads, num_hidden_layers=rng.randint(1, 4),
        intermediate_size=rng.randint(1, 150), hidden_act=rng.choice(ACTIVATIONS), image_size=size, patch_size=patch,
        num_channels=rng.choice([1, 2, 3, 3, 4, 5]), qkv_bias=rng.random() < 0.7,
        layer_norm_eps=rng.choice([1e-12, 1e-12, 1e-6, 1e-3]), initializer_range=rng.choice([0.02, 0.1, 0.2]),
        encoder_stride=patch if masking and masked else rng.randint(1, 5),
        pooler_output_size=rng.choice([None, None, rng.randint(1, 40)]),
        pooler_act=rng.choice(["tanh", "tanh", "relu", "gelu"]), **more, **labels(class_name, rng),
    )  # fmt: skip
    call = Images("drawn", rng.randint(1, 4), height, width, masked=masked, interpolate=interpolate)
    return Case("", class_name, config, [call], init=init, load=init)


def draw_wav2vec2(class_name, rng):
    hidden, heads = sizes(rng)
    groups = rng.choice([n for n in range(1, hidden + 1) if hidden % n == 0])
    layers = rng.randint(1, 4)
    stable = rng.random() < 0.5
    more = labels(class_name, rng)
    if class_name.endswith(("Model", "ForCTC")) and rng.random() < 0.4:
        more |= dict(add_adapter=True, output_hidden_size=rng.choice([None, rng.randint(1, 40)]),
                     num_adapter_layers=rng.randint(1, 3), adapter_kernel_size=rng.choice([3, 3, 2, 1]),
                     adapter_stride=rng.randint(1, 3))  # fmt: skip
    if stable and rng.random() < 0.4:
        more["adapter_attn_dim"] = rng.randint(1, 20)
    tdnn = rng.randint(1, 4)
    code_groups = rng.randint(1, 4)
    config = Wav2Vec2Config(
        vocab_size=rng.randint(3, 40), hidden_size=hidden, num_attention_heads=heads,
        num_hidden_layers=rng.randint(1, 3), intermediate_size=rng.randint(1, 100), hidden_act=rng.choice(ACTIVATIONS),
        feat_extract_activation=rng.choice(ACTIVATIONS), feat_extract_norm=rng.choice(["group", "layer"]),
        conv_dim=[rng.randint(3, 40) for _ in range(layers)], conv_kernel=[rng.randint(1, 10) for _ in range(layers)],
        conv_stride=[rng.randint(1, 5) for _ in range(layers)], conv_bias=rng.random() < 0.5,
        num_conv_pos_embeddings=rng.choice([1, 2, 3, 8, 15, 16, 31, 128]), num_conv_pos_embedding_groups=groups,
        do_stable_layer_norm=stable, initializer_range=rng.choice([0.02, 0.1, 0.2]),
        layer_norm_eps=rng.choice([1e-5, 1e-5, 1e-7, 1e-3]), mask_time_prob=rng.choice([0.05, 0.05, 0.0]),
        apply_spec_augment=rng.random() < 0.8, num_codevector_groups=code_groups,
        num_codevectors_per_group=rng.randint(2, 20), codevector_dim=code_groups * rng.randint(1, 10),
        proj_codevector_dim=rng.randint(1, 30), use_weighted_layer_sum=rng.random() < 0.5,
        classifier_proj_size=rng.randint(1, 30), tdnn_dim=[rng.randint(1, 30) for _ in range(tdnn)],
        tdnn_kernel=[rng.randint(1, 4) for _ in range(tdnn)], tdnn_dilation=[rng.randint(1, 3) for _ in range(tdnn)],
        xvector_output_dim=rng.randint(1, 30), **more,
    )  # fmt: skip
    fewest = 1
    if class_name.endswith("ForXVector"):  # two frames behind the dilated layers, for a standard deviation
        fewest = 2 + sum((kernel - 1) * dilation for kernel, dilation in zip(config.tdnn_kernel, config.tdnn_dilation))
    shortest = receptive_field(config, fewest)
    if config.feat_extract_norm == "group":  # PyTorch's group norm refuses a single frame
        shortest = max(shortest, config.conv_kernel[0] + config.conv_stride[0])
    samples = shortest + rng.choice([0, rng.randint(0, 100), rng.randint(0, 1500)])
    samples = min(samples, max(shortest, receptive_field(config, fewest + 60)))  # attentions stay small
    batch = rng.randint(1, 4)
    lengths, mask = (), ""
    if rng.random() < 0.6:
        lengths = tuple(rng.randint(shortest, samples) for _ in range(batch))
        follows = config.adapter_kernel_size == 3  # other adapters make another number of frames than their formula
        if follows or not config.add_adapter:
            mask = rng.choice(["", "right", "right", "left", "holes"])
    time_mask = class_name.endswith(("Model", "ForPreTraining")) and rng.random() < 0.4
    time_mask &= config.mask_time_prob > 0 or not config.apply_spec_augment
    call = Audio("drawn", batch, samples, lengths, mask, time_mask=time_mask)
    case = Case("", class_name, config, [call])
    if class_name.endswith("ForCTC") and stable and config.adapter_attn_dim and rng.random() < 0.5:
        case.extra = language("xyz", rng.randint(3, 40))
        case.load = {"target_lang": "xyz"}
    return case


def draw_layoutlmv2(class_name, rng):
    while True:
        (hidden, heads), shape = sizes(rng), rng.randint(1, 9)
        if hidden > 2 * shape and (hidden - 2 * shape) % 4 == 0:
            break
    pool = [rng.randint(1, 7), rng.randint(1, 7)]
    longest = max(rng.randint(8, 60), pool[0] * pool[1])
    channels = rng.choice([3, 3, 3, 1, 4])
    groups = rng.choice([1, 2, 3, 4, 8])
    visual = backbone(
        RESNETS__DEPTH=rng.choice([50, 50, 50, 101, 152]), RESNETS__NUM_GROUPS=groups,
        RESNETS__WIDTH_PER_GROUP=rng.randint(1, 3), RESNETS__STRIDE_IN_1X1=rng.random() < 0.3,
        RESNETS__STEM_OUT_CHANNELS=rng.randint(1, 8), RESNETS__RES2_OUT_CHANNELS=rng.randint(1, 8),
        FPN__OUT_CHANNELS=rng.randint(1, 12), FPN__FUSE_TYPE=rng.choice(["sum", "sum", "avg"]),
        PIXEL_MEAN=[rng.choice([0.0, 103.53, 127.5]) for _ in range(channels)],
        PIXEL_STD=[rng.choice([57.12, 58.395, 127.5]) for _ in range(channels)],
    )  # fmt: skip
    vocab, bins, bins_2d = rng.randint(3, 200), rng.choice([32, 32, 4, 8, 15]), rng.choice([64, 64, 5, 10, 33])
    config = LayoutLMv2Config(
        vocab_size=vocab, hidden_size=hidden, num_attention_heads=heads, num_hidden_layers=rng.randint(1, 3),
        intermediate_size=rng.randint(1, 150), hidden_act=rng.choice(ACTIVATIONS), max_position_embeddings=longest,
        type_vocab_size=rng.randint(1, 4), initializer_range=rng.choice([0.02, 0.1, 0.2]),
        layer_norm_eps=rng.choice([1e-12, 1e-12, 1e-7, 1e-5, 1e-3]), pad_token_id=rng.choice([0, None, vocab - 1]),
        max_2d_position_embeddings=rng.choice([1001, 1024]), rel_pos_bins=bins, max_rel_pos=rng.choice([128, bins + 3]),
        fast_qkv=rng.random() < 0.6, rel_2d_pos_bins=bins_2d, max_rel_2d_pos=rng.choice([256, bins_2d + 90]),
        image_feature_pool_shape=[*pool, visual["detectron2_config_args"]["MODEL.FPN.OUT_CHANNELS"]],
        coordinate_size=(hidden - 2 * shape) // 4, shape_size=shape, has_relative_attention_bias=rng.random() < 0.7,
        has_spatial_attention_bias=rng.random() < 0.7, has_visual_segment_embedding=rng.random() < 0.5, **visual,
        **labels(class_name, rng),
    )  # fmt: skip
    call = Document(
        draw_text(class_name, rng, longest, chunk=1), height=rng.choice([32, 32, 64]), width=rng.choice([32, 32, 64]),
        image_dtype=rng.choice([torch.uint8, torch.uint8, torch.float32]),
    )  # fmt: skip
    if call.text.positions == "row":  # transformers takes (B, S) alone
        call = dataclasses.replace(call, text=dataclasses.replace(call.text, positions="random"))
    return Case("", class_name, config, [call])
