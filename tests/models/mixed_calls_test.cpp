// Eight host threads, a thousand calls each of every kind, on one model: each the bits of the same call alone.
#include <thread>

#include <caracal/tests/sanitized.h>

#include "models_testing.h"

namespace caracal {
namespace {

struct Call {
  ModelInputs inputs;
  ForwardOptions options;
  ModelOutput expected;
  std::string error = {};  // that it must throw instead
};

bool same(const ModelOutput& a, const ModelOutput& b) {
  const auto x = a.named(), y = b.named();
  bool equal = x.size() == y.size();
  for (size_t i = 0; equal && i < x.size(); i++)
    equal = x[i].first == y[i].first && bytes_equal(x[i].second, y[i].second);
  return equal;
}

std::vector<Call> mixed_calls(const AnyModel& model) {
  std::vector<Call> calls;
  auto row = [](int64_t count, int64_t seed) {
    std::vector<int64_t> ids;
    for (int64_t i = 0; i < count; i++) ids.push_back((seed + 7 * i) % 120);
    return ids;
  };
  for (int64_t i = 0; i < 6; i++) calls.push_back({make_inputs({row(1 + 9 * i, i), row(3 + i, 5)}), {}, {}});
  calls.push_back({make_inputs({row(5, 1)}), {.output_hidden_states = true, .output_attentions = true}, {}});
  calls.push_back({make_inputs({row(64, 2), row(1, 3), row(30, 4)}), {.output_hidden_states = true}, {}});
  calls.push_back({make_inputs({{1, 120}}), {}, {}});                     // not in the vocabulary
  calls.push_back({make_inputs({std::vector<int64_t>(65, 1)}), {}, {}});  // too long
  calls.push_back({{}, {}, {}});                                          // nothing
  for (Call& call : calls) {
    call.error = message_of([&] { call.expected = model(call.inputs, call.options); });
    if (call.error == "no error") call.error.clear();
  }
  return calls;
}

TEST(MixedCalls, EqualTheSerialOnesBitForBit) {
  constexpr int kThreads = 8, kCalls = 1000;
  for (int pool : {1, 2}) {
    const AnyModel model =
        tiny_bert(pool, {{"num_hidden_layers", 1}, {"hidden_size", pool == 1 ? 16 : 128}, {"intermediate_size", 64}});
    const std::vector<Call> calls = mixed_calls(model);
    std::atomic<int> wrong{0}, done{0};
    std::vector<std::thread> callers;
    for (int t = 0; t < kThreads; t++)
      callers.emplace_back([&, t] {
        ModelOutput reused;
        for (int i = 0; i < kCalls; i++) {
          const Call& call = calls[size_t(t * 5 + i * (t + 1)) % calls.size()];
          std::string error;
          try {
            if (i % 100 == t) model->prepare(40 + i % 7, 2);
            if (i % 3 == 0) {
              wrong += !same(model(call.inputs, call.options), call.expected);
            } else {
              model->forward(call.inputs, reused, call.options);
              wrong += !same(reused, call.expected);
            }
          } catch (const Error& thrown) {
            error = thrown.what();
          }
          wrong += error != call.error;
          done++;
        }
      });
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(done, kThreads * kCalls);
  }
}

}  // namespace
}  // namespace caracal
