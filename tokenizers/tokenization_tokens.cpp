// PreTrainedTokenizerBase: tokens, ids and text, without the call.
#include <algorithm>
#include <filesystem>
#include <system_error>

#include <caracal/runtime/atomic_file.h>
#include <caracal/runtime/error.h>
#include <caracal/tokenizers/special_tokens.h>
#include <caracal/tokenizers/tokenization_utils.h>

namespace caracal {
std::string clean_up_tokenization(std::string text) {
  static constexpr const char* kReplacements[][2] = {{" .", "."},     {" ?", "?"},     {" !", "!"},   {" ,", ","},
                                                     {" ' ", "'"},    {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"},
                                                     {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kReplacements) text = tokenizers::replace_all(std::move(text), from, to);
  return text;
}

std::vector<std::string> PreTrainedTokenizerBase::tokenize(std::string_view text) const {
  return (*this)(TextInput(text), {.add_special_tokens = false}).tokens(0);
}

std::string PreTrainedTokenizerBase::decode(std::span<const int32_t> ids, bool skip_special_tokens,
                                            std::optional<bool> clean_up_tokenization_spaces) const {
  std::string text = pipeline_->decode(ids, skip_special_tokens);
  const bool is_bpe = dynamic_cast<const tokenizers::BPE*>(pipeline_->parts().model.get()) != nullptr;
  const bool clean =
      clean_up_tokenization_spaces.value_or(clean_up_tokenization_spaces_) && (!is_bpe || clean_up_bpe_too_);
  return clean ? clean_up_tokenization(std::move(text)) : text;
}

std::vector<std::string> PreTrainedTokenizerBase::batch_decode(const std::vector<std::vector<int32_t>>& ids,
                                                               bool skip_special_tokens,
                                                               std::optional<bool> clean_up_tokenization_spaces) const {
  std::vector<std::string> texts;
  for (const auto& row : ids) texts.push_back(decode(row, skip_special_tokens, clean_up_tokenization_spaces));
  return texts;
}

int32_t PreTrainedTokenizerBase::convert_tokens_to_ids(std::string_view token) const {
  const int32_t id = pipeline_->token_to_id(token);
  if (id >= 0) return id;
  const auto unk = unk_token();
  const int32_t unk_id = unk ? pipeline_->token_to_id(*unk) : -1;
  if (unk_id < 0) {
    throw Error(ErrorCode::not_found, "tokenizer",
                "expected a token of the vocabulary but got '" + std::string(token) + "'");
  }
  return unk_id;
}

std::vector<int32_t> PreTrainedTokenizerBase::convert_tokens_to_ids(std::span<const std::string> tokens) const {
  std::vector<int32_t> ids;
  for (const std::string& token : tokens) ids.push_back(convert_tokens_to_ids(std::string_view(token)));
  return ids;
}

std::string PreTrainedTokenizerBase::convert_ids_to_tokens(int32_t id) const {
  const std::string_view token = pipeline_->id_to_token(id);
  if (token.data() == nullptr) {
    throw Error(
        ErrorCode::invalid_argument, "tokenizer",
        "expected an id of the vocabulary (" + std::to_string(size()) + " tokens) but got " + std::to_string(id));
  }
  return std::string(token);
}

std::vector<std::string> PreTrainedTokenizerBase::convert_ids_to_tokens(std::span<const int32_t> ids,
                                                                        bool skip_special_tokens) const {
  const std::vector<int32_t> special = skip_special_tokens ? all_special_ids() : std::vector<int32_t>();
  std::vector<std::string> tokens;
  for (const int32_t id : ids) {
    if (std::find(special.begin(), special.end(), id) == special.end()) tokens.push_back(convert_ids_to_tokens(id));
  }
  return tokens;
}

std::string PreTrainedTokenizerBase::convert_tokens_to_string(std::vector<std::string> tokens) const {
  return pipeline_->join(std::move(tokens));
}

std::vector<std::pair<std::string, int32_t>> PreTrainedTokenizerBase::get_vocab() const {
  std::vector<std::pair<std::string, int32_t>> vocab;
  const tokenizers::Vocabulary& model = pipeline_->parts().model->vocabulary();
  for (int32_t id = 0; id < model.id_end(); ++id) {
    if (const std::string_view token = model.token(id); token.data() != nullptr) vocab.emplace_back(token, id);
  }
  for (const auto& [id, token] : pipeline_->added().list()) {
    if (model.find(token->content) < 0) vocab.emplace_back(token->content, id);
  }
  std::stable_sort(vocab.begin(), vocab.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return vocab;
}

std::vector<std::pair<int32_t, AddedToken>> PreTrainedTokenizerBase::added_tokens_decoder() const {
  std::vector<std::pair<int32_t, AddedToken>> tokens;
  for (const auto& [id, token] : pipeline_->added().list()) tokens.emplace_back(id, *token);
  return tokens;
}

std::optional<std::string> PreTrainedTokenizerBase::special_token(std::string_view name) const {
  for (const auto& [key, content] : special_tokens_) {
    if (key == name) return content;
  }
  return std::nullopt;
}

std::optional<int32_t> PreTrainedTokenizerBase::special_token_id(std::string_view name) const {
  const auto token = special_token(name);
  return token ? std::optional(convert_tokens_to_ids(std::string_view(*token))) : std::nullopt;
}

std::vector<std::string> PreTrainedTokenizerBase::all_special_tokens() const {
  std::vector<std::string> all;
  const auto add = [&all](const std::string& token) {
    if (std::find(all.begin(), all.end(), token) == all.end()) all.push_back(token);
  };
  for (const auto& [name, content] : special_tokens_) add(content);
  for (const std::string& token : extra_special_tokens_) add(token);
  return all;
}

std::vector<int32_t> PreTrainedTokenizerBase::all_special_ids() const {
  return convert_tokens_to_ids(std::span<const std::string>(all_special_tokens()));
}

size_t PreTrainedTokenizerBase::add_tokens(const std::vector<AddedToken>& tokens, bool special_tokens) {
  tokenizers::Tokenizer changed = *pipeline_;
  std::vector<AddedToken> list = tokens;
  for (AddedToken& token : list) token.special = token.special || special_tokens;
  const size_t added = changed.add_tokens(list);
  pipeline_ = std::make_shared<const tokenizers::Tokenizer>(std::move(changed));
  return added;
}

size_t PreTrainedTokenizerBase::add_tokens(const std::vector<std::string>& tokens, bool special_tokens) {
  std::vector<AddedToken> list;
  for (const std::string& token : tokens) {
    list.push_back({.content = token, .normalized = !special_tokens, .special = special_tokens});
  }
  return add_tokens(list, special_tokens);
}

void PreTrainedTokenizerBase::set_special_token(const std::string& name, const std::string& content) {
  const auto position = [](const std::string& key) {
    return std::find(std::begin(kSpecialTokenNames), std::end(kSpecialTokenNames), key) -
           std::begin(kSpecialTokenNames);
  };
  std::erase_if(special_tokens_, [&](const auto& entry) { return entry.first == name; });
  const auto behind = std::find_if(special_tokens_.begin(), special_tokens_.end(),
                                   [&](const auto& entry) { return position(entry.first) > position(name); });
  special_tokens_.emplace(behind, name, content);
}

size_t PreTrainedTokenizerBase::add_special_tokens(const Json& tokens) {
  std::vector<AddedToken> added;
  PreTrainedTokenizerBase changed = *this;  // so that an error changes nothing
  for (const auto& [key, value] : tokens.as_object()) {
    if (key == "extra_special_tokens" || key == "additional_special_tokens") {
      if (!value.as_array().empty()) changed.extra_special_tokens_.clear();
      for (const Json& token : value.as_array()) {
        added.push_back(added_token_from_json(token, true));
        changed.extra_special_tokens_.push_back(added.back().content);
      }
      continue;
    }
    if (std::find(std::begin(kSpecialTokenNames), std::end(kSpecialTokenNames), key) == std::end(kSpecialTokenNames)) {
      throw Error(ErrorCode::invalid_argument, "tokenizer", "Key " + key + " is not a valid special token.");
    }
    added.push_back(added_token_from_json(value, true));
    changed.set_special_token(key, added.back().content);
  }
  const size_t count = added.empty() ? 0 : changed.add_tokens(added, true);
  *this = std::move(changed);
  return count;
}

size_t PreTrainedTokenizerBase::num_special_tokens_to_add(bool pair) const {
  const auto& post = pipeline_->parts().post_processor;
  return post != nullptr ? post->added_tokens(pair) : 0;
}

void PreTrainedTokenizerBase::set_post_processor(std::shared_ptr<const tokenizers::PostProcessor> post_processor) {
  tokenizers::Tokenizer changed = *pipeline_;
  changed.set_post_processor(std::move(post_processor));
  pipeline_ = std::make_shared<const tokenizers::Tokenizer>(std::move(changed));
}

void PreTrainedTokenizerBase::set_padding_side(const std::string& side) {
  if (side != "right" && side != "left") {
    throw Error(ErrorCode::invalid_argument, "tokenizer",
                "expected padding_side 'right' or 'left' but got '" + side + "'");
  }
  padding_side_ = side;
}

void PreTrainedTokenizerBase::set_truncation_side(const std::string& side) {
  if (side != "right" && side != "left") {
    throw Error(ErrorCode::invalid_argument, "tokenizer",
                "expected truncation_side 'right' or 'left' but got '" + side + "'");
  }
  truncation_side_ = side;
}

void PreTrainedTokenizerBase::save_pretrained(const std::string& directory) const {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) throw Error(ErrorCode::io, directory, "expected to make the directory but got: " + error.message());
  Json config = init_kwargs_;
  for (const char* key : {"added_tokens_decoder", "additional_special_tokens", "extra_special_tokens", "vocab_file",
                          "merges_file", "tokenizer_file", "name_or_path", "special_tokens_map_file", "use_fast"}) {
    config.erase(key);
  }
  for (const auto& [name, content] : special_tokens_) config.set(name, content);
  if (!extra_special_tokens_.empty()) {
    config.set("extra_special_tokens", Json::Array(extra_special_tokens_.begin(), extra_special_tokens_.end()));
  }
  // transformers writes "no limit" as int(1e30).
  config.set("model_max_length", model_max_length_ == kVeryLargeInteger
                                     ? Json::big_integer("1000000000000000019884624838656")
                                     : Json(model_max_length_));
  for (const auto& [key, side] : {std::pair("padding_side", &padding_side_), {"truncation_side", &truncation_side_}}) {
    if (*side != "right" || config.contains(key)) config.set(key, *side);
  }
  if (clean_up_tokenization_spaces_) config.set("clean_up_tokenization_spaces", true);
  config.set("tokenizer_class", class_name_);
  // What an earlier save left and would be loaded in place of, or beside, what is written here.
  std::vector<std::string> stale{"special_tokens_map.json"};
  if (is_fast()) {
    stale.push_back("added_tokens.json");
    pipeline_->save(directory + "/tokenizer.json");
  } else {
    Json::Object added, decoder;
    const tokenizers::Vocabulary& model = pipeline_->parts().model->vocabulary();
    for (const auto& [id, token] : pipeline_->added().list()) {
      if (model.find(token->content) < 0) added.emplace_back(token->content, int64_t(id));
      decoder.emplace_back(std::to_string(id), Json{{"content", token->content},
                                                    {"lstrip", token->lstrip},
                                                    {"normalized", token->normalized},
                                                    {"rstrip", token->rstrip},
                                                    {"single_word", token->single_word},
                                                    {"special", token->special}});
    }
    config.set("added_tokens_decoder", std::move(decoder));
    std::string vocabulary;
    if (slow_vocabulary_file_.ends_with(".json")) {
      vocabulary = tokenizers::vocabulary_to_json(model).dump(2, true, false) + "\n";
    } else {
      for (int32_t id = 0; id < model.id_end(); ++id) vocabulary.append(model.token(id)) += '\n';
    }
    write_atomically(directory + "/" + slow_vocabulary_file_, vocabulary);
    stale.push_back("tokenizer.json");
    if (added.empty())
      stale.push_back("added_tokens.json");
    else
      write_atomically(directory + "/added_tokens.json", Json(added).dump(2, true, false) + "\n");
  }
  write_atomically(directory + "/tokenizer_config.json", config.dump(2, true, false) + "\n");
  for (const std::string& name : stale) {
    std::filesystem::remove(directory + "/" + name, error);
    if (error)
      throw Error(ErrorCode::io, directory + "/" + name, "expected to remove the file but got: " + error.message());
  }
}

}  // namespace caracal
