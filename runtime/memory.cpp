#include <caracal/runtime/memory.h>

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>

#include <caracal/runtime/cuda_device.h>
#include <caracal/runtime/cuda_ops.h>

namespace caracal {
namespace {

constexpr size_t kHugePage = size_t(2) << 20;
constexpr size_t kAlignment = 64, kDeviceAlignment = 256;

size_t round_up(size_t n, size_t to) {
  if (n > SIZE_MAX - to) throw std::bad_alloc();
  return (n + to - 1) / to * to;
}

// mmap gives page alignment only: map one huge page more and give the ends back.
std::shared_ptr<void> map_huge(size_t bytes) {
  const size_t size = round_up(bytes, kHugePage);
  if (size > SIZE_MAX - kHugePage) throw std::bad_alloc();
  void* raw = mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) throw std::bad_alloc();
  char* begin = static_cast<char*>(raw);
  char* aligned = begin + (kHugePage - uintptr_t(begin) % kHugePage) % kHugePage;
  if (aligned != begin) munmap(begin, size_t(aligned - begin));
  if (aligned != begin + kHugePage) munmap(aligned + size, size_t(begin + kHugePage - aligned));
#ifdef MADV_HUGEPAGE
  madvise(aligned, size, MADV_HUGEPAGE);  // advice only: ordinary pages serve as well
#endif
  return {aligned, [size](void* p) { munmap(p, size); }};
}

}  // namespace

std::shared_ptr<void> allocate_memory(size_t bytes) {
  if (bytes >= kHugePage) return map_huge(bytes);
  void* p = std::aligned_alloc(kAlignment, round_up(std::max<size_t>(bytes, 1), kAlignment));
  if (p == nullptr) throw std::bad_alloc();
  return {p, std::free};
}

std::shared_ptr<void> WeightStore::allocate(size_t bytes) {
  constexpr size_t kRegion = size_t(64) << 20;
  bytes = round_up(std::max<size_t>(bytes, 1), device_ != nullptr ? kDeviceAlignment : kAlignment);
  std::lock_guard lock(mutex_);
  if (region_ == nullptr || size_ - used_ < bytes) {
    size_ = std::max(bytes, kRegion);
    region_ = device_ != nullptr ? device_->allocate(size_) : allocate_memory(size_);
    used_ = 0;
  }
  std::shared_ptr<void> block(region_, static_cast<char*>(region_.get()) + used_);
  used_ += bytes;
  return block;
}

std::shared_ptr<const NextWeight> WeightStore::packed(const NextWeight& weight) {
  auto next = std::make_shared<NextWeight>();
  std::lock_guard lock(mutex_);
  if (next_ != nullptr) *next_ = weight;
  next_ = next;
  return next;
}

Tensor WeightStore::place(const Tensor& x, DType dtype) {
  if (device_ == nullptr || !x.defined()) return x;
  std::shared_ptr<void> memory = allocate(size_t(x.numel()) * size_of(dtype));
  upload(memory.get(), x, dtype);
  return Tensor::view(memory.get(), x.shape(), dtype, memory, device_->device());
}

std::shared_ptr<void> WeightStore::place_stack(const std::vector<Tensor>& parts) {
  size_t bytes = 0;
  for (const Tensor& part : parts) bytes += size_t(part.numel()) * size_of(numbers_);
  std::shared_ptr<void> memory = allocate(bytes);
  char* to = static_cast<char*>(memory.get());
  for (const Tensor& part : parts) {
    upload(to, part, numbers_);
    to += size_t(part.numel()) * size_of(numbers_);
  }
  return memory;
}

void WeightStore::upload(void* to, const Tensor& x, DType dtype) {
  if (x.numel() == 0) return;
  if (x.dtype() == DType::F64) return upload(to, x.to(DType::F32), dtype);
  const CudaDevice::Use use(*device_);
  {
    std::lock_guard lock(mutex_);
    if (stream_ == nullptr) stream_ = device_->create_stream();
  }
  const kernels::cuda::Cuda& table = device_->table();
  auto send = [&](void* there) {
    device_->check(table.upload(stream_.get(), there, x.raw(), x.nbytes()), "upload", x.nbytes());
  };
  if (x.dtype() == dtype) return send(to);
  const std::shared_ptr<void> as_stored = device_->allocate(x.nbytes());
  send(as_stored.get());
  kernels::cuda::MatrixArgs args{};
  args.out_type = cuda_ops::type_of(dtype);
  args.type = cuda_ops::type_of(x.dtype());
  args.out = to;
  args.x = as_stored.get();
  args.ldo = args.ldx = args.cols = x.size(-1);
  args.rows = x.numel() / args.cols;
  device_->check(table.copy_matrix(stream_.get(), args), "copy_matrix", x.nbytes());
  device_->check(table.synchronize(stream_.get()), "synchronize");
}

}  // namespace caracal
