// A user's program that needs every part of the archive: text through a tokenizer (its folder is the argument) and a
// small BERT with random weights, on two threads.
#include <cstdio>

#include <caracal/caracal.h>

int main(int, char** argv) try {
  const auto tokenizer = caracal::AutoTokenizer::from_pretrained(argv[1]);
  caracal::BertConfig config;
  config.hidden_size = 48;
  config.num_hidden_layers = 2;
  config.intermediate_size = 96;
  const auto model = caracal::AutoModel::from_config(config);
  const auto output = model(tokenizer({"Voilà un léopard.", "A caracal!"}));
  std::printf("%s\n", output.last_hidden_state.shape().str().c_str());
  return output.last_hidden_state.size(-1) == 48 ? 0 : 1;
} catch (const caracal::Error& error) {
  std::printf("%s\n", error.what());
  return 1;
}
