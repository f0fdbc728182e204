#include <caracal/runtime/runtime.h>

#include <sched.h>

#include <cstdlib>
#include <fstream>

namespace caracal {
namespace {

// "max 100000" or "200000 100000": quota and period in microseconds (cgroup v2); 0 when there is no quota.
int cgroup_quota() {
  std::string line, path;
  for (std::ifstream self("/proc/self/cgroup"); std::getline(self, line);)
    if (line.starts_with("0::")) path = line.substr(3);
  int cpus = 0;
  while (true) {  // a quota of any enclosing group counts
    std::ifstream file("/sys/fs/cgroup" + path + "/cpu.max");
    double quota = 0, period = 0;
    if (file >> quota >> period && quota > 0 && period > 0) {
      const int here = std::max(1, int(quota / period + 0.5));
      cpus = cpus == 0 ? here : std::min(cpus, here);
    }
    if (path.empty() || path == "/") return cpus;
    path.resize(path.find_last_of('/'));
  }
}

// What was asked for, else what the environment variable says, else "".
std::string asked_for(const std::string& requested, const char* variable) {
  const char* environment = std::getenv(variable);
  return !requested.empty() ? requested : environment != nullptr ? environment : "";
}

kernels::Isa choose_isa(const std::string& requested) {
  using namespace kernels;
  const std::string name = asked_for(requested, "CARACAL_ISA");
  if (name.empty()) return best_isa();
  Isa isa;
  if (isa_from_name(name.c_str(), isa) && isa_supported(isa)) return isa;
  std::string have;
  for (Isa each : kIsas)
    if (isa_supported(each)) have += std::string(have.empty() ? "" : ", ") + isa_name(each);
  throw Error(ErrorCode::invalid_argument, "Runtime",
              "expected an instruction set of this machine (" + have + ") but got '" + name + "'");
}

const kernels::Kernels& choose_kernels(const RuntimeOptions& options) {
  using namespace kernels;
  const Isa isa = choose_isa(options.isa);
  const std::string name = asked_for(options.backend, "CARACAL_BACKEND");
  Backend backend = best_backend();
  if (!name.empty() && !backend_from_name(name.c_str(), backend))
    throw Error(ErrorCode::invalid_argument, "backend", "expected native, onednn or eigen but got '" + name + "'");
  if (const Kernels* table = backend_kernels(backend, isa)) return *table;
  throw Error(ErrorCode::not_built, "backend",
              "expected a backend of this program but got '" + name +
                  "': not built; configure with -DCARACAL_ONEDNN=ON and link caracal::onednn");
}

}  // namespace

int available_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : int(std::thread::hardware_concurrency());
  if (const int quota = cgroup_quota(); quota > 0) cpus = std::min(cpus, quota);
  return std::max(cpus, 1);
}

Runtime::Runtime(const RuntimeOptions& options)
    : cpu_(&choose_kernels(options)), executor_(options.executor), log_(options.log) {
  if (options.threads < 0)
    throw Error(ErrorCode::invalid_argument, "Runtime",
                "expected threads of at least 0 but got " + std::to_string(options.threads));
  if (executor_ == nullptr)
    executor_ = std::make_shared<ThreadPool>(options.threads > 0 ? options.threads : available_cpus(), options.spin_us,
                                             options.move_late);
  threads_ = executor_->concurrency();
  if (threads_ < 1 || threads_ > ThreadPool::kMaxThreads)
    throw Error(ErrorCode::invalid_argument, "Runtime",
                "expected an executor with a concurrency of 1 to " + std::to_string(ThreadPool::kMaxThreads) +
                    " but got " + std::to_string(threads_));
}

Runtime Runtime::alone() const {
  Runtime copy = *this;
  copy.executor_ = std::make_shared<ThreadPool>(1);
  copy.threads_ = 1;
  return copy;
}

Tensor Ctx::empty(const Shape& shape, DType dtype) {
  const size_t bytes = size_t(shape.numel()) * size_of(dtype);
  return Tensor::view(arena_.allocate(bytes), shape, dtype);
}

}  // namespace caracal
