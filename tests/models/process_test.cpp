// caracal in the life of a process: fork, exit in the middle of a call, plug-ins that come and go, threads and
// descriptors that do not stay, and nothing on stdout or stderr.
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include <caracal/models/tokenization_auto.h>
#include <caracal/tests/resources.h>
#include <caracal/tests/sanitized.h>

#include "models_testing.h"

namespace caracal {
namespace {

namespace fs = std::filesystem;

// Runs `f` in a child of fork and gives what waitpid says; -2 when the child does not end.
int in_child(const std::function<int()>& f) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    int status = 99;
    try {
      status = f();
    } catch (...) {
    }
    ::_exit(status);
  }
  for (int i = 0; i < 3000; i++) {
    int status = 0;
    if (::waitpid(pid, &status, WNOHANG) == pid) return status;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  return -2;
}

size_t descriptors() {
  return size_t(std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()));
}

// Large enough that its operations are split over the threads.
AnyModel splitting_bert(int threads) { return tiny_bert(threads, {{"hidden_size", 256}, {"intermediate_size", 512}}); }

ModelInputs some_tokens() {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 60; i++) ids.push_back(i);
  return make_inputs({ids});
}

// The child has the model but none of its threads: calls run on the thread that makes them, and give the same bits.
TEST(Process, AChildOfForkCalls) {
  const ModelInputs inputs = some_tokens();
  for (int threads : {1, 4}) {
    auto model = std::make_unique<AnyModel>(splitting_bert(threads));
    const ModelOutput expected = (*model)(inputs);
    for (int round = 0; round < 5; round++) {
      (*model)(inputs);  // wakes the threads
      EXPECT_EQ(in_child([&] {
                  for (int i = 0; i < 10; i++)
                    if (!bytes_equal((*model)(inputs).last_hidden_state, expected.last_hidden_state)) return 1;
                  model.reset();  // and its pool, whose threads are not here
                  const AnyModel another = splitting_bert(threads);
                  return bytes_equal(another(inputs).last_hidden_state, expected.last_hidden_state) ? 0 : 2;
                }),
                0)
          << threads;
    }
    EXPECT_TRUE(bytes_equal((*model)(inputs).last_hidden_state, expected.last_hidden_state));
  }
}

// exit() while other threads are inside calls: the process ends at once, with the status it asked for.
TEST(Process, ExitInTheMiddleOfCalls) {
#ifdef CARACAL_SANITIZED
  GTEST_SKIP() << "sanitizers do work of their own at exit";
#endif
  for (int round = 0; round < 10; round++)
    EXPECT_EQ(in_child([&]() -> int {
                static const AnyModel& model = *new AnyModel(splitting_bert(3));  // the host's, who does not destroy it
                static std::atomic<int> calls{0};
                for (int i = 0; i < 3; i++)
                  std::thread([] {
                    const ModelInputs inputs = some_tokens();
                    while (true) model(inputs), calls++;
                  }).detach();
                while (calls < 3 + round) std::this_thread::yield();
                ::alarm(20);
                std::exit(7);
              }),
              7 << 8);
}

TEST(Process, NoThreadAndNoDescriptorStays) {
  const std::string directory = data_path("models/bert/base");
  const ModelInputs inputs = make_inputs({{1, 2, 3}});
  auto use = [&](int threads) {
    const auto runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = threads});
    const AnyModel model = AutoModel::from_pretrained(directory, {.access = Access::read, .runtime = runtime});
    model(inputs);
    EXPECT_EQ(process_status("Threads"), threads);
  };
  use(1);
  const double before = process_status("Threads");
  const size_t open = descriptors();
  for (int round = 0; round < 10; round++) use(before == 1 ? 4 : 1);
  for (int i = 0; i < 1000 && process_status("Threads") > before; i++)  // the kernel forgets a joined one soon
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(process_status("Threads"), before);
  EXPECT_EQ(descriptors(), open);
}

// Somebody truncates the weights under a model that was loaded with Access::read: it does not notice. (Of a mapped file
// the kernel ends the process; Access says so.)
TEST(Process, TruncatedWeightsUnderAModel) {
  const TemporaryDirectory directory;
  for (const char* file : {"config.json", "model.safetensors"})
    fs::copy(data_path(std::string("models/bert/base/") + file), directory / file);
  const ModelInputs inputs = make_inputs({{1, 2, 3}});
  const AnyModel model = AutoModel::from_pretrained(directory.path, {.access = Access::read});
  const ModelOutput expected = model(inputs);
  fs::resize_file(directory / "model.safetensors", 0);
  EXPECT_TRUE(bytes_equal(model(inputs).last_hidden_state, expected.last_hidden_state));
  model->save_pretrained(directory / "saved");
  EXPECT_TRUE(bytes_equal(AutoModel::from_pretrained(directory / "saved")(inputs).last_hidden_state,
                          expected.last_hidden_state));
}

// Loading with warnings, errors of files and of calls, running: not a byte on stdout and stderr.
TEST(Process, PrintsNothing) {
  int out[2];
  ASSERT_EQ(::pipe(out), 0);
  EXPECT_EQ(
      in_child([&] {
        ::dup2(out[1], 1);
        ::dup2(out[1], 2);
        for (const char* name : {"bert/base", "bert/mlm_both_differ", "bert/sequence_mismatched", "bert/unused_pooler",
                                 "distilbert/base", "vit/base", "wav2vec2/group", "layoutlmv2/base"}) {
          for (const char* auto_class : {"AutoModel", "AutoModelForMaskedLM", "AutoModelForSequenceClassification"})
            try {
              const AnyModel model = load_auto_model(auto_class, data_path(std::string("models/") + name));
              model(read_inputs(data_path(std::string("models/") + name + "/reference.0.safetensors")));
              model({});
            } catch (const Error&) {
            }
        }
        for (const char* name : {"nowhere", "configs", "safetensors"}) try {
            AutoTokenizer::from_pretrained(data_path(name));
          } catch (const Error&) {
          }
        return 0;
      }),
      0);
  ::close(out[1]);
  char byte;
  EXPECT_EQ(::read(out[0], &byte, 1), 0);
  ::close(out[0]);
}

#ifdef CARACAL_PLUGIN
TEST(Process, APluginComesAndGoes) {
  const std::string directory = data_path("models/bert/base");
  constexpr int kNumbers = 8;
  std::vector<float> first;
  [[maybe_unused]] double memory = 0;
  double threads = 0;
  size_t open = 0;
  for (int round = 0; round < 100; round++) {
    void* plugin = ::dlopen(CARACAL_PLUGIN, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(plugin, nullptr) << ::dlerror();
    auto run = reinterpret_cast<int (*)(const char*, int, float*, int)>(::dlsym(plugin, "plugin_run"));
    ASSERT_NE(run, nullptr);
    std::vector<float> out(kNumbers);
    ASSERT_EQ(run(directory.c_str(), 1 + round % 3, out.data(), kNumbers), 0);
    if (round == 0) first = out;
    EXPECT_EQ(out, first) << round;
    ASSERT_EQ(::dlclose(plugin), 0);
    EXPECT_EQ(::dlopen(CARACAL_PLUGIN, RTLD_NOW | RTLD_NOLOAD), nullptr) << "it is still there";
    if (round == 20) memory = process_status("VmRSS"), threads = process_status("Threads"), open = descriptors();
  }
  EXPECT_EQ(process_status("Threads"), threads);
  EXPECT_EQ(descriptors(), open);
#ifndef CARACAL_SANITIZED
  EXPECT_LT(process_status("VmRSS") - memory, 2);
#endif
}
#endif

}  // namespace
}  // namespace caracal
