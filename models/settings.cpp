#include <caracal/models/settings.h>

namespace caracal {
namespace {

[[noreturn]] void wrong_type(const std::string& name, const char* expected, const Json& value) {
  throw Error(ErrorCode::invalid_argument, name, std::string("expected ") + expected + " but got " + value.dump());
}

bool as_bool(const std::string& name, const Json& value) {
  if (!value.is_bool()) wrong_type(name, "true or false", value);
  return value.as_bool();
}

}  // namespace

bool set_option(LoadOptions& options, const std::string& name, const Json& value) {
  for (const auto& [known, member] :
       {std::pair{"subfolder", &LoadOptions::subfolder}, std::pair{"variant", &LoadOptions::variant},
        std::pair{"dtype", &LoadOptions::dtype}, std::pair{"target_lang", &LoadOptions::target_lang},
        std::pair{"revision", &LoadOptions::revision}, std::pair{"cache_dir", &LoadOptions::cache_dir},
        std::pair{"token", &LoadOptions::token}}) {
    if (name != known) continue;
    if (!value.is_string()) wrong_type(name, "a string", value);
    options.*member = value.as_string();
    return true;
  }
  for (const auto& [known, member] : {std::pair{"ignore_mismatched_sizes", &LoadOptions::ignore_mismatched_sizes},
                                      std::pair{"add_pooling_layer", &LoadOptions::add_pooling_layer},
                                      std::pair{"use_mask_token", &LoadOptions::use_mask_token},
                                      std::pair{"local_files_only", &LoadOptions::local_files_only},
                                      std::pair{"force_download", &LoadOptions::force_download}}) {
    if (name != known) continue;
    options.*member = as_bool(name, value);
    return true;
  }
  return false;
}

bool set_option(ForwardOptions& options, const std::string& name, const Json& value) {
  for (const auto& [known, member] : {std::pair{"output_hidden_states", &ForwardOptions::output_hidden_states},
                                      std::pair{"output_attentions", &ForwardOptions::output_attentions},
                                      std::pair{"interpolate_pos_encoding", &ForwardOptions::interpolate_pos_encoding},
                                      std::pair{"per_utterance", &ForwardOptions::per_utterance}}) {
    if (name != known) continue;
    options.*member = as_bool(name, value);
    return true;
  }
  if (name != "use_cache") return false;
  options.use_cache = as_bool(name, value);
  return true;
}

}  // namespace caracal
