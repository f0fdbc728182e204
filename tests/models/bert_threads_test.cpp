// One model, many calling threads: forward is const and re-entrant.
#include <thread>

#include "models_testing.h"

namespace caracal {
namespace {

TEST(BertThreads, ConcurrentCallsGiveTheSerialResult) {
  for (int threads : {1, 3}) {
    const AnyModel model = tiny_bert(threads);
    std::vector<ModelInputs> inputs;
    std::vector<ModelOutput> serial;
    for (int64_t i = 0; i < 8; i++) {
      inputs.push_back(make_inputs({{i, 2, 3, 4 + i, 5}, {7, i}}));
      serial.push_back(model(inputs.back()));
    }
    std::atomic<int> wrong{0};
    std::vector<std::thread> callers;
    for (size_t i = 0; i < inputs.size(); i++)
      callers.emplace_back([&, i] {
        ModelOutput output;
        for (int round = 0; round < 100; round++) {
          model->forward(inputs[i], output);
          wrong += !bytes_equal(output.last_hidden_state, serial[i].last_hidden_state);
        }
      });
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(wrong, 0);
  }
}

TEST(BertThreads, TwoModelsShareOneRuntime) {
  auto runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 2});
  const std::string directory = data_path("bert/base");
  const BertModel a = BertModel::from_pretrained(directory, {.runtime = runtime}),
                  b = BertModel::from_pretrained(directory, {.runtime = runtime});
  const ModelInputs inputs = make_inputs({{1, 2, 3}});
  const ModelOutput want = a(inputs);
  std::thread other([&] {
    for (int i = 0; i < 50; i++) EXPECT_TRUE(bytes_equal(b(inputs).last_hidden_state, want.last_hidden_state));
  });
  for (int i = 0; i < 50; i++) EXPECT_TRUE(bytes_equal(a(inputs).last_hidden_state, want.last_hidden_state));
  other.join();
}

}  // namespace
}  // namespace caracal
