"""The cases of BERT."""

import torch
from transformers import BertConfig

from .common import Case
from .text_inputs import Text, masks

# 4 heads of 8, for what is about numbers.
BASE = dict(
    vocab_size=101, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
    max_position_embeddings=40, initializer_range=0.2,
)  # fmt: skip
SMALL = dict(hidden_size=16, intermediate_size=24, vocab_size=61, num_attention_heads=2)
TINY = SMALL | dict(num_hidden_layers=1, max_position_embeddings=20)  # for what is about heads and storage
DECODER = SMALL | dict(is_decoder=True)
TINY_DECODER = TINY | dict(is_decoder=True)
CROSS = DECODER | dict(add_cross_attention=True)

PLAIN, RIGHT, LEFT, HOLES = masks()
PLAIN_HEAD, RIGHT_HEAD, LEFT_HEAD, HOLES_HEAD = masks(length=9, attentions=False)
ONE = Text("length1", length=1, mask="ones")
RAGGED = Text("right", 4, 11, "right", lengths=(11, 6, 1, 10))
PAIR = Text("types", 2, 10, "right", types=True, attentions=False)
WORDS = "bert.embeddings.word_embeddings.weight"
DECODER_WEIGHT, DECODER_BIAS, BIAS = (f"cls.predictions.{x}" for x in ("decoder.weight", "decoder.bias", "bias"))


def case(name, saved_as, changes, sets, **more):
    return Case(name, saved_as, BertConfig(**{**BASE, **changes}), sets, **more)


def legacy_names(tensors):
    """As checkpoints of 2019: gamma/beta, a stored position_ids buffer."""
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in tensors.items()
    }
    return renamed | {"bert.embeddings.position_ids": torch.arange(TINY["max_position_embeddings"]).view(1, -1)}


def legacy_config(config):
    keep = set(BASE) | {"hidden_act", "layer_norm_eps", "type_vocab_size", "model_type", "pad_token_id"}
    old = {key: value for key, value in config.items() if key in keep}
    return old | {"gradient_checkpointing": False, "position_embedding_type": "absolute", "directionality": "bidi"}


def dtype_said(key, value):
    """config.json with another dtype than the tensors', under the name of another time, or without any."""
    def edit(config):
        config.pop("dtype")
        return config | ({key: value} if key else {})

    return edit


def position_ids(tensors):
    return tensors | {"embeddings.position_ids": torch.arange(TINY["max_position_embeddings"]).view(1, -1)}


def moved(old, new):
    return lambda tensors: {new if name == old else name: tensor for name, tensor in tensors.items()}


def both(tensors):
    """An output embedding that is not the input embedding, though the configuration ties them."""
    return tensors | {DECODER_WEIGHT: tensors[WORDS].flip(0) * 0.7, DECODER_BIAS: tensors[BIAS].flip(0)}


def both_equal(tensors):
    return tensors | {DECODER_WEIGHT: tensors[WORDS].clone(), DECODER_BIAS: tensors[BIAS].clone()}


def without(*names):
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if name not in names}


def dropped_prefix(tensors):
    return {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}


MODEL = [
    case("base", "BertModel", {}, [PLAIN, RAGGED, LEFT, HOLES, ONE]),
    case("heads1_relu", "BertModel", dict(num_attention_heads=1, hidden_act="relu"), [PLAIN, RAGGED]),
    case("heads12_gelu_new", "BertModel",
         dict(num_attention_heads=12, hidden_size=48, intermediate_size=96, hidden_act="gelu_new",
              num_hidden_layers=1), [RAGGED, HOLES]),
    case("gelu_pytorch_tanh", "BertModel", dict(hidden_act="gelu_pytorch_tanh", num_hidden_layers=1), [RAGGED]),
    case("silu", "BertModel", dict(hidden_act="silu", num_hidden_layers=1), [RAGGED]),
    case("tanh", "BertModel", SMALL | dict(hidden_act="tanh"), [RIGHT]),
    case("quick_gelu", "BertModel", SMALL | dict(hidden_act="quick_gelu"), [RIGHT]),
    case("odd_sizes", "BertModel",
         dict(hidden_size=60, intermediate_size=37, type_vocab_size=1, max_position_embeddings=33, vocab_size=61),
         [PLAIN, LEFT, ONE]),
    case("arguments", "BertModel", SMALL | dict(type_vocab_size=3), [
        Text("types", length=12, types=True), Text("types_left", length=12, mask="left", types=True),
        Text("positions", positions="random"), Text("positions_row", 3, positions="row"),
        Text("embeds", embeds=True), Text("embeds_masked", 3, 9, "right", embeds=True),
        Text("all", length=40, mask="right", lengths=(37, 40), types=True, positions="permuted", attentions=False)]),
    case("dtypes", "BertModel", SMALL, [
        Text("int32", ids_dtype=torch.int32, mask="right", mask_dtype=torch.int32),
        Text("bool_mask", mask="left", mask_dtype=torch.bool),
        Text("float_mask", mask="holes", mask_dtype=torch.float32)]),
    # Tiny embeddings: their variance is near eps, so a wrong eps moves every output.
    case("eps_1e-5", "BertModel", SMALL | dict(layer_norm_eps=1e-5, num_hidden_layers=4), [PLAIN, RAGGED],
         embedding_range=0.002),
    case("long", "BertModel", TINY | dict(max_position_embeddings=512), [
        Text("long300", 1, 300, attentions=False), Text("long512", 1, 512, "holes", attentions=False),
        Text("ragged", 3, 65, "right", lengths=(64, 1, 65), attentions=False)]),
    case("chunked", "BertModel", SMALL | dict(chunk_size_feed_forward=4), [Text("right", length=12, mask="right")]),
    case("no_pooler", "BertModel", dict(num_hidden_layers=1), [PLAIN, HOLES], init=dict(add_pooling_layer=False),
         load=dict(add_pooling_layer=False)),
    case("unused_pooler", "BertModel", SMALL, [RIGHT], load=dict(add_pooling_layer=False)),
    case("text_encoding", "BertModel", SMALL, [RIGHT], task="AutoModelForTextEncoding"),
    case("decoder", "BertModel", DECODER, masks(), load=dict(add_pooling_layer=False)),
    case("decoder_pooler", "BertModel", DECODER, [PLAIN, RIGHT, HOLES]),
]  # fmt: skip

STORAGE = [
    case("sharded", "BertModel", TINY, [RIGHT_HEAD], save=dict(max_shard_size="6KB")),
    case("from_masked_lm", "BertForMaskedLM", TINY, [RIGHT_HEAD], task="AutoModel"),
    case("from_sequence_classification", "BertForSequenceClassification", TINY, [RIGHT_HEAD], task="AutoModel"),
    case("legacy_names", "BertForSequenceClassification", TINY, [RIGHT_HEAD], task="AutoModel", edit=legacy_names,
         edit_config=legacy_config),
    case("float16", "BertModel", TINY, [RIGHT_HEAD], dtype=torch.float16),
    case("bfloat16", "BertModel", TINY, [RIGHT_HEAD], dtype=torch.bfloat16),
    case("legacy_masked_lm_as_model", "BertForMaskedLM", TINY, [RIGHT_HEAD], task="AutoModel", edit=legacy_names,
         edit_config=legacy_config),
    case("fewer_layers", "BertForSequenceClassification", TINY | dict(num_hidden_layers=3), [RIGHT_HEAD],
         load=dict(num_hidden_layers=2)),
    case("more_layers", "BertModel", TINY, [RIGHT_HEAD], load=dict(num_hidden_layers=12)),
    # dtype=auto is config.dtype, else the dtype of the first floating tensor; the old key is torch_dtype.
    case("float16_undeclared", "BertModel", TINY, [PLAIN_HEAD], dtype=torch.float16,
         edit_config=dtype_said(None, None)),
    case("float16_declared_float32", "BertModel", TINY, [PLAIN_HEAD], dtype=torch.float16,
         edit_config=dtype_said("dtype", "float32")),
    case("torch_dtype", "BertModel", TINY, [PLAIN_HEAD], dtype=torch.bfloat16,
         edit_config=dtype_said("torch_dtype", "bfloat16")),
    case("position_ids", "BertModel", TINY, [PLAIN_HEAD], edit=position_ids),
    case("subfolder", "BertModel", TINY, [PLAIN_HEAD], load=dict(subfolder="encoder")),
    case("variant", "BertModel", TINY, [PLAIN_HEAD], load=dict(variant="fp16"), dtype=torch.float16),
    case("variant_sharded_subfolder", "BertForSequenceClassification", TINY, [PLAIN_HEAD], dtype=torch.bfloat16,
         load=dict(variant="bf16", subfolder="model"), save=dict(max_shard_size="4KB")),
]  # fmt: skip

CACHE = [
    Text("first", 2, 5, "left"),
    Text("one", 2, 1, past=6),
    Text("one_left", 3, 1, "left", past=6),
    Text("one_right", 3, 1, "right", past=6),
    Text("several", 2, 4, past=5),
    Text("several_left", 3, 4, "left", past=5),
    Text("several_holes", 3, 3, "holes", past=7),
    Text("several_embeds", 2, 3, "ones", past=2, embeds=True, types=True, positions="permuted"),
]
CROSS_SETS = [
    Text("encoder", 2, 7, encoder=5),
    Text("encoder_padded", 3, 7, "left", encoder=9, encoder_mask="right"),
    Text("encoder_holes", 3, 6, "right", encoder=8, encoder_mask="holes", arguments=(("use_cache", False),)),
    Text("encoder_long", 2, 3, encoder=20, encoder_mask="left"),
    Text("no_encoder", 2, 7, "right"),
]
CROSS_CACHE = [
    Text("one", 2, 1, past=5, encoder=6),
    Text("one_padded", 3, 1, "left", past=5, encoder=7, encoder_mask="right"),
    Text("several", 2, 3, past=4, encoder=6),
    Text("several_padded", 3, 4, "left", past=3, encoder=9, encoder_mask="right"),
]
LM = [
    case("lm_bidirectional", "BertLMHeadModel", TINY, [PLAIN_HEAD, LEFT_HEAD]),
    case("lm_causal", "BertLMHeadModel", DECODER, [*masks(), ONE]),
    case("lm_causal_long", "BertLMHeadModel", TINY_DECODER | dict(max_position_embeddings=160, vocab_size=31), [
        Text("plain", 1, 150, attentions=False, arguments=(("use_cache", False),)),
        Text("cache", 2, 40, "left", past=90, attentions=False)]),
    case("lm_causal_arguments", "BertLMHeadModel", DECODER, [
        Text("all", 2, 9, "right", types=True, positions="permuted"), Text("embeds", 2, 9, "left", embeds=True),
        Text("no_cache", 2, 9, arguments=(("use_cache", False),))]),
    case("lm_cache", "BertLMHeadModel", DECODER, CACHE),
    case("lm_no_cache", "BertLMHeadModel", TINY_DECODER | dict(use_cache=False), [
        PLAIN_HEAD, Text("asked", 2, 5, arguments=(("use_cache", True),))]),
    case("lm_cross", "BertLMHeadModel", CROSS, CROSS_SETS),
    case("lm_cross_cache", "BertLMHeadModel", CROSS, CROSS_CACHE),
    case("lm_untied", "BertLMHeadModel", TINY_DECODER | dict(tie_word_embeddings=False), [RIGHT_HEAD]),
    case("lm_from_pretraining", "BertForPreTraining", TINY_DECODER, [RIGHT_HEAD], task="AutoModelForCausalLM"),
    case("cross_model", "BertModel", CROSS, CROSS_SETS[:2], load=dict(add_pooling_layer=False)),
]  # fmt: skip

MLM = "BertForMaskedLM"
HEADS = [
    case("pretraining", "BertForPreTraining", TINY, [PLAIN_HEAD, PAIR, LEFT_HEAD]),
    case("pretraining_legacy", "BertForPreTraining", TINY, [RIGHT_HEAD], edit=legacy_names, edit_config=legacy_config),
    case("pretraining_untied", "BertForPreTraining", TINY | dict(tie_word_embeddings=False), [RIGHT_HEAD]),
    case("mlm", MLM, SMALL | dict(vocab_size=101), [PLAIN_HEAD, RIGHT_HEAD, HOLES_HEAD, Text("embeds", embeds=True)]),
    case("mlm_relu", MLM, TINY | dict(hidden_act="relu"), [RIGHT_HEAD]),
    case("mlm_untied", MLM, TINY | dict(tie_word_embeddings=False), [RIGHT_HEAD]),
    # An untied checkpoint with `predictions.bias` alone: nothing adds it, the fresh decoder.bias is 0.
    case("mlm_untied_bias", MLM, TINY | dict(tie_word_embeddings=False), [RIGHT_HEAD], edit=without(DECODER_BIAS)),
    case("mlm_decoder_only", MLM, TINY, [RIGHT_HEAD], edit=moved(WORDS, DECODER_WEIGHT)),
    case("mlm_decoder_bias_only", MLM, TINY, [RIGHT_HEAD], edit=moved(BIAS, DECODER_BIAS)),
    case("mlm_both_differ", MLM, TINY, [RIGHT_HEAD], edit=both),
    case("mlm_both_equal", MLM, TINY, [RIGHT_HEAD], edit=both_equal),
    case("mlm_neither", MLM, TINY, [Text("embeds", 2, 9, "right", embeds=True)], edit=without(WORDS)),
    case("mlm_causal", MLM, TINY_DECODER, [LEFT_HEAD]),
    case("mlm_from_model", "BertModel", TINY, [RIGHT_HEAD], task="AutoModelForMaskedLM"),
    case("mlm_from_pretraining", "BertForPreTraining", TINY, [RIGHT_HEAD], task="AutoModelForMaskedLM"),
    case("mlm_dropped_prefix", MLM, TINY, [RIGHT_HEAD], edit=dropped_prefix),
    case("nsp", "BertForNextSentencePrediction", TINY, [PLAIN_HEAD, PAIR]),
    case("nsp_from_pretraining", "BertForPreTraining", TINY, [PAIR], task="AutoModelForNextSentencePrediction"),
    case("sequence_regression", "BertForSequenceClassification", TINY | dict(num_labels=1), [RIGHT_HEAD]),
    case("sequence_2", "BertForSequenceClassification", TINY | dict(classifier_dropout=0.3), [PLAIN_HEAD, LEFT_HEAD]),
    case("sequence_5", "BertForSequenceClassification", TINY | dict(
        id2label={0: "anger", 1: "joy", 2: "übrig", 3: "sadness", 4: "none"},
        label2id={"anger": 0, "joy": 1, "übrig": 2, "sadness": 3, "none": 4}), [PAIR]),
    case("sequence_from_model", "BertModel", TINY, [RIGHT_HEAD], task="AutoModelForSequenceClassification"),
    case("sequence_new_labels", "BertModel", TINY, [RIGHT_HEAD], task="AutoModelForSequenceClassification",
         load=dict(num_labels=4)),
    case("sequence_mismatched", "BertForSequenceClassification", TINY | dict(num_labels=3), [RIGHT_HEAD],
         load=dict(num_labels=5, ignore_mismatched_sizes=True)),
    case("sequence_from_masked_lm", MLM, TINY, [RIGHT_HEAD], task="AutoModelForSequenceClassification"),
    case("sequence_causal", "BertForSequenceClassification", TINY_DECODER, [RIGHT_HEAD]),
    case("multiple_choice", "BertForMultipleChoice", TINY, [
        Text("plain", 2, 7, choices=3, attentions=False),
        Text("right", 2, 8, "right", choices=4, types=True, attentions=False),
        Text("one_choice", 2, 5, choices=1), Text("embeds", 2, 5, "left", choices=2, embeds=True, positions="random")]),
    case("token", "BertForTokenClassification", TINY | dict(num_labels=9), [PLAIN_HEAD, RIGHT_HEAD, HOLES_HEAD]),
    case("token_from_sequence", "BertForSequenceClassification", TINY, [RIGHT_HEAD],
         task="AutoModelForTokenClassification"),
    case("question_answering", "BertForQuestionAnswering", TINY, [PLAIN_HEAD, PAIR, LEFT_HEAD]),
    case("question_answering_from_model", "BertModel", TINY, [RIGHT_HEAD], task="AutoModelForQuestionAnswering"),
]  # fmt: skip

CASES = MODEL + STORAGE + LM + HEADS
