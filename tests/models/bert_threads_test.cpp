// One model, many calling threads: forward is const and re-entrant.
#include <thread>

#include <caracal/tests/counting_executor.h>

#include "models_testing.h"

namespace caracal {
namespace {

// Large enough that its operations are split over the threads.
AnyModel splitting_bert(int threads) { return tiny_bert(threads, {{"hidden_size", 256}, {"intermediate_size", 512}}); }

std::vector<int64_t> tokens(int64_t count, int64_t seed) {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < count; i++) ids.push_back((seed + 7 * i) % 120);
  return ids;
}

TEST(BertThreads, TheModelOfTheseTestsSplitsItsWork) {
  auto executor = std::make_shared<CountingExecutor>(3);
  const BertConfig config = dynamic_cast<const BertConfig&>(splitting_bert(1)->config());
  const AnyModel model =
      AutoModel::from_config(config, {.runtime = std::make_shared<Runtime>(RuntimeOptions{.executor = executor})});
  const ModelInputs inputs = make_inputs({tokens(64, 1)});
  EXPECT_TRUE(bytes_equal(model(inputs).last_hidden_state, splitting_bert(1)(inputs).last_hidden_state));
  EXPECT_GE(executor->jobs, 12);  // 4 products in each of 3 layers
}

TEST(BertThreads, ConcurrentCallsGiveTheSerialResult) {
  for (int threads : {1, 3}) {
    const AnyModel model = splitting_bert(threads);
    std::vector<ModelInputs> inputs;
    std::vector<ModelOutput> serial;
    for (int64_t i = 0; i < 8; i++) {
      inputs.push_back(make_inputs({tokens(64, i), tokens(3 + i, 5)}));
      serial.push_back(model(inputs.back()));
    }
    std::atomic<int> wrong{0};
    std::vector<std::thread> callers;
    for (size_t i = 0; i < inputs.size(); i++)
      callers.emplace_back([&, i] {
        ModelOutput output;
        for (int round = 0; round < 12; round++) {
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
  const std::string directory = data_path("models/bert/base");
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
