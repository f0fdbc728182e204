// libFuzzer: any bytes as a text, and as ids, for the tokenizers of tests/data. Offsets must lie in the text and in
// order of words, and a batch row must equal the text alone.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include <caracal/runtime/error.h>
#include <caracal/tokenizers/tokenizer.h>
#include <caracal/tokenizers/unicode.h>

namespace tk = caracal::tokenizers;

namespace {

std::vector<tk::Tokenizer> load_all() {
  std::vector<tk::Tokenizer> all;
  for (const char* name :
       {"gpt2", "roberta-base", "clip-vit-base-patch32", "t5-small", "albert-base-v2", "falcon-7b", "random"}) {
    std::ifstream file(std::string(CARACAL_TEST_DATA "/tokenizers/pipelines/") + name + ".jsonl");
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with('{')) all.push_back(tk::Tokenizer::from_json(tk::parse_tokenizer_json(line, name)));
    }
  }
  return all;
}

void check(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<tk::Tokenizer> tokenizers = load_all();
  if (size < 2) return 0;
  const tk::Tokenizer& tokenizer = tokenizers[data[0] % tokenizers.size()];
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  const size_t length = tk::unicode::count_code_points(tk::unicode::replace_invalid_utf8(text));
  try {
    tk::Tokenizer::Workspace workspace;
    const tk::Encoding encoding =
        tokenizer.encode({.text = text}, nullptr, data[1] % 2 != 0, {}, data[1] % 3 == 0, workspace);
    int32_t word = -1;
    std::vector<int32_t> ids;
    for (const tk::Token& token : encoding.tokens) {
      check(token.begin <= token.end && token.end <= length);
      if (token.word >= 0) check(token.word >= word), word = token.word;
      tokenizer.text_of(token, workspace.model.surfaces);
      ids.push_back(token.id);
    }
    check(tk::unicode::is_valid_utf8(tokenizer.decode(ids, data[1] % 5 == 0)));
    std::vector<int32_t> any(size / sizeof(int32_t));
    std::memcpy(any.data(), data, any.size() * sizeof(int32_t));
    tokenizer.decode(any, true);
  } catch (const caracal::Error&) {
  }
  return 0;
}
