// The N-th allocation fails, and the N-th call into the kernel, until none is hit, in loading, running and saving a
// small model of every architecture: an exception, nothing leaked, and what is left works.
#include <unistd.h>

#include <map>
#include <optional>

#include <caracal/models/bert/tokenization_bert.h>
#include <caracal/models/bert/tokenization_bert_legacy.h>
#include <caracal/tests/counting_malloc.h>
#include <caracal/tests/failing_calls.h>

#include "models_testing.h"

#ifndef CARACAL_SANITIZED

namespace caracal {
namespace {

namespace fs = std::filesystem;

struct Subject {
  const char *name, *auto_class, *checkpoint;
  // Loading's allocations behind the first 300 that are left out between two that fail, as a ResNet has many layers
  // alike; CARACAL_EVERY_FAULT=1 leaves out none.
  int64_t skipped = 0;
};
void PrintTo(const Subject& subject, std::ostream* out) { *out << subject.name; }

class Faults : public testing::TestWithParam<Subject> {
 protected:
  static void SetUpTestSuite() {  // a save waits for the disk
    if (::access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 1);
  }
  static int64_t blocks() { return allocations - releases; }
  static size_t descriptors() {
    return size_t(std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()));
  }

  AnyModel load() const {
    LoadOptions options{.runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 2})};
    options.use_mask_token = std::string(GetParam().name) == "vit";
    return load_auto_model(GetParam().auto_class, directory, options);
  }
  static bool same(const ModelOutput& a, const ModelOutput& b) {
    const auto x = a.named(), y = b.named();
    bool equal = x.size() == y.size();
    for (size_t i = 0; equal && i < x.size(); i++)
      equal = x[i].first == y[i].first && bytes_equal(x[i].second, y[i].second);
    return equal;
  }
  // The files of a directory by their paths in it.
  static std::map<std::string, std::string> contents(const std::string& directory) {
    std::map<std::string, std::string> files;
    if (!fs::exists(directory)) return files;
    for (const auto& entry : fs::recursive_directory_iterator(directory))
      if (entry.is_regular_file()) files[entry.path().lexically_relative(directory)] = slurp(entry.path());
    return files;
  }
  // Runs `f` until it is done, with fault 0, 1, … planted by `plant`; how many did not let it through. After each,
  // `check`.
  template <class Plant, class F, class Check>
  static int64_t until_done(Plant plant, F f, Check check, int64_t skipped = 0) {
    if (std::getenv("CARACAL_EVERY_FAULT") != nullptr) skipped = 0;
    for (int64_t n = 0;; n += n < 300 ? 1 : 1 + skipped) {
      bool failed = false, hit = false;
      {
        const auto planted = plant(n);
        try {
          f();
        } catch (const Error&) {
          failed = true;
        } catch (const std::bad_alloc&) {
          failed = true;
        }
        hit = planted.hit();
      }
      if (!hit) {
        EXPECT_FALSE(failed);
        return n;
      }
      check(n, failed);
      if (testing::Test::HasFailure()) {
        ADD_FAILURE() << "fault " << n << ", call " << FailedCall::name();
        return n;
      }
    }
  }

  struct FailedAllocation {
    explicit FailedAllocation(int64_t n, bool on) {
      failing_on = on;
      allocations_left = n;
    }
    ~FailedAllocation() { allocations_left = -1, failing_on = false; }
    FailedAllocation(const FailedAllocation&) = delete;
    bool hit() const { return failing_on ? allocations_left == 0 : allocations_left < 0; }
  };

  // Every allocation of `save` fails: into the directory `to`, which holds what it writes, and into none.
  template <class F>
  static void fail_allocations_of_saving(F save, const std::string& to, int64_t skipped = 0) {
    const auto good = contents(to);
    for (bool is_new : {false, true})
      for (bool on : {false, true}) {
        if (is_new) fs::remove_all(to);
        const int64_t before = blocks();
        const auto check = [&](int64_t, bool failed) {
          EXPECT_EQ(blocks(), before);
          const auto files = contents(to);  // each is whole, and nothing lies beside them
          for (const auto& [name, text] : files) EXPECT_TRUE(good.contains(name) && good.at(name) == text) << name;
          EXPECT_TRUE((failed && is_new) || files.size() == good.size());
          if (is_new) fs::remove_all(to);
        };
        EXPECT_GT(until_done([&](int64_t n) { return FailedAllocation(n, on); }, save, check, skipped), 100);
        EXPECT_TRUE(contents(to) == good);
      }
  }

  std::string directory = data_path(std::string("models/") + GetParam().checkpoint);
  ModelInputs inputs = read_inputs(directory + "/reference.0.safetensors");
  ForwardOptions asked{.output_hidden_states = true};
};

TEST_P(Faults, EveryAllocationOfLoading) {
  const ModelOutput expected = load()(inputs, asked);  // and whatever is made once
  for (bool on : {false, true}) {
    const int64_t before = blocks();
    const int64_t faults = until_done([&](int64_t n) { return FailedAllocation(n, on); }, [&] { load(); },
                                      [&](int64_t, bool) { EXPECT_EQ(blocks(), before); }, GetParam().skipped);
    EXPECT_GT(faults, 500);
    RecordProperty("allocations", int(faults));
  }
  EXPECT_TRUE(same(load()(inputs, asked), expected));
}

TEST_P(Faults, EveryAllocationOfForward) {
  const ModelOutput expected = load()(inputs, asked);
  const AnyModel model = load();
  // The workspace that a call had grown stays; the same failure once more must leave nothing.
  const auto call = [&] { model(inputs, asked); };
  const int64_t faults = until_done([](int64_t n) { return FailedAllocation(n, false); }, call,
                                    [&](int64_t n, bool failed) {
                                      EXPECT_TRUE(failed);
                                      const int64_t before = blocks();
                                      {
                                        const FailedAllocation planted(n, false);
                                        EXPECT_THROW(call(), std::exception);
                                      }
                                      EXPECT_EQ(blocks(), before);
                                    });
  EXPECT_GT(faults, 5);
  EXPECT_TRUE(same(model(inputs, asked), expected));
  // The same into an output that is used again: what it holds after a failure is no matter.
  ModelOutput output;
  until_done([](int64_t n) { return FailedAllocation(n, false); }, [&] { model->forward(inputs, output, asked); },
             [&](int64_t, bool) {
               model->forward(inputs, output, asked);
               EXPECT_TRUE(same(output, expected));
               output = {};
             });
}

TEST_P(Faults, EverySystemCallOfLoading) {
  const ModelOutput expected = load()(inputs, asked);
  for (Access access : {Access::map, Access::read})
    for (int error : {EIO, ENOMEM, EINTR}) {
      const size_t before = descriptors();
      auto load_by = [&] {
        return load_auto_model(GetParam().auto_class, directory,
                               {.access = access, .runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 1})});
      };
      const int64_t faults = until_done([&](int64_t n) { return FailedCall(n, error); }, load_by,
                                        [&](int64_t, bool) { EXPECT_EQ(descriptors(), before); });
      EXPECT_GT(faults, 5);
    }
  EXPECT_TRUE(same(load()(inputs, asked), expected));
}

TEST_P(Faults, EveryAllocationOfSaving) {
  const AnyModel model = load();
  const ModelOutput expected = model(inputs, asked);
  const TemporaryDirectory folder;
  model->save_pretrained(folder / "saved");
  EXPECT_GE(contents(folder / "saved").size(), 2u);
  fail_allocations_of_saving([&] { model->save_pretrained(folder / "saved"); }, folder / "saved", GetParam().skipped);
  EXPECT_TRUE(same(model(inputs, asked), expected));
}

TEST_P(Faults, EverySystemCallOfSaving) {
  const AnyModel model = load();
  const ModelOutput expected = model(inputs, asked);
  const TemporaryDirectory folder;
  model->save_pretrained(folder / "good");
  const std::string weights = slurp(folder / "good/model.safetensors"), config = slurp(folder / "good/config.json");
  for (int error : {ENOSPC, EIO}) {
    const int64_t faults =
        until_done([&](int64_t n) { return FailedCall(n, error); }, [&] { model->save_pretrained(folder / "good"); },
                   [&](int64_t, bool) {
                     // Each file is the old one or the new one, which are equal, and nothing lies beside them.
                     EXPECT_EQ(slurp(folder / "good/model.safetensors"), weights);
                     EXPECT_EQ(slurp(folder / "good/config.json"), config);
                     for (const auto& entry : fs::directory_iterator(folder / "good"))
                       EXPECT_TRUE(entry.path().extension() == ".safetensors" || entry.path().extension() == ".json")
                           << entry.path();
                   });
    EXPECT_GT(faults, 8);
  }
}

// Its subject is no model: a tokenizer of either kind.
class TokenizerFaults : public Faults {
 protected:
  void SetUp() override {
    std::ofstream(words / "vocab.txt") << "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n";
    fast.emplace(BertTokenizer::from_pretrained(words.path));
    slow.emplace(BertTokenizerLegacy::from_pretrained(words.path));
    slow->add_tokens(std::vector<std::string>{"new"});
  }
  void save_both() const {
    fast->save_pretrained(folder / "fast");
    slow->save_pretrained(folder / "slow");
  }

  const TemporaryDirectory words, folder;
  std::optional<BertTokenizer> fast;
  std::optional<BertTokenizerLegacy> slow;
};

TEST_P(TokenizerFaults, EveryAllocationOfSaving) {
  save_both();
  EXPECT_EQ(contents(folder.path).size(), 5u);
  fail_allocations_of_saving([&] { save_both(); }, folder.path);
}

TEST_P(TokenizerFaults, EverySystemCallOfSaving) {
  save_both();
  const auto good = contents(folder.path);
  for (int error : {ENOSPC, EIO}) {
    const size_t before = descriptors();
    const int64_t faults = until_done(
        [&](int64_t n) { return FailedCall(n, error); }, [&] { save_both(); },
        [&](int64_t, bool) {
          EXPECT_TRUE(contents(folder.path) == good);  // the old ones or the new ones, and nothing beside them
          EXPECT_EQ(descriptors(), before);
        });
    EXPECT_GT(faults, 25);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, TokenizerFaults, testing::Values(Subject{"bert", "AutoModel", "bert/base"}),
                         [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Models, Faults,
    testing::Values(Subject{"bert", "AutoModelForSequenceClassification", "bert/sequence_2"},
                    Subject{"distilbert", "AutoModel", "distilbert/base"}, Subject{"vit", "AutoModel", "vit/base"},
                    Subject{"wav2vec2", "AutoModelForCTC", "wav2vec2/ctc"},
                    Subject{"layoutlmv2", "AutoModelForTokenClassification", "layoutlmv2/token", 30}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace caracal

#else
TEST(Faults, SanitizersHaveTheirOwnAllocator) { GTEST_SKIP(); }
#endif
