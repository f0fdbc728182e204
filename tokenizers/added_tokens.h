// Added tokens: strings that are found in the text before anything else and never split.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <caracal/runtime/json.h>
#include <caracal/tokenizers/model.h>
#include <caracal/tokenizers/normalizers.h>
#include <caracal/tokenizers/trie.h>

namespace caracal {

/// A token that is matched as a whole in the text.
struct AddedToken {
  std::string content = {};
  bool single_word = false;  ///< only where no word character touches it
  bool lstrip = false;       ///< takes the white space before it too
  bool rstrip = false;       ///< takes the white space behind it too
  bool normalized = true;    ///< looked for in the normalised text rather than in the text as given
  bool special = false;      ///< left out by decode(…, skip_special_tokens)
  friend bool operator==(const AddedToken&, const AddedToken&) = default;
};

namespace tokenizers {

/// A match of an added token, or text between matches (id -1), as bytes.
struct Match {
  size_t begin, end;
  int32_t id;
};

/// The added tokens of a tokenizer, beside its model's vocabulary.
class AddedVocabulary {
 public:
  /// Registers tokens. One that the model or an earlier call knows keeps its id; others get ids from the end of the
  /// vocabulary on. Returns how many were new or changed, as the reference counts. Throws invalid_argument for a token
  /// of more than 64 KiB.
  size_t add(const std::vector<AddedToken>& tokens, const Model& model, const Normalizer* normalizer);

  /// Splits `text` at matches; `normalized` picks the tokens that are looked for in normalised text. Leftmost, then
  /// longest match wins. With `skip_special`, special tokens are ordinary text.
  void split(std::string_view text, bool normalized, bool skip_special, std::vector<Match>& out) const;
  bool any(bool normalized) const noexcept { return !finders_[normalized].trie.empty(); }

  /// Id of an added token, or -1.
  int32_t find(std::string_view content) const;
  /// The added token of an id, or null.
  const AddedToken* token(int32_t id) const;
  /// How the token of an id reads in tokens and decoded text: its content, normalised for normalised tokens. Null
  /// data() when there is none.
  std::string_view text(int32_t id) const;
  bool is_special(std::string_view content) const { return special_.contains(std::string(content)); }
  /// Tokens by id, in the order of ids.
  std::vector<std::pair<int32_t, const AddedToken*>> list() const;

 private:
  // Tokens to look for; the first byte is looked up in a table, so that text without matches is skipped quickly.
  struct Finder {
    Trie trie;
    std::vector<bool> starts = std::vector<bool>(256, false);
    int only_start = -1;  // the one first byte of all tokens, or -1
    void insert(std::string_view content, int32_t id);
    // First byte at or after `from` that may start a token, or text.size().
    size_t next_start(std::string_view text, size_t from) const;
  };

  void rebuild(const Normalizer* normalizer);

  std::unordered_map<std::string, int32_t> ids_;
  std::unordered_map<int32_t, AddedToken> tokens_;
  std::unordered_map<int32_t, std::string> normalized_;  // contents of normalised tokens after normalisation
  std::unordered_set<std::string> special_;
  Finder finders_[2];  // [normalized]
};

}  // namespace tokenizers
}  // namespace caracal
