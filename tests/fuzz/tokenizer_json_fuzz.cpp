// libFuzzer: any bytes as a tokenizer.json. Loading gives an Error or a tokenizer that encodes, decodes and is written.
#include <cstdint>

#include <caracal/runtime/error.h>
#include <caracal/tokenizers/tokenizer.h>

namespace tk = caracal::tokenizers;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto tokenizer =
        tk::Tokenizer::from_json(tk::parse_tokenizer_json({reinterpret_cast<const char*>(data), size}, "fuzz"));
    tk::Tokenizer::Workspace workspace;
    const tk::Text first{.text = "Hello  w\xC3\xB6rld, it's \xE4\xB8\xAD\xE6\x96\x87 \xF0\x9F\x98\x80 123\n <mask>x"};
    const tk::Text second{.text = "pair \xFF"};
    tokenizer.encode(first, &second, true,
                     {.max_length = 12, .stride = 1, .strategy = tk::TruncationStrategy::longest_first}, false,
                     workspace);
    tokenizer.decode(std::vector<int32_t>{0, 1, 2, 3, 4, 5, 99999}, true);
    tk::Tokenizer::from_json(tokenizer.to_json());
  } catch (const caracal::Error&) {
  }
  return 0;
}
