// The shim itself: kernels that are right give what a GPU gives, and kernels that are wrong are found out.
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <caracal/tests/cuda/device_memory.h>
#include <caracal/tests/cuda/shim/shim.h>
#include <caracal/tests/kernels/testing.h>
#include <caracal/kernels/cuda/launch.cuh>

namespace caracal::kernels::cuda {
namespace {

template <class... P>
int run(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, const std::type_identity_t<P>&... arguments) {
  table();
  return launch(nullptr, kernel, grid, block, shared, arguments...);
}

/// Expects it to fail in that way, for that reason; over several orders of threads if it is a matter of luck.
template <class... P>
void expect_failure(cudaError_t error, const std::string& reason, void (*kernel)(P...), dim3 block, size_t shared,
                    const std::type_identity_t<P>&... arguments) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(run(kernel, 1, block, shared, arguments...), error);
  EXPECT_NE(testing::internal::GetCapturedStderr().find(reason), std::string::npos) << shim::last_failure();
  EXPECT_NE(shim::last_failure().find(reason), std::string::npos) << shim::last_failure();
}

std::vector<int> counting(size_t n) {
  std::vector<int> values(n);
  std::iota(values.begin(), values.end(), 0);
  return values;
}

// Grids and barriers.

__global__ void write_places(int* out) {
  wait_for_previous();
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned i = block * blockDim.x * blockDim.y * blockDim.z + thread;
  out[i] = int(i);
}
TEST(Grid, EveryThreadOfEveryBlockRunsOnce) {
  DeviceArray<int> out(3 * 2 * 2 * 5 * 3 * 4);
  EXPECT_CUDA(run(write_places, dim3(3, 2, 2), dim3(5, 3, 4), 0, out));
  EXPECT_EQ(out.download(), counting(out.size()));
}

template <bool kBarrier>
__global__ void reverse(const int* in, int* out) {
  CARACAL_SHARED(int, row);
  wait_for_previous();
  const int i = int(threadIdx.x), n = int(blockDim.x);
  row[i] = in[i];
  if (kBarrier) __syncthreads();
  out[i] = row[n - 1 - i];
}
template <bool kBarrier>
__global__ void reverse_static(const int* in, int* out) {
  __shared__ int row[100];
  wait_for_previous();
  const int i = int(threadIdx.x), n = int(blockDim.x);
  row[i] = in[i];
  if (kBarrier) __syncthreads();
  out[i] = row[n - 1 - i];
}
TEST(Barrier, MakesWhatOthersWroteVisible) {
  DeviceArray<int> in(counting(100)), out(100);
  for (int repeat = 0; repeat < 10; repeat++) {
    for (auto kernel : {reverse<true>, reverse_static<true>}) {
      EXPECT_CUDA(run(kernel, 1, 100, 400, in, out));
      std::vector<int> reversed = out.download();
      std::reverse(reversed.begin(), reversed.end());
      EXPECT_EQ(reversed, counting(100));
    }
  }
}
TEST(Barrier, ThatIsMissingIsSeen) {
  DeviceArray<int> in(counting(100)), out(100);
  for (auto kernel : {reverse<false>, reverse_static<false>}) {
    EXPECT_CUDA(run(kernel, 1, 100, 400, in, out));  // first a run that is right, so that the memory holds the answer
    EXPECT_CUDA(run(kernel, 1, 100, 400, in, out));
    const std::vector<int> seen = out.download();
    EXPECT_GT(std::count(seen.begin(), seen.end(), -1), 0);  // poison
  }
}

/// Each thread takes its right neighbour's number: without the second barrier some neighbours have changed theirs
/// before.
template <bool kBarrier>
__global__ void rotate(int* values, int times) {
  CARACAL_SHARED(int, row);
  wait_for_previous();
  const int i = int(threadIdx.x), n = int(blockDim.x);
  row[i] = values[i];
  for (int t = 0; t < times; t++) {
    __syncthreads();
    const int next = row[(i + 1) % n];
    if (kBarrier) __syncthreads();
    row[i] = next;
  }
  values[i] = row[i];
}
TEST(Barrier, BetweenReadingAndOverwritingIsMissed) {
  DeviceArray<int> values(counting(96));
  EXPECT_CUDA(run(rotate<true>, 1, 96, 96 * 4, values, 96));
  EXPECT_EQ(values.download(), counting(96));
  EXPECT_CUDA(run(rotate<false>, 1, 96, 96 * 4, values, 96));
  EXPECT_NE(values.download(), counting(96));
}

__global__ void votes(int* out) {
  wait_for_previous();
  const int x = threadIdx.x % 3 == 0;
  const int count = __syncthreads_count(x), any = __syncthreads_or(x), all = __syncthreads_and(x);
  const int ones = __syncthreads_and(1), none = __syncthreads_or(0);
  if (threadIdx.x == 7) out[0] = count, out[1] = any, out[2] = all, out[3] = ones, out[4] = none;
}
TEST(Barrier, CountsVotes) {
  DeviceArray<int> out(5);
  EXPECT_CUDA(run(votes, 1, 70, 0, out));
  EXPECT_EQ(out.download(), (std::vector<int>{24, 1, 0, 1, 0}));
}

__global__ void count_blocks(unsigned* counter, unsigned* last) {
  wait_for_previous();
  if (threadIdx.x == 0 && atomicAdd(counter, 1u) == gridDim.x - 1) *last = blockIdx.x;
}
TEST(Grid, BlocksComeInAnyOrder) {
  unsigned different = 0;
  for (int repeat = 0; repeat < 10; repeat++) {
    DeviceArray<unsigned> counter(std::vector<unsigned>{0}), last(1);
    EXPECT_CUDA(run(count_blocks, 50, 32, 0, counter, last));
    EXPECT_EQ(counter.download()[0], 50u);
    different += last.download()[0] != 49;
  }
  EXPECT_GT(different, 5u);
}

/// Each thread writes a 1 and counts its block; the last one adds all of them up.
template <bool kBarrier, bool kRelease, bool kAcquire>
__global__ void sum_by_the_last(int* ones, unsigned* counter, int* sum) {
  __shared__ bool last;
  wait_for_previous();
  ones[blockIdx.x * blockDim.x + threadIdx.x] = 1;
  if (kBarrier) __syncthreads();
  if (threadIdx.x == 0) {
    if (kRelease) __threadfence();
    last = atomicAdd(counter, 1u) == gridDim.x - 1;
    if (kAcquire) __threadfence();
  }
  __syncthreads();
  if (!last || threadIdx.x != 0) return;
  *sum = 0;
  for (unsigned i = 0; i < gridDim.x * blockDim.x; i++) *sum += ones[i];
}
TEST(WeakMemory, BlocksSeeWhatFencesAndAtomicsPromise) {
  auto sum_of = [](auto kernel, bool weak) {
    DeviceArray<int> ones(5 * 96), sum(1);
    DeviceArray<unsigned> counter(std::vector<unsigned>{0});
    shim::set_weak_memory(weak);
    EXPECT_CUDA(run(kernel, 5, 96, 0, ones, counter, sum));
    shim::set_weak_memory(false);
    EXPECT_EQ(ones.download(), std::vector<int>(5 * 96, 1));
    EXPECT_EQ(counter.download()[0], 5u);
    return sum.download()[0];
  };
  for (int repeat = 0; repeat < 5; repeat++) {
    EXPECT_EQ(sum_of(sum_by_the_last<true, true, true>, true), 5 * 96);
    EXPECT_NE(sum_of(sum_by_the_last<true, false, true>, true), 5 * 96);
    EXPECT_NE(sum_of(sum_by_the_last<true, true, false>, true), 5 * 96);
    EXPECT_EQ(sum_of(sum_by_the_last<true, false, false>, false), 5 * 96);  // by luck
  }
  int wrong = 0;
  for (int repeat = 0; repeat < 10; repeat++) {
    wrong += sum_of(sum_by_the_last<false, true, true>, true) != 5 * 96;
  }
  EXPECT_GT(wrong, 0);
}

/// Shows a number, and waits for the other block's.
__global__ void meet(unsigned* flags, unsigned* seen, int patience) {
  wait_for_previous();
  if (threadIdx.x != 0) return;
  atomicExch(flags + blockIdx.x, 1u);
  for (int i = 0; i < patience && seen[blockIdx.x] != 1; i++) seen[blockIdx.x] = load_counter(flags + 1 - blockIdx.x);
}
/// Adds to a counter without an atomic operation, with a fence in the middle.
__global__ void add_carelessly(unsigned* counter) {
  wait_for_previous();
  if (threadIdx.x != 0) return;
  const unsigned old = *counter;
  __threadfence();
  *counter = old + 1;
}
/// What its own thread 0 wrote, in shared memory of either kind.
__global__ void keep_own(unsigned* out) {
  CARACAL_SHARED(unsigned, mine);
  __shared__ unsigned also;
  wait_for_previous();
  if (threadIdx.x == 0) mine[0] = also = blockIdx.x;
  for (int i = 0; i < 20; i++) __syncthreads();
  if (threadIdx.x == 40) out[blockIdx.x] = mine[0] == also ? mine[0] : 999;
}
TEST(BlocksAtOnce, TakeTurnsAndKeepTheirOwn) {
  for (const bool weak : {false, true}) {
    shim::set_weak_memory(weak);
    unsigned both = 0, lost = 0;
    for (int repeat = 0; repeat < 20; repeat++) {
      const std::vector<unsigned> zeros(2);
      DeviceArray<unsigned> flags(zeros), seen(zeros), counter(zeros), out(10);
      shim::set_blocks_at_once(1);
      EXPECT_CUDA(run(meet, 2, 32, 0, flags, seen, 1000));
      EXPECT_EQ(seen.download()[0] + seen.download()[1], 1u);  // the first one waited in vain
      flags.upload(zeros), seen.upload(zeros);
      shim::set_blocks_at_once(2);
      EXPECT_CUDA(run(meet, 2, 32, 0, flags, seen, 1000));
      EXPECT_EQ(seen.download(), (std::vector<unsigned>{1, 1}));
      flags.upload(zeros), seen.upload(zeros);
      EXPECT_CUDA(run(meet, 2, 32, 0, flags, seen, 1));
      both += seen.download()[0] + seen.download()[1] == 2;
      shim::set_blocks_at_once(3);
      EXPECT_CUDA(run(add_carelessly, 10, 32, 0, counter));
      lost += 10 - counter.download()[0];
      EXPECT_CUDA(run(keep_own, 10, 64, 4, out));
      const std::vector<unsigned> own = out.download();
      for (unsigned i = 0; i < 10; i++) EXPECT_EQ(own[i], i);
    }
    EXPECT_GT(both, 2u);
    EXPECT_LT(both, 20u);
    EXPECT_GT(lost, 10u);
  }
  shim::set_weak_memory(false);
  shim::set_blocks_at_once(1);
}

__global__ void half_a_barrier_each() {
  wait_for_previous();
  if (blockIdx.x == 0 || threadIdx.x < 32) __syncthreads();
}
TEST(BlocksAtOnce, ErrorsAreFoundAndForgotten) {
  shim::set_blocks_at_once(4);
  testing::internal::CaptureStderr();
  EXPECT_EQ(run(half_a_barrier_each, 6, 64, 0), cudaErrorLaunchTimeout);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("waits at __syncthreads"), std::string::npos);
  DeviceArray<unsigned> out(10);
  EXPECT_CUDA(run(keep_own, 10, 64, 4, out));
  EXPECT_EQ(out.download()[9], 9u);
  shim::set_blocks_at_once(1);
}

// Dynamic shared memory together with what is static.
TEST(SharedMemory, IsNoMoreThanABlockMayHave) {
  const size_t usual = 48 << 10, most = current_device().shared_bytes, fixed = 100 * sizeof(int);
  EXPECT_EQ(most, size_t(shim::arch() == 75 ? 64 : shim::arch() == 80 ? 163 : 227) << 10);
  DeviceArray<int> in(counting(100)), out(100);
  for (const size_t limit : {usual, most}) {  // launch() asks for more than the usual only if it has to
    EXPECT_CUDA(run(reverse_static<true>, 1, 100, limit - fixed, in, out));
    EXPECT_CUDA(run(reverse<true>, 1, 100, limit, in, out));
    expect_failure(cudaErrorInvalidValue, "static", reverse_static<true>, 100, limit, in, out);
    expect_failure(cudaErrorInvalidValue, "static", reverse_static<true>, 100, limit - fixed + 4, in, out);
  }
  EXPECT_NE(run(reverse<true>, 1, 100, most + 1, in, out), 0);
}

// What would hang or is not allowed.

__global__ void some_return() {
  wait_for_previous();
  if (threadIdx.x == 3) return;
  __syncthreads();
}
__global__ void some_do_not_wait() {
  if (threadIdx.x == 3) return;
  wait_for_previous();
}
__global__ void lanes_missing() {
  wait_for_previous();
  if (threadIdx.x % 32 < 16) __shfl_xor_sync(0xffffffffu, 1, 1);
}
__global__ void full_mask() {
  wait_for_previous();
  __shfl_xor_sync(0xffffffffu, 1, 1);
}
__global__ void lane_done() {
  wait_for_previous();
  if (threadIdx.x == 40) return;
  __syncwarp();
}
__global__ void outside_mask() {
  wait_for_previous();
  __ballot_sync(0x0000ffffu, 1);
}
__global__ void barrier_in_branch() {
  wait_for_previous();
  if (threadIdx.x % 2 == 0) {
    __syncthreads();
  } else {
    __syncwarp(0xffffffffu);
  }
}
__global__ void source_outside_mask(int* out) {
  wait_for_previous();
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_down_sync(0xffffu, 1, 1);
}
__global__ void copy_outside(const int* in) {
  wait_for_previous();
  int here[8];
  cp_async_16(here, in);
}
__global__ void copy_misaligned(const char* in, int to, int from) {
  CARACAL_SHARED(char, row);
  wait_for_previous();
  cp_async_16(row + to, in + from);
}
TEST(Failures, AreReportedAndDoNotHang) {
  DeviceArray<int> memory(32);
  expect_failure(cudaErrorLaunchTimeout, "thread (3, 0, 0) of block (0, 0, 0) is done", some_return, 64, 0);
  expect_failure(cudaErrorLaunchFailure, "ends without wait_for_previous()", some_do_not_wait, 64, 0);
  expect_failure(cudaErrorLaunchTimeout, "waits in __shfl_xor_sync, mask 0xffffffff", lanes_missing, 64, 0);
  expect_failure(cudaErrorLaunchTimeout, "thread (40, 0, 0) of block (0, 0, 0) is done", lane_done, 64, 0);
  expect_failure(cudaErrorLaunchFailure, "not in the mask", outside_mask, 64, 0);
  expect_failure(cudaErrorLaunchTimeout, "is at __syncthreads", barrier_in_branch, 64, 0);
  expect_failure(cudaErrorLaunchFailure, "lanes that its warp does not have", full_mask, 48, 0);
  expect_failure(cudaErrorLaunchFailure, "outside its mask", source_outside_mask, 32, 0, memory);
  expect_failure(cudaErrorIllegalAddress, "not in shared memory", copy_outside, 32, 0, memory);
  const char* bytes = reinterpret_cast<const char*>(memory.data());
  expect_failure(cudaErrorMisalignedAddress, "not aligned", copy_misaligned, 1, 64, bytes, 8, 0);
  expect_failure(cudaErrorMisalignedAddress, "not aligned", copy_misaligned, 1, 64, bytes, 0, 8);
  expect_failure(cudaErrorIllegalAddress, "not in shared memory", copy_misaligned, 1, 64, bytes, 64, 0);
  // And the next kernel is none the worse for it.
  DeviceArray<int> in(counting(100)), out(100);
  EXPECT_CUDA(run(reverse<true>, 1, 100, 400, in, out));
  EXPECT_EQ(out.download()[0], 99);
}

TEST(Failures, LaunchesThatAGpuRefuses) {
  DeviceArray<int> in(counting(100)), out(100);
  EXPECT_EQ(run(reverse<true>, 1, 1025, 400, in, out), cudaErrorInvalidConfiguration);
  EXPECT_EQ(run(reverse<true>, dim3(1, 65536), 1, 400, in, out), cudaErrorInvalidConfiguration);
  EXPECT_EQ(run(reverse<true>, 1, 100, current_device().shared_bytes + 1, in, out), cudaErrorInvalidValue);
  EXPECT_CUDA(run(reverse<true>, 1, 100, current_device().shared_bytes, in, out));
  EXPECT_CUDA(run(reverse<true>, 0, 100, 400, in, out));  // no blocks: nothing to do
}

#if defined(__SANITIZE_ADDRESS__)
__global__ void read_at(const int* in, int i, int* out) {
  wait_for_previous();
  out[0] = in[i];
}
__global__ void read_shared_at(int i, int* out) {
  __shared__ int row[100];
  wait_for_previous();
  row[threadIdx.x] = 1;
  out[0] = row[i];
}
__global__ void read_dynamic_at(int i, int* out) {
  CARACAL_SHARED(int, row);
  wait_for_previous();
  out[0] = row[i];
}
TEST(Failures, AddressSanitizerSeesTheEndsOfAllMemory) {
  DeviceArray<int> in(counting(100)), out(1);
  EXPECT_CUDA(run(read_at, 1, 1, 0, in, 99, out));
  EXPECT_DEATH(run(read_at, 1, 1, 0, in, 100, out), "heap-buffer-overflow");
  EXPECT_DEATH(run(read_at, 1, 1, 0, in, -1, out), "heap-buffer-overflow");
  EXPECT_CUDA(run(read_shared_at, 1, 1, 0, 99, out));
  EXPECT_DEATH(run(read_shared_at, 1, 1, 0, 100, out), "out of bounds|global-buffer-overflow");
  EXPECT_CUDA(run(read_dynamic_at, 1, 1, 400, 99, out));
  EXPECT_DEATH(run(read_dynamic_at, 1, 1, 400, 100, out), "heap-buffer-overflow");
}
#endif

// Warps.

__global__ void shuffles(int* out) {
  wait_for_previous();
  const int i = int(threadIdx.x), lane = i % 32;
  int* row = out + 10 * i;
  row[0] = __shfl_sync(0xffffffffu, i, 5);
  row[1] = __shfl_xor_sync(0xffffffffu, i, 3);
  row[2] = __shfl_up_sync(0xffffffffu, i, 2);
  row[3] = __shfl_down_sync(0xffffffffu, i, 2);
  row[4] = __shfl_down_sync(0xffffffffu, i, 1, 8);
  row[5] = __shfl_sync(0xffffffffu, i, 9, 8);
  row[6] = int(__ballot_sync(0xffffffffu, lane % 4 == 1));
  row[7] = 2 * __any_sync(0xffffffffu, lane == 9) + __all_sync(0xffffffffu, lane < 31);
  const unsigned half = lane < 16 ? 0xffffu : 0xffff0000u;  // two groups of lanes apart
  if (lane < 16) __syncwarp(half);
  row[8] = __shfl_xor_sync(half, i, 1);
  row[9] = int(__shfl_xor_sync(0xffffffffu, 0x100000000ll * i, 1) >> 32);
}
TEST(Warp, ShufflesAndVotes) {
  DeviceArray<int> out(640);
  EXPECT_CUDA(run(shuffles, 1, 64, 0, out));
  const std::vector<int> seen = out.download();
  for (int i = 0; i < 64; i++) {
    const int lane = i % 32, warp = i - lane;
    const int expected[] = {warp + 5,
                            i ^ 3,
                            lane < 2 ? i : i - 2,
                            lane > 29 ? i : i + 2,
                            lane % 8 == 7 ? i : i + 1,
                            i - lane % 8 + 1,
                            0x22222222,
                            2,
                            i ^ 1,
                            i ^ 1};
    for (int j = 0; j < 10; j++) EXPECT_EQ(seen[size_t(10 * i + j)], expected[j]) << i << " " << j;
  }
}

__global__ void sums(const float* x, float* out) {
  wait_for_previous();
  const float mine = x[threadIdx.x];
  out[threadIdx.x] = block_sum(mine);
  out[blockDim.x + threadIdx.x] = warp_sum(mine);
}
TEST(Warp, SumsHaveOneTree) {
  for (size_t n : {32, 96, 1024}) {
    const std::vector<float> x = random_floats(n);
    DeviceArray<float> in(x), out(2 * n);
    EXPECT_CUDA(run(sums, 1, unsigned(n), 0, in, out));
    const std::vector<float> seen = out.download();
    EXPECT_NEAR(seen[0], std::accumulate(x.begin(), x.end(), 0.0), 1e-4);
    for (size_t i = 0; i < n; i++) {
      EXPECT_EQ(seen[i], seen[0]);
      EXPECT_EQ(seen[n + i], seen[n + i / 32 * 32]);
    }
  }
}

// Matrices.

/// d = a · bᵀ: a (16, 16), b (8, 16), fragments as ptx.cuh lays them out.
template <class T>
__global__ void one_product(const T* a, const T* b, float* d) {
  wait_for_previous();
  const int g = int(threadIdx.x) / 4, t = int(threadIdx.x) % 4;
  auto pair = [](const T* p) { return *reinterpret_cast<const uint32_t*>(p); };
  const uint32_t ra[4] = {pair(a + g * 16 + 2 * t), pair(a + (g + 8) * 16 + 2 * t), pair(a + g * 16 + 2 * t + 8),
                          pair(a + (g + 8) * 16 + 2 * t + 8)};
  const uint32_t rb[2] = {pair(b + g * 16 + 2 * t), pair(b + g * 16 + 2 * t + 8)};
  float rd[4];
  for (int i = 0; i < 4; i++) rd[i] = d[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
  mma_16x8x16<T>(rd, ra, rb);
  for (int i = 0; i < 4; i++) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = rd[i];
}

/// The same through shared memory: b, two matrices twice, from (8, 16) or, with kTrans, from (16, 8) by _trans.
template <class T, bool kTrans>
__global__ void loaded_product(const T* a, const T* b, float* d) {
  __shared__ __align__(16) T sa[16][24];
  __shared__ __align__(16) T sb[16][24];
  wait_for_previous();
  const int lane = int(threadIdx.x), g = lane / 4, t = lane % 4;
  const int columns = kTrans ? 8 : 16, rows = 128 / columns;
  cp_async_16(&sa[lane / 2][lane % 2 * 8], a + lane * 8);
  if (lane < 16) cp_async_16(&sb[lane * 8 / columns][lane * 8 % columns], b + lane * 8);
  cp_async_commit();
  cp_async_wait<0>();
  __syncwarp();
  uint32_t ra[4], both[4];
  ldmatrix_x4(ra, &sa[lane % 16][lane / 16 * 8]);
  if (kTrans) {
    ldmatrix_x4_trans(both, &sb[lane % 16][0]);
  } else {
    ldmatrix_x4(both, &sb[lane % rows][lane / 8 % 2 * 8]);
  }
  const uint32_t rb[2] = {both[0], both[1]};
  float rd[4] = {};
  mma_16x8x16<T>(rd, ra, rb);
  for (int i = 0; i < 4; i++) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = rd[i];
}

template <class T>
void check_products(Type type) {
  const std::vector<float> a = rounded(type, random_floats(256, 1, 1)), b = rounded(type, random_floats(128, 1, 2));
  const std::vector<float> d = random_floats(128, 1, 3);
  std::vector<float> transposed(128);
  std::vector<double> product(128), sum(128);
  for (size_t i = 0; i < 128; i++) {
    for (size_t k = 0; k < 16; k++) product[i] += double(a[i / 8 * 16 + k]) * double(b[i % 8 * 16 + k]);
    sum[i] = product[i] + double(d[i]);
    transposed[i % 16 * 8 + i / 16] = b[i];
  }
  Numbers da(type, a), db(type, b), dt(type, transposed);
  DeviceArray<float> dd(d);
  const T *pa = static_cast<T*>(da.data()), *pb = static_cast<T*>(db.data()), *pt = static_cast<T*>(dt.data());
  EXPECT_CUDA(run(one_product<T>, 1, 32, 0, pa, pb, dd));
  expect_near(dd.download(), sum, 1e-6);
  EXPECT_CUDA((run(loaded_product<T, false>, 1, 32, 0, pa, pb, dd)));
  expect_near(dd.download(), product, 1e-6);
  EXPECT_CUDA((run(loaded_product<T, true>, 1, 32, 0, pa, pt, dd)));
  expect_near(dd.download(), product, 1e-6);
}
TEST(Matrix, ProductsOfHalf) { check_products<half>(Type::f16); }
TEST(Matrix, ProductsOfBfloat16) {
  if (capability() < 80) GTEST_SKIP() << "sm_75 has no instruction for it";
  check_products<__nv_bfloat16>(Type::bf16);
}

/// d += a · bᵀ in TF32: a (16, 8), b (8, 8), loaded by ldmatrix: b twice, as it is asked for four matrices.
__global__ void tf32_product(const float* a, const float* b, float* d, const bool rounds) {
  __shared__ __align__(16) float sa[16][12];
  __shared__ __align__(16) float sb[8][12];
  wait_for_previous();
  const int lane = int(threadIdx.x), g = lane / 4, t = lane % 4;
  cp_async_16(&sa[lane / 2][lane % 2 * 4], a + lane * 4);
  if (lane < 16) cp_async_16(&sb[lane / 2][lane % 2 * 4], b + lane * 4);
  cp_async_commit();
  cp_async_wait<0>();
  __syncwarp();
  uint32_t ra[4], both[4];
  ldmatrix_x4(ra, &sa[lane % 16][lane / 16 * 4]);
  ldmatrix_x4(both, &sb[lane % 8][lane / 8 % 2 * 4]);
  uint32_t rb[2] = {both[0], both[1]};
  for (uint32_t& x : ra) x = rounds ? to_tf32(x) : x;
  for (uint32_t& x : rb) x = rounds ? to_tf32(x) : x;
  float rd[4];
  for (int i = 0; i < 4; i++) rd[i] = d[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
  mma_16x8x8_tf32(rd, ra, rb);
  for (int i = 0; i < 4; i++) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = rd[i];
}
TEST(Matrix, ProductsOfTf32) {
  if (capability() < 80) GTEST_SKIP() << "sm_75 has no instruction for it";
  const std::vector<float> a = random_floats(128, 1, 1), b = random_floats(64, 1, 2), d = random_floats(128, 1, 3);
  const DeviceArray<float> da(a), db(b);
  for (const bool rounds : {true, false}) {  // what is not rounded is cut off
    auto number = [&](float x) {
      return double(rounds ? rounded_to_tf32(x) : std::bit_cast<float>(std::bit_cast<uint32_t>(x) & ~0x1fffu));
    };
    const DeviceArray<float> dd(d);
    EXPECT_CUDA(run(tf32_product, 1, 32, 0, da, db, dd, rounds));
    std::vector<double> sum(d.begin(), d.end());
    for (size_t i = 0; i < 128; i++) {
      for (size_t k = 0; k < 8; k++) sum[i] += number(a[i / 8 * 8 + k]) * number(b[i % 8 * 8 + k]);
    }
    expect_near(dd.download(), sum, 1e-6);
  }
}

__global__ void round_to_tf32(const uint32_t* in, uint32_t* out) {
  wait_for_previous();
  out[threadIdx.x] = to_tf32(in[threadIdx.x]) & ~0x1fffu;  // as the product reads it
}
TEST(Matrix, Tf32RoundsToTheNearestTiesAwayFromZero) {
  const std::vector<std::pair<uint32_t, uint32_t>> pairs = {{0, 0},
                                                            {0x80000000, 0x80000000},
                                                            {0x3f800fff, 0x3f800000},
                                                            {0x3f801000, 0x3f802000},  // a tie
                                                            {0xbf801000, 0xbf802000},
                                                            {0x3f803000, 0x3f804000},
                                                            {0x3f801fff, 0x3f802000},
                                                            {0x3fffffff, 0x40000000},
                                                            {0x7f7fe000, 0x7f7fe000},  // the largest
                                                            {0x7f7fffff, 0x7f800000},
                                                            {0x7f800000, 0x7f800000},
                                                            {0xff800000, 0xff800000},
                                                            {0x7fffffff, 0x7fffe000},  // the NaN of CUDA's arithmetic
                                                            {0xffffffff, 0xffffe000},
                                                            {0x7fc00000, 0x7fc00000},
                                                            {0x00000fff, 0},
                                                            {0x00001000, 0x00002000}};
  std::vector<uint32_t> in, want;
  for (const auto& [x, y] : pairs) in.push_back(x), want.push_back(y);
  const DeviceArray<uint32_t> on(in), out(in.size());
  EXPECT_CUDA(run(round_to_tf32, 1, unsigned(in.size()), 0, on, out));
  EXPECT_EQ(out.download(), want);
  for (const float x : random_floats(100)) {
    EXPECT_EQ(std::bit_cast<uint32_t>(rounded_to_tf32(x)), to_tf32(std::bit_cast<uint32_t>(x)) & ~0x1fffu);
  }
}

template <bool kTrans>
__global__ void load_matrices(const uint16_t* in, uint32_t* out) {
  CARACAL_SHARED(uint16_t, rows);  // 32 rows of 8
  wait_for_previous();
  const int lane = int(threadIdx.x);
  for (int i = lane; i < 256; i += 32) rows[i] = in[i];
  __syncwarp();
  uint32_t four[4];
  if (kTrans) {
    ldmatrix_x4_trans(four, rows + 8 * lane);
  } else {
    ldmatrix_x4(four, rows + 8 * lane);
  }
  for (int i = 0; i < 4; i++) out[4 * lane + i] = four[i];
}
TEST(Matrix, LoadsOfBothLayouts) {
  std::vector<uint16_t> numbers(256);
  std::iota(numbers.begin(), numbers.end(), uint16_t(0));
  DeviceArray<uint16_t> in(numbers);
  for (const bool trans : {false, true}) {
    DeviceArray<uint32_t> out(4 * 32);
    EXPECT_CUDA(run(trans ? load_matrices<true> : load_matrices<false>, 1, 32, 512, in, out));
    const std::vector<uint32_t> seen = out.download();
    for (uint32_t lane = 0; lane < 32; lane++) {
      const uint32_t g = lane / 4, t = lane % 4;
      const uint32_t first = trans ? 16 * t + g : 8 * g + 2 * t, second = trans ? first + 8 : first + 1;
      for (uint32_t i = 0; i < 4; i++) {
        EXPECT_EQ(seen[4 * lane + i], (first + 64 * i) | (second + 64 * i) << 16) << lane << " " << i;
      }
    }
  }
}

/// Sums rows of 16 bytes, the next ones being copied meanwhile. kWait 1: as it should be; 2: it reads one stage too
/// early.
template <int kWait, bool kBarrier>
__global__ void sum_stages(const int* in, int stages, int* out) {
  __shared__ int4 stage[2][32];
  wait_for_previous();
  const int lane = int(threadIdx.x);
  auto begin = [&](int i) {
    if (i < stages) cp_async_16(&stage[i % 2][lane], in + 4 * (32 * i + lane));
    cp_async_commit();
  };
  begin(0);
  int sum = 0;
  for (int i = 0; i < stages; i++) {
    begin(i + 1);
    cp_async_wait<kWait>();
    __syncwarp();
    const int4 other = stage[i % 2][31 - lane];
    sum += other.x + other.y + other.z + other.w;
    if (kBarrier) __syncwarp();
  }
  out[lane] = sum;
}
__global__ void copy_or_zero(const int* in, int* out) {
  __shared__ int4 row[32];
  wait_for_previous();
  const int lane = int(threadIdx.x);
  cp_async_16(&row[lane], lane % 2 == 0 ? in + 4 * lane : nullptr, lane % 2 == 0);
  cp_async_commit();
  cp_async_wait<0>();
  out[lane] = row[lane].y;
}
TEST(AsyncCopy, IsThereAfterTheWaitAndNotBefore) {
  const int stages = 6;
  DeviceArray<int> in(counting(4 * 32 * stages)), out(32);
  std::vector<int> expected(32);
  for (int i = 0; i < 4 * 32 * stages; i++) expected[size_t(31 - i / 4 % 32)] += i;
  EXPECT_CUDA((run(sum_stages<1, true>, 1, 32, 0, in, stages, out)));
  EXPECT_EQ(out.download(), expected);
  EXPECT_CUDA((run(sum_stages<0, true>, 1, 32, 0, in, stages, out)));
  EXPECT_EQ(out.download(), expected);
  if (capability() >= 80) {  // sm_75 copies at once
    EXPECT_CUDA((run(sum_stages<2, true>, 1, 32, 0, in, stages, out)));
    EXPECT_NE(out.download(), expected);
  }
  EXPECT_CUDA((run(sum_stages<1, false>, 1, 32, 0, in, stages, out)));
  EXPECT_NE(out.download(), expected);

  EXPECT_CUDA(run(copy_or_zero, 1, 32, 0, in, out));
  for (int i = 0; i < 32; i++) EXPECT_EQ(out.download()[size_t(i)], i % 2 == 0 ? 4 * i + 1 : 0);
}

// Numbers.

TEST(Numbers, RoundToNearestEvenAsTheHelpersDo) {
  std::vector<float> values = {0.0f,     -0.0f,     1.0f,       65504.0f,   65519.9f,      65520.0f,   -1e30f,
                               INFINITY, -INFINITY, 0x1p-14f,   0x1p-24f,   0x1p-25f,      0x1.8p-25f, 0x1.ffcp-15f,
                               3.4e38f,  0x1p-149f, 0x1.002p0f, 0x1.006p0f, 0x1.002001p0f, 0x1.01p0f,  0x1.03p0f};
  for (float x : random_floats(5000, 100.0f)) values.push_back(x);
  for (float x : random_floats(5000, 1e-4f)) values.push_back(x);
  for (float x : values) {
    EXPECT_EQ(__half_as_ushort(__float2half_rn(x)), bits_of(Type::f16, x)) << x;
    EXPECT_EQ(__bfloat16_as_ushort(__float2bfloat16_rn(x)), bits_of(Type::bf16, x)) << x;
  }
  for (uint32_t bits = 0; bits < 65536; bits++) {
    for (Type type : {Type::f16, Type::bf16}) {
      const float expected = from_bits(type, uint16_t(bits));
      const float x = type == Type::f16 ? __half2float(__ushort_as_half(static_cast<unsigned short>(bits)))
                                        : __bfloat162float(__ushort_as_bfloat16(static_cast<unsigned short>(bits)));
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(x));
      } else {
        EXPECT_EQ(std::bit_cast<uint32_t>(x), std::bit_cast<uint32_t>(expected)) << bits;
        EXPECT_EQ(bits_of(type, x), bits);
      }
    }
  }
}

template <class T>
__global__ void double_packs(const T* in, T* out) {
  wait_for_previous();
  float x[8];
  load_vector(x, in + 8 * threadIdx.x);
  for (float& v : x) v *= 2;
  store_vector(out + 8 * threadIdx.x, x);
}
TEST(Numbers, PacksOfEight) {
  for (Type type : kTypes) {
    const std::vector<float> x = rounded(type, random_floats(256));
    Numbers in(type, x), out(type, x.size());
    EXPECT_EQ(with_type(type,
                        [&]<class T>() {
                          const T* from = static_cast<const T*>(in.data());
                          EXPECT_TRUE(aligned_rows<T>(from, 8));
                          EXPECT_FALSE(aligned_rows<T>(from + 1, 8));
                          EXPECT_FALSE(aligned_rows<T>(from, 9));
                          return run(double_packs<T>, 1, 32, 0, from, static_cast<T*>(out.data()));
                        }),
              0);
    const std::vector<float> seen = out.download();
    for (size_t i = 0; i < x.size(); i++) EXPECT_EQ(seen[i], 2 * x[i]);
  }
}

TEST(Numbers, ActivationsAreThoseOfTheCpu) {
  std::vector<float> x = random_floats(2000, 12.0f);
  for (float edge : {0.0f, -0.0f, 1e-8f, -1e-8f, 30.0f, -30.0f, 100.0f, -100.0f, 1e4f, -1e4f}) x.push_back(edge);
  for (Activation activation : kActivations) {
    for (float v : x) {
      const double expected = reference_activation(double(v), activation);
      EXPECT_NEAR(double(activate(v, act(activation))), expected, 1e-6 * std::fmax(1.0, std::fabs(expected)))
          << int(activation) << " of " << v;
    }
    EXPECT_TRUE(std::isnan(activate(NAN, act(activation)))) << int(activation);
  }
}

// The driver.

__global__ void add_to(int* values, int n, int by) {
  wait_for_previous();
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) values[i] += by;
}
TEST(Graph, ReplaysLaunchesCopiesAndFillsWithTheirArguments) {
  const Cuda& cuda = table();
  DeviceArray<int> values(100);
  void *from = nullptr, *to = nullptr;
  EXPECT_CUDA(cuda.allocate_host(&from, 400));
  EXPECT_CUDA(cuda.allocate_host(&to, 400));
  Stream stream;
  EXPECT_CUDA(cuda.create_stream(&stream));
  Graph graph;
  EXPECT_CUDA(cuda.begin_capture(stream));
  int by = 5;
  EXPECT_CUDA(cuda.copy(stream, values, from, 400));
  EXPECT_CUDA(cuda.fill_zero(stream, values.data() + 90, 40));
  EXPECT_CUDA(launch(stream, add_to, 4, 32, 0, values, 100, by));
  EXPECT_CUDA(cuda.copy(stream, to, values, 400));
  by = 6;  // too late
  std::memset(to, 1, 400);
  EXPECT_CUDA(cuda.end_capture(stream, &graph));
  EXPECT_EQ(static_cast<int*>(to)[0], 0x01010101);  // nothing has been done yet
  for (int start : {1000, 2000}) {
    for (int i = 0; i < 100; i++) static_cast<int*>(from)[i] = start + i;
    const shim::Counters before = shim::counters();
    EXPECT_CUDA(cuda.launch_graph(stream, graph));
    EXPECT_CUDA(cuda.synchronize(stream));
    EXPECT_EQ(shim::counters().graph_launches, before.graph_launches + 1);
    EXPECT_EQ(shim::counters().launches, before.launches);
    for (int i = 0; i < 100; i++) EXPECT_EQ(static_cast<int*>(to)[i], i < 90 ? start + i + 5 : 5);
  }
  EXPECT_CUDA(cuda.destroy_graph(graph));
  EXPECT_CUDA(cuda.destroy_stream(stream));
  EXPECT_CUDA(cuda.release_host(from));
  EXPECT_CUDA(cuda.release_host(to));
}

TEST(Graph, CaptureGivesUpWhenSomethingForbiddenIsDone) {
  const Cuda& cuda = table();
  DeviceArray<int> values(8);
  Stream stream;
  EXPECT_CUDA(cuda.create_stream(&stream));
  for (int what = 0; what < 3; what++) {
    EXPECT_CUDA(cuda.begin_capture(stream));
    void* memory = nullptr;
    int host = 0;
    // Another thread may do as it likes meanwhile.
    std::thread([&] {
      void* others = nullptr;
      EXPECT_CUDA(cuda.allocate(&others, 8));
      EXPECT_CUDA(cuda.release(others));
    }).join();
    const int error = what == 0   ? cuda.allocate(&memory, 8)
                      : what == 1 ? cuda.synchronize(stream)
                                  : cuda.upload(stream, values, &host, 4);
    EXPECT_EQ(error, cudaErrorStreamCaptureUnsupported);
    EXPECT_EQ(launch(stream, add_to, 1, 32, 0, values, 8, 1), cudaErrorStreamCaptureInvalidated);
    Graph graph;
    EXPECT_EQ(cuda.end_capture(stream, &graph), cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(graph, nullptr);
  }
  EXPECT_CUDA(launch(stream, add_to, 1, 32, 0, values, 8, 1));  // the stream is as before
  EXPECT_EQ(values.download()[0], 0);
  EXPECT_CUDA(cuda.destroy_stream(stream));
}

TEST(Driver, KnowsTheDeviceAndItsErrors) {
  const Cuda& cuda = table();
  int count = 0, major = 0, minor = 0;
  size_t memory = 0;
  char name[32];
  EXPECT_CUDA(cuda.device_count(&count));
  EXPECT_EQ(count, 1);
  int has = 0, needs = 0;
  for (int devices : {-1, -2}) {  // there is no driver; it is old
    setenv("CARACAL_SHIM_DEVICES", std::to_string(devices).c_str(), 1);
    EXPECT_EQ(cuda.device_count(&count), devices == -1 ? cudaSuccess : cudaErrorInsufficientDriver);
    EXPECT_EQ(count, 0);
    EXPECT_CUDA(cuda.driver_versions(&has, &needs));
    EXPECT_EQ(has, devices == -1 ? 0 : 12040);
    EXPECT_EQ(needs, 13000);
  }
  unsetenv("CARACAL_SHIM_DEVICES");
  EXPECT_CUDA(cuda.device_name(0, name, sizeof name, &major, &minor, &memory));
  EXPECT_EQ(std::string(name), "shim sm_" + std::to_string(shim::arch()));
  EXPECT_EQ(10 * major + minor, shim::arch());
  EXPECT_CUDA(cuda.device_name(0, name, 5, &major, &minor, &memory));
  EXPECT_STREQ(name, "shim");
  Context before;
  for (int index : {1, -1, 1000}) EXPECT_EQ(cuda.use_device(index, &before), cudaErrorInvalidDevice);
  EXPECT_NE(std::string(cuda.error_text(cudaErrorInvalidDevice)), cuda.error_text(cudaErrorInvalidValue));
  EXPECT_STRNE(cuda.error_text(123456), "");
  EXPECT_EQ(current_device().major, major);
}

TEST(Driver, TheCallersDeviceComesBack) {
  setenv("CARACAL_SHIM_DEVICES", "2", 1);
  const Cuda& cuda = table();
  auto current = [] {
    int device = -1;
    EXPECT_CUDA(cudaGetDevice(&device));
    return device;
  };
  for (bool chosen : {false, true})
    std::thread([&] {
      const int own = chosen ? 1 : 0, other = 1 - own;
      if (chosen) EXPECT_CUDA(cudaSetDevice(own));
      Context before;
      for (int repeat = 0; repeat < 2; repeat++) {
        EXPECT_CUDA(cuda.use_device(other, &before));
        EXPECT_EQ(before != nullptr, chosen);
        EXPECT_EQ(current(), other);
        EXPECT_EQ(current_device().major, shim::arch() / 10);
        EXPECT_CUDA(cuda.restore(before));
        EXPECT_EQ(current(), own);
      }
    }).join();
  unsetenv("CARACAL_SHIM_DEVICES");
}

TEST(Driver, KnowsStreamsOfOtherContexts) {
  StreamState state;
  const Stream stream = shim::stream_of_another_context();
  EXPECT_CUDA(table().stream_state(stream, &state));
  EXPECT_EQ(state.device, 0);
  EXPECT_FALSE(state.primary);
  EXPECT_FALSE(state.capturing);
  EXPECT_CUDA(table().destroy_stream(stream));
}

TEST(Driver, CopiesOnlyBetweenMemoryThatItKnows) {
  const Cuda& cuda = table();
  Stream stream;
  EXPECT_CUDA(cuda.create_stream(&stream));
  void* memory = nullptr;
  EXPECT_CUDA(cuda.allocate(&memory, 64));
  char host[64] = {};
  EXPECT_EQ(cuda.copy(stream, memory, host, 64), cudaErrorInvalidValue);  // not pinned
  EXPECT_EQ(cuda.fill_zero(stream, memory, 65), cudaErrorInvalidValue);
  EXPECT_CUDA(cuda.fill_zero(stream, memory, 64));
  EXPECT_CUDA(cuda.upload(stream, memory, host, 64));
  EXPECT_EQ(cuda.release(host), cudaErrorInvalidValue);
  EXPECT_EQ(cuda.release_host(memory), cudaErrorInvalidValue);
  const int64_t allocated = shim::counters().allocated;
  EXPECT_CUDA(cuda.release(memory));
  EXPECT_EQ(shim::counters().allocated, allocated - 64);
  EXPECT_CUDA(cuda.release(nullptr));
  EXPECT_CUDA(cuda.destroy_stream(stream));
}

TEST(Driver, ManyThreadsOfTheHostMayLaunch) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; i++) {
    threads.emplace_back([] {
      DeviceArray<int> in(counting(100)), out(100);
      Stream stream;
      EXPECT_CUDA(table().create_stream(&stream));
      for (int repeat = 0; repeat < 20; repeat++) {
        EXPECT_CUDA(launch(stream, reverse_static<true>, 1, 100, 400, in, out));
        EXPECT_EQ(out.download()[99], 0);
      }
      EXPECT_CUDA(table().destroy_stream(stream));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace caracal::kernels::cuda
