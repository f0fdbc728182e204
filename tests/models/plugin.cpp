// A shared object that has caracal linked into it, as a plug-in of a host would: loads a checkpoint, runs it, and gives
// the first numbers of its output. For process_test.
#include <caracal/models/auto.h>

extern "C" __attribute__((visibility("default"))) int plugin_run(const char* directory, int threads, float* out,
                                                                 int n) {
  using namespace caracal;
  try {
    const AnyModel model = AutoModel::from_pretrained(
        directory, {.runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = threads})});
    ModelInputs inputs;
    inputs.input_ids = Tensor::from(std::vector<int64_t>{5, 42, 7}, {1, 3});
    const ModelOutput output = model(inputs);
    std::copy_n(output.last_hidden_state.data<float>(), n, out);
    return 0;
  } catch (const std::exception&) {
    return 1;
  }
}
