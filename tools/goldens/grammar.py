"""Random configurations and calls of every class, for parity.py."""

import torch
from transformers import BertConfig, DistilBertConfig, ViTConfig

from .common import Case
from .text_inputs import Text
from .vit import Images

BERT_HEADS = ["ForPreTraining", "ForMaskedLM", "ForNextSentencePrediction", "ForSequenceClassification",
              "ForMultipleChoice", "ForTokenClassification", "ForQuestionAnswering"]  # fmt: skip
DISTILBERT_HEADS = [head for head in BERT_HEADS if head not in ("ForPreTraining", "ForNextSentencePrediction")]
CLASSES = [
    "BertModel", "BertLMHeadModel", *[f"Bert{head}" for head in BERT_HEADS],
    "DistilBertModel", *[f"DistilBert{head}" for head in DISTILBERT_HEADS],
    "ViTModel", "ViTForImageClassification", "ViTForMaskedImageModeling",
]  # fmt: skip
ACTIVATIONS = ["gelu", "gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_python", "gelu_fast", "gelu_accurate",
               "gelu_python_tanh", "quick_gelu", "relu", "silu", "swish", "tanh", "sigmoid", "linear"]  # fmt: skip
WITH_POOLER = ("BertModel", "ForPreTraining", "ForNextSentencePrediction", "ForSequenceClassification",
               "ForMultipleChoice")  # fmt: skip


def draw_case(class_name, rng):
    """A Case with one input set, from a random.Random."""
    if class_name.startswith("DistilBert"):
        case = draw_distilbert(class_name, rng)
    elif class_name.startswith("Bert"):
        case = draw_bert(class_name, rng)
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
    if class_name.endswith(("ForSequenceClassification", "ForTokenClassification", "ForImageClassification")):
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
