#include <caracal/runtime/cuda_workspace.h>

#include <algorithm>

#include <caracal/runtime/cuda_ops.h>
#include <caracal/runtime/error.h>

namespace caracal {
namespace {

using kernels::cuda::Cuda;
using kernels::cuda::Graph;
using kernels::cuda::Stream;

// Of launches: 8 bytes at a time.
uint64_t hash_of(const std::vector<std::byte>& bytes) {
  uint64_t h = 0x9E3779B97F4A7C15 ^ bytes.size();
  for (size_t i = 0; i + 8 <= bytes.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + i, 8);
    h = (h ^ word) * 0xBF58476D1CE4E5B9;
    h ^= h >> 29;
  }
  return h;
}

}  // namespace

CudaWorkspace::CudaWorkspace(std::shared_ptr<const CudaDevice> device)
    : device_(std::move(device)),
      arena_([d = device_](size_t bytes) { return d->allocate(bytes); }),
      staging_([d = device_](size_t bytes) { return d->allocate_pinned(bytes); }),
      fetched_([d = device_](size_t bytes) { return d->allocate_pinned(bytes); }) {
  const auto zeros = std::vector<uint32_t>(size_t(kernels::cuda::kGemmCounters));  // as each kernel leaves them
  const size_t bytes = zeros.size() * sizeof(uint32_t);
  stream_ = device_->create_stream();
  counters_ = device_->allocate(bytes);
  device_->check(device_->table().upload(stream_.get(), counters_.get(), zeros.data(), bytes), "upload", bytes);
}

CudaWorkspace::~CudaWorkspace() {
  device_->use_to_release([&] { drop_graphs(); });
}

void CudaWorkspace::begin(DType numbers) {
  numbers_ = numbers;
  launches_.clear();
  places_.clear();
  receivers_.clear();  // before host_, where they may lie
  for (Arena* arena : {&arena_, &host_, &staging_, &fetched_}) arena->reset();
  if (twin_size_ < staging_.size()) {
    twin_ = device_->allocate(staging_.size());
    twin_size_ = staging_.size();
  }
  if (bases() == bases_) return;
  drop_graphs();
  forgotten_++;
  bases_ = bases();
}

void CudaWorkspace::note(const Launch& launch, const void* args) {
  last_ = launches_.size();
  launches_.resize(last_ + sizeof launch + launch.size);
  std::memcpy(launches_.data() + last_, &launch, sizeof launch);
  std::memcpy(launches_.data() + last_ + sizeof launch, args, launch.size);
}

const CudaWorkspace::Work CudaWorkspace::kFillZero{
    "fill_zero",
    [](const Cuda& table, Stream stream, const void* raw) {
      const CopyArgs& a = *static_cast<const CopyArgs*>(raw);
      return table.fill_zero(stream, a.to, a.bytes);
    },
    [](const void* raw) { return "bytes " + std::to_string(static_cast<const CopyArgs*>(raw)->bytes); }};

const CudaWorkspace::Work CudaWorkspace::kCopy{
    "copy",
    [](const Cuda& table, Stream stream, const void* raw) {
      const CopyArgs& a = *static_cast<const CopyArgs*>(raw);
      return table.copy(stream, a.to, a.from, a.bytes);
    },
    [](const void* raw) { return "bytes " + std::to_string(static_cast<const CopyArgs*>(raw)->bytes); }};

void CudaWorkspace::fill_zero(void* memory, size_t bytes) {
  const CopyArgs args{memory, nullptr, bytes};
  if (bytes > 0) note({&kFillZero, sizeof args}, &args);
}

void CudaWorkspace::copy(void* to, const void* from, size_t bytes) {
  const CopyArgs args{to, from, bytes};
  if (bytes > 0) note({&kCopy, sizeof args}, &args);
}

const int64_t* CudaWorkspace::on_device(const int64_t* values, int64_t count) {
  if (values == nullptr) return nullptr;
  for (auto place = places_.rbegin(); place != places_.rend(); ++place)
    if (place->values == values && place->count == count) return place->at;
  const size_t bytes = size_t(count) * sizeof(int64_t);
  const auto at = static_cast<const int64_t*>(on_device(values, bytes, bytes));
  places_.push_back({values, count, at});
  return at;
}

void* CudaWorkspace::on_device(const void* memory, size_t bytes, size_t room) {
  char* staged = static_cast<char*>(staging_.allocate(room));
  if (bytes > 0) std::memcpy(staged, memory, bytes);
  if (room > bytes) std::memset(staged + bytes, 0, room - bytes);
  // Behind the first block there is no twin, nor will what is noted be used.
  const bool inside = staging_.blocks() == 1 && twin_size_ >= staging_.size();
  return inside ? static_cast<char*>(twin_.get()) + (staged - static_cast<char*>(staging_.base())) : nullptr;
}

void CudaWorkspace::fetch(const Tensor& x, int64_t column, int64_t cols, Later f) {
  Tensor whole = x;
  const bool integers = x.dtype() == DType::I64;
  const int64_t width = x.rank() > 0 ? x.size(-1) : 1, rows = width > 0 ? x.numel() / width : 0;
  const Arena::Mark mark = arena_.mark();
  if (!integers && (x.dtype() != DType::F32 || cols != width)) {
    whole = Tensor::view(arena_.allocate(size_t(rows * cols) * sizeof(float)), {rows, cols}, DType::F32, nullptr,
                         device_->device());
    kernels::cuda::MatrixArgs args{};
    args.out_type = kernels::cuda::Type::f32;
    args.type = cuda_ops::type_of(x.dtype());
    args.out = whole.raw();
    args.x = static_cast<const char*>(x.raw()) + size_t(column) * size_of(x.dtype());
    args.ldo = cols;
    args.ldx = width;
    args.rows = rows;
    args.cols = cols;
    launch<&Cuda::copy_matrix>(args);
  }
  void* to = fetched_.allocate(whole.nbytes());
  copy(to, whole.raw(), whole.nbytes());
  arena_.rewind(mark);
  receivers_.push_back({Tensor::view(to, cols == width ? x.shape() : whole.shape(), whole.dtype()), std::move(f)});
}

bool CudaWorkspace::settle() const {
  for (const Arena* arena : {&arena_, &staging_, &fetched_})
    if (arena->blocks() > 1) return false;
  return bases() == bases_;
}

template <class F>
void CudaWorkspace::for_each_launch(const F& f) const {
  for (size_t at = 0; at < launches_.size();) {
    Launch launch;
    std::memcpy(&launch, launches_.data() + at, sizeof launch);
    at += sizeof launch;
    f(*launch.work, launches_.data() + at);
    at += launch.size;
  }
}

void CudaWorkspace::start_all(Stream stream) const {
  const Cuda& table = device_->table();
  if (const size_t bytes = staging_.mark().used; bytes > 0)
    device_->check(table.copy(stream, twin_.get(), staging_.base(), bytes), "copy", bytes);
  for_each_launch([&](const Work& work, const void* args) {
    if (const int error = work.start(table, stream, args); error != 0)
      device_->fail(error, work.name, "a launch with " + work.sizes(args));
  });
}

// Of what was noted, with its hash; or the end.
CudaWorkspace::Graphs::iterator CudaWorkspace::find(uint64_t* hash) {
  const size_t uploaded = staging_.mark().used, noted = launches_.size();
  const auto* tail = reinterpret_cast<const std::byte*>(&uploaded);
  launches_.insert(launches_.end(), tail, tail + sizeof uploaded);  // a part of what must be equal
  *hash = hash_of(launches_);
  const auto [first, last] = by_hash_.equal_range(*hash);
  const auto found = std::find_if(first, last, [&](const auto& entry) { return entry.second->launches == launches_; });
  if (found == last) key_ = launches_;
  launches_.resize(noted);
  return found == last ? graphs_.end() : found->second;
}

// Captures what find() found no graph of, as the one at this place in the order of use.
CudaWorkspace::Graphs::iterator CudaWorkspace::add(uint64_t hash, Graphs::iterator place) {
  const auto added = graphs_.insert(place, {key_, nullptr, nullptr});
  try {
    by_hash_.emplace(hash, added);
  } catch (...) {
    graphs_.erase(added);
    throw;
  }
  try {
    added->graph = capture_launches();
    device_->captures++;
  } catch (...) {
    added->failure = std::current_exception();
  }
  if (graphs_.size() > kMostGraphs) forget(std::prev(graphs_.end()));
  return added;
}

Graph CudaWorkspace::capture_launches() {
  const Cuda& table = device_->table();
  // A library may refuse to look for its code while this thread captures: cuBLASLt's heuristic does.
  for_each_launch([&](const Work& work, const void* args) {
    if (work.find == nullptr) return;
    if (const int error = work.find(table, args); error != 0)
      device_->fail(error, work.name, "code for " + work.sizes(args));
  });
  if (const int error = table.begin_capture(stream_.get()); error != 0) {
    captures_ = std::ranges::any_of(graphs_, [](const Captured& each) { return each.graph != nullptr; });
    device_->check(error, "begin_capture");
  }
  Graph graph = nullptr;
  std::exception_ptr failure;
  try {
    start_all(stream_.get());
  } catch (...) {
    failure = std::current_exception();
  }
  const int error = table.end_capture(stream_.get(), &graph);
  if (failure != nullptr) {
    if (graph != nullptr) table.destroy_graph(graph);
    std::rethrow_exception(failure);
  }
  device_->check(error, "end_capture");
  return graph;
}

bool CudaWorkspace::capture() {
  receivers_.clear();
  if (!captures_) return true;
  uint64_t hash;
  auto found = find(&hash);
  if (found == graphs_.end()) {
    if (graphs_.size() == kMostGraphs) return false;
    found = add(hash, graphs_.end());  // no call has used it yet
  }
  if (found->failure != nullptr) std::rethrow_exception(found->failure);
  return true;
}

void CudaWorkspace::execute(void* callers) {
  const Cuda& table = device_->table();
  const Stream stream = callers != nullptr ? static_cast<Stream>(callers) : stream_.get();
  Graph graph = nullptr;
  if (captures_) {
    uint64_t hash;
    auto found = find(&hash);
    if (found != graphs_.end())
      graphs_.splice(graphs_.begin(), graphs_, found);
    else
      found = add(hash, graphs_.begin());
    graph = found->graph;
  }
  if (graph != nullptr) {
    device_->check(table.launch_graph(stream, graph), "launch_graph");
    device_->graph_launches++;
  } else {
    try {
      start_all(stream);
    } catch (...) {
      table.synchronize(stream);  // what has started reads memory that the next call writes
      throw;
    }
  }
  device_->check(table.synchronize(stream), "synchronize");
  for (const Fetched& fetched : receivers_) fetched.f(fetched.x);
  receivers_.clear();
}

void CudaWorkspace::forget(Graphs::iterator which) noexcept {
  if (which->graph != nullptr) device_->table().destroy_graph(which->graph);
  std::erase_if(by_hash_, [&](const auto& entry) { return entry.second == which; });
  graphs_.erase(which);
}

void CudaWorkspace::drop_graphs() noexcept {
  for (const Captured& captured : graphs_)
    if (captured.graph != nullptr) device_->table().destroy_graph(captured.graph);
  graphs_.clear();
  by_hash_.clear();
}

std::unique_ptr<CudaWorkspace> CudaWorkspacePool::take() {
  {
    std::lock_guard lock(mutex_);
    // The one that was prepared rather than one that a rush of callers left behind; of equals the one used last.
    const auto best = std::ranges::max_element(idle_.rbegin(), idle_.rend(), {},
                                               [](const auto& workspace) { return workspace->graphs(); });
    if (best != idle_.rend()) {
      std::unique_ptr<CudaWorkspace> workspace = std::move(*best);
      idle_.erase(std::next(best).base());
      return workspace;
    }
  }
  return std::make_unique<CudaWorkspace>(device_);
}

void CudaWorkspacePool::give(std::unique_ptr<CudaWorkspace> workspace) noexcept {
  std::lock_guard lock(mutex_);
  try {
    idle_.push_back(std::move(workspace));
  } catch (...) {  // no memory for the list: it is made anew
  }
}

}  // namespace caracal
