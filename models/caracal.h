// The umbrella header: all of caracal's public interface.
#pragma once

#include <caracal/loaders/checkpoint.h>
#include <caracal/loaders/safetensors.h>
#include <caracal/loaders/weights.h>
#include <caracal/models/auto.h>
#include <caracal/models/bert/configuration_bert.h>
#include <caracal/models/bert/modeling_bert.h>
#include <caracal/models/bert/tokenization_bert.h>
#include <caracal/models/distilbert/configuration_distilbert.h>
#include <caracal/models/distilbert/modeling_distilbert.h>
#include <caracal/models/layoutlmv2/configuration_layoutlmv2.h>
#include <caracal/models/layoutlmv2/modeling_layoutlmv2.h>
#include <caracal/models/parity.h>
#include <caracal/models/pipelines/feature_extraction.h>
#include <caracal/models/pipelines/sentence_transformer.h>
#include <caracal/models/tokenization_auto.h>
#include <caracal/models/vit/configuration_vit.h>
#include <caracal/models/vit/modeling_vit.h>
#include <caracal/models/wav2vec2/configuration_wav2vec2.h>
#include <caracal/models/wav2vec2/modeling_wav2vec2.h>
#include <caracal/runtime/error.h>
#include <caracal/runtime/json.h>
#include <caracal/runtime/runtime.h>
#include <caracal/runtime/tensor.h>
#include <caracal/tokenizers/tokenization_utils.h>
