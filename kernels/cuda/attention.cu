#include <caracal/kernels/cuda/attention_mma.cuh>
#include <caracal/kernels/cuda/attention_simt.cuh>

namespace caracal::kernels::cuda {
namespace {

/// Whether all rows of all heads can be read and written 16 bytes at a time.
bool aligned_rows(const AttentionArgs& a, int64_t per_vector) {
  uintptr_t bits = 0;
  for (const void* p : {static_cast<const void*>(a.out), a.q, a.k, a.v}) bits |= reinterpret_cast<uintptr_t>(p);
  for (int64_t n : {a.head_dim, a.ldo, a.ldq, a.ldk}) {
    if (n % per_vector != 0) return false;
  }
  return bits % 16 == 0;
}

unsigned slices(const AttentionArgs& a) { return unsigned((a.head_dim + kHeadSlice - 1) / kHeadSlice); }

template <class T, bool kProbs>
int start_simt(Stream stream, const AttentionArgs& a) {
  const dim3 grid(unsigned(count_blocks<kSimtRows>(a.tokens, a.batch)), unsigned(a.heads), kProbs ? 1 : slices(a));
  return launch(stream, attend_simt<T, kProbs>, grid, dim3(kSimtThreads), kSimtShared, a,
                aligned_rows(a, int64_t(16 / sizeof(T))));
}

template <class T, int kRows, bool kGeneral>
int start_mma(Stream stream, const AttentionArgs& a, bool aligned) {
  const dim3 grid(unsigned(count_blocks<kRows>(a.tokens, a.batch)), unsigned(a.heads), kGeneral ? slices(a) : 1);
  return launch(stream, attend_mma<T, kRows, kGeneral>, grid, dim3(kRows * 4), kMmaShared<kRows, kGeneral>, a, aligned);
}

template <class T>
int start(Stream stream, const AttentionArgs& a) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return start_simt<T, false>(stream, a);
  } else {
    if (current_device().major < 8 && !std::is_same_v<T, half>) return start_simt<T, false>(stream, a);
    const bool aligned = aligned_rows(a, 8);
    if (!aligned || a.head_dim > kHeadSlice || a.bias != nullptr) return start_mma<T, 32, true>(stream, a, aligned);
    // With 64 rows K and V are read half as often; with 32 there are twice as many blocks, if that is needed.
    if (a.tokens / 64 * a.heads < 256) return start_mma<T, 32, false>(stream, a, aligned);
    return start_mma<T, 64, false>(stream, a, aligned);
  }
}

}  // namespace

int attention(Stream stream, const AttentionArgs& a) {
  if (a.tokens == 0 || a.batch == 0 || a.heads == 0 || a.head_dim == 0) return 0;
  return with_type(a.type, [&]<class T>() {
    const int error = start<T>(stream, a);
    return error != 0 || a.probs == nullptr ? error : start_simt<T, true>(stream, a);
  });
}

}  // namespace caracal::kernels::cuda
