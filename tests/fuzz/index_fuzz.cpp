// Any bytes as model.safetensors.index.json of a directory with shards, and with links that lead out of it: an Error,
// or tensors, of files inside the directory.
#include <caracal/loaders/checkpoint.h>

#include "fuzzing.h"

namespace {

struct Repository : Scratch {
  Repository() {
    using caracal::Tensor;
    namespace fs = std::filesystem;
    fs::create_directories(path / "model" / "sub");
    auto save = [&](const char* name, const char* a, const char* b) {
      caracal::save_safetensors((path / name).string(), {{a, Tensor::zeros({2, 3})}, {b, Tensor::zeros({5})}});
    };
    save("outside.safetensors", "out", "side");
    save("model/a.safetensors", "a", "b");
    save("model/b.safetensors", "c", "d");
    save("model/sub/c.safetensors", "a", "e");
    fs::create_symlink("../outside.safetensors", path / "model/link");
    fs::create_symlink("..", path / "model/up");
    fs::create_symlink("sub/c.safetensors", path / "model/inner");
    write_file(path / "model/pickle", "\x80\x02}q");
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caracal;
  static const Repository repository;
  static const std::string directory = (repository.path / "model").string();
  write_file(directory + "/model.safetensors.index.json", {reinterpret_cast<const char*>(data), size});
  try {
    const Checkpoint checkpoint = Checkpoint::open(directory);
    for (const std::string& name : checkpoint.names()) {
      checkpoint.tensor(name).clone();
      if (!std::filesystem::canonical(checkpoint.file_of(name)).string().starts_with(directory + "/")) __builtin_trap();
    }
  } catch (const Error&) {
  }
  return 0;
}
