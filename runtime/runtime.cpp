#include <caracal/runtime/runtime.h>

#include <sched.h>

#include <charconv>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include <caracal/runtime/cuda_workspace.h>

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

std::string asked_backend(const RuntimeOptions& options) { return asked_for(options.backend, "CARACAL_BACKEND"); }

// "" for the CPU.
std::string asked_device(const RuntimeOptions& options) {
  const std::string name = asked_for(options.device, "CARACAL_DEVICE");
  return name == "cpu" ? "" : name;
}

// Of the CPU, which beside a device prepares its inputs.
const kernels::Kernels& choose_kernels(const RuntimeOptions& options) {
  using namespace kernels;
  const Isa isa = choose_isa(options.isa);
  const std::string name = asked_backend(options), device = asked_device(options);
  Backend backend = best_backend();
  if (!device.empty()) {
    if (!name.empty() && name != "native" && name != "cublas")
      throw Error(ErrorCode::invalid_argument, "backend",
                  "expected native or cublas on device '" + device + "' but got '" + name + "'");
  } else if (!name.empty() && !backend_from_name(name.c_str(), backend)) {
    throw Error(ErrorCode::invalid_argument, "backend",
                "expected native, onednn or eigen but got '" + name + "'" +
                    (name == "cublas" ? ", which needs a CUDA device" : ""));
  }
  if (const Kernels* table = backend_kernels(backend, isa)) return *table;
  throw Error(ErrorCode::not_built, "backend",
              "expected a backend of this program but got '" + name +
                  "': not built; configure with -DCARACAL_ONEDNN=ON and link caracal::onednn");
}

// Null for the CPU.
std::shared_ptr<const CudaDevice> choose_device(const RuntimeOptions& options) {
  const std::string name = asked_device(options);
  if (name.empty()) return nullptr;
  int index = 0;
  const std::string_view number = name.starts_with("cuda:") ? std::string_view(name).substr(5) : "";
  const auto [stop, error] = std::from_chars(number.data(), number.data() + number.size(), index);
  if (name != "cuda" && (error != std::errc() || stop != number.data() + number.size() || index < 0))
    throw Error(ErrorCode::invalid_argument, "device", "expected cpu, cuda or cuda:N but got '" + name + "'");
  return CudaDevice::open(index, asked_backend(options) == "cublas");
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
    : cpu_(&choose_kernels(options)),
      executor_(options.executor),
      log_(options.log),
      cuda_(choose_device(options)),
      cuda_stream_(options.cuda_stream),
      tf32_(options.tf32) {
  if (tf32_ && cuda_ == nullptr)
    throw Error(ErrorCode::invalid_argument, "tf32", "expected false, since the device is cpu, but got true");
  if (cuda_stream_ != nullptr) expect_cuda_stream(cuda_.get(), cuda_stream_);
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

const char* Runtime::backend() const noexcept {
  return cuda_ != nullptr ? cuda_->table().backend : kernels::backend_name(cpu_->backend);
}

Runtime Runtime::alone() const {
  Runtime copy = *this;
  copy.executor_ = std::make_shared<ThreadPool>(1);
  copy.threads_ = 1;
  return copy;
}

Ctx::Ctx(const Runtime& runtime, CudaWorkspace& workspace, bool planning)
    : runtime_(runtime), arena_(workspace.arena()), planning_(planning), cuda_(&workspace) {}

Tensor Ctx::empty(const Shape& shape) { return empty(shape, cuda_ == nullptr ? DType::F32 : cuda_->numbers()); }

Tensor Ctx::empty(const Shape& shape, DType dtype) {
  const size_t bytes = size_t(shape.numel()) * size_of(dtype);
  if (cuda_ == nullptr) return Tensor::view(arena_.allocate(bytes), shape, dtype);
  if (dtype == DType::I64) return Tensor::view(cuda_->host().allocate(bytes), shape, dtype);
  return Tensor::view(arena_.allocate(bytes), shape, dtype, nullptr, cuda_->device().device());
}

int64_t Ctx::next_bucket(int64_t n) noexcept {
  for (int64_t small : {0, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024})
    if (n <= small) return small;
  const int64_t step = next_power(n) / 8;  // above 1024 a quarter of the power of two below
  return (n + step - 1) / step * step;
}

int64_t Ctx::next_power(int64_t n) noexcept {
  int64_t power = n <= 0 ? 0 : 1;
  while (power < n) power *= 2;
  return power;
}

int64_t Ctx::next_half_power(int64_t n) noexcept {
  const int64_t power = next_power(n);
  return power >= 4 && n <= power / 4 * 3 ? power / 4 * 3 : power;
}

int64_t Ctx::next_part(int64_t n, int64_t all) noexcept {
  for (int64_t part : {(all + 1) / 2, all - all / 4})
    if (n <= part) return part;
  return all;
}

Arena& Ctx::later_memory() const noexcept { return cuda_->host(); }

void Ctx::fetch_later(const Tensor& x, int64_t column, int64_t cols, Later f) {
  cuda_->fetch(x, column, cols, std::move(f));
}

}  // namespace caracal
