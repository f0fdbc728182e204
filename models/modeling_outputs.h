// What models return.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <caracal/runtime/tensor.h>

namespace caracal {

/// The outputs of every model class, under the names of transformers' ModelOutput fields; those that a class does not
/// produce, or was not asked for, are undefined. All F32, with B batch, S tokens, H hidden size:
struct ModelOutput {
  Tensor last_hidden_state;           // (B, S, H); 0 at masked positions
  Tensor pooler_output;               // (B, H)
  std::vector<Tensor> hidden_states;  // layers + 1 of (B, S, H): the embeddings, then each layer's output
  std::vector<Tensor> attentions;     // layers of (B, heads, S, S): softmax weights; 0 where query or key is masked

  /// The defined fields and their names, tuples as "hidden_states.0", in the order of transformers' classes.
  std::vector<std::pair<std::string, Tensor>> named() const;
};

}  // namespace caracal
