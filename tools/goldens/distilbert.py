"""The cases of DistilBERT."""

import torch
from transformers import DistilBertConfig

from .bert import legacy_names as bert_legacy_names
from .bert import moved, without
from .common import Case
from .text_inputs import Text, masks

BASE = dict(
    vocab_size=101, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=40, initializer_range=0.2,
)  # fmt: skip
SMALL = dict(dim=16, hidden_dim=24, vocab_size=61, n_heads=2)
TINY = SMALL | dict(n_layers=1, max_position_embeddings=20)

PLAIN, RIGHT, LEFT, HOLES = masks()
PLAIN_HEAD, RIGHT_HEAD, LEFT_HEAD, HOLES_HEAD = masks(length=9, attentions=False)
ONE = Text("length1", length=1, mask="ones")
WORDS, PROJECTOR = "distilbert.embeddings.word_embeddings.weight", "vocab_projector.weight"


def case(name, saved_as, changes, sets, **more):
    return Case(name, saved_as, DistilBertConfig(**{**BASE, **changes}), sets, **more)


def both(tensors):
    return tensors | {PROJECTOR: tensors[WORDS].flip(0) * 0.7}


def dropped_prefix(tensors):
    return {name.removeprefix("distilbert."): tensor for name, tensor in tensors.items()}


def legacy_names(tensors):
    """gamma/beta of the embeddings alone: the other norms' names do not contain `LayerNorm`."""
    return {name.replace("bert.embeddings.position_ids", "distilbert.embeddings.position_ids"): tensor
            for name, tensor in bert_legacy_names(tensors).items()}  # fmt: skip


MLM, SEQUENCE, TOKEN = (f"DistilBertFor{x}" for x in ("MaskedLM", "SequenceClassification", "TokenClassification"))
CASES = [
    case("base", "DistilBertModel", {}, [PLAIN, RIGHT, LEFT, HOLES_HEAD, ONE]),
    case("sinusoidal", "DistilBertModel", SMALL | dict(sinusoidal_pos_embds=True), [RIGHT]),
    case("relu", "DistilBertModel", SMALL | dict(activation="relu"), [RIGHT]),
    case("gelu_new", "DistilBertModel", SMALL | dict(activation="gelu_new", n_layers=1), [RIGHT]),
    case("odd_sizes", "DistilBertModel", dict(dim=36, n_heads=3, hidden_dim=29, vocab_size=61), [PLAIN, LEFT]),
    case("arguments", "DistilBertModel", SMALL, [
        Text("positions", positions="random"), Text("positions_row", 3, 9, "right", positions="row"),
        Text("embeds", 3, 9, "left", embeds=True), Text("types_ignored", 2, 8, "right", types=True),
        Text("all", 2, 40, "holes", positions="permuted", attentions=False)]),
    case("chunked", "DistilBertModel", TINY | dict(chunk_size_feed_forward=3), [Text("right", 2, 12, "right")]),
    case("text_encoding", "DistilBertModel", TINY, [RIGHT_HEAD], task="AutoModelForTextEncoding"),
    case("mlm", MLM, SMALL | dict(vocab_size=101), [PLAIN_HEAD, RIGHT_HEAD, HOLES_HEAD]),
    case("mlm_relu", MLM, TINY | dict(activation="relu"), [RIGHT_HEAD]),
    case("mlm_pretraining", MLM, TINY, [RIGHT_HEAD], task="AutoModelForPreTraining"),
    case("mlm_untied", MLM, TINY | dict(tie_word_embeddings=False), [RIGHT_HEAD]),
    case("mlm_projector_only", MLM, TINY, [RIGHT_HEAD], edit=moved(WORDS, PROJECTOR)),
    case("mlm_both_differ", MLM, TINY, [RIGHT_HEAD], edit=both),
    case("mlm_neither", MLM, TINY, [Text("embeds", 2, 9, "right", embeds=True)], edit=without(WORDS)),
    case("mlm_from_model", "DistilBertModel", TINY, [RIGHT_HEAD], task="AutoModelForMaskedLM"),
    case("sequence_regression", SEQUENCE, TINY | dict(num_labels=1), [RIGHT_HEAD]),
    case("sequence_3", SEQUENCE, TINY | dict(num_labels=3), [PLAIN_HEAD, LEFT_HEAD, HOLES_HEAD]),
    case("sequence_from_model", "DistilBertModel", TINY, [RIGHT_HEAD], task="AutoModelForSequenceClassification"),
    case("sequence_from_masked_lm", MLM, TINY, [RIGHT_HEAD], task="AutoModelForSequenceClassification"),
    case("sequence_mismatched", SEQUENCE, TINY | dict(num_labels=3), [RIGHT_HEAD],
         load=dict(num_labels=4, ignore_mismatched_sizes=True)),
    case("sequence_dropped_prefix", SEQUENCE, TINY, [RIGHT_HEAD], edit=dropped_prefix),
    case("model_from_sequence", SEQUENCE, TINY, [RIGHT_HEAD], task="AutoModel"),
    case("token", TOKEN, TINY | dict(num_labels=7), [PLAIN_HEAD, RIGHT_HEAD]),
    case("token_from_model", "DistilBertModel", TINY, [RIGHT_HEAD], task="AutoModelForTokenClassification"),
    case("token_from_masked_lm", MLM, TINY, [RIGHT_HEAD], task="AutoModelForTokenClassification"),
    case("question_answering", "DistilBertForQuestionAnswering", TINY, [PLAIN_HEAD, RIGHT_HEAD, LEFT_HEAD]),
    case("multiple_choice", "DistilBertForMultipleChoice", TINY, [
        Text("plain", 2, 7, choices=3, attentions=False),
        Text("right", 2, 8, "right", choices=4, types=True, attentions=False),
        Text("embeds", 2, 5, "left", choices=2, embeds=True)]),
    case("legacy_names", MLM, TINY, [RIGHT_HEAD], edit=legacy_names),
    case("bfloat16", "DistilBertModel", TINY, [RIGHT_HEAD], dtype=torch.bfloat16),
    case("sharded", MLM, TINY, [RIGHT_HEAD], save=dict(max_shard_size="5KB")),
]  # fmt: skip
