#include <caracal/runtime/audio_ops.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include <caracal/runtime/checked.h>

namespace caracal {
namespace {

constexpr int64_t kSamplesPerTask = 16'384;

void expect_samples(const char* op, const Tensor& x) {
  if (x.defined() && x.rank() == 1 && x.dtype() == DType::F32) return;
  throw Error(ErrorCode::invalid_argument, op,
              "expected samples of shape (N) F32 but got " +
                  (x.defined() ? x.shape().str() + " " + std::string(name_of(x.dtype())) : "an undefined tensor"));
}

// The windowed sinc of each of the `new_freq` output phases: weights of the inputs from `first` on.
struct Phase {
  int64_t first = 0;
  std::vector<float> weights;
};

// In float32 and in torchaudio's order: its rounding of t, several 1e-6 of a sample, is part of what it returns.
Phase make_phase(int64_t phase, int64_t orig_freq, int64_t new_freq) {
  constexpr float kWidth = 6, kPi = float(M_PI);  // zero crossings on either side
  const double base = double(std::min(orig_freq, new_freq)) * 0.99, scale = base / double(orig_freq);
  const double center = double(phase) * double(orig_freq) / double(new_freq), reach = kWidth / scale;
  Phase result;
  result.first = int64_t(std::ceil(center - reach));
  for (int64_t i = result.first; double(i) <= center + reach; i++) {
    const float t = (float(-phase) / float(new_freq) + float(i) / float(orig_freq)) * float(base);  // zero crossings
    const float window = std::cos(std::clamp(t, -kWidth, kWidth) * kPi / kWidth / 2), x = t * kPi;
    result.weights.push_back((x == 0 ? 1 : std::sin(x) / x) * (window * window * float(scale)));
  }
  return result;
}

}  // namespace

void standardize(const Runtime& runtime, Tensor& x, int64_t begin, int64_t end, double epsilon) {
  expect_samples("standardize", x);
  if (begin < 0 || end > x.numel() || begin >= end)
    throw Error(ErrorCode::invalid_argument, "standardize",
                "expected a range within " + std::to_string(x.numel()) + " samples but got " + std::to_string(begin) +
                    " to " + std::to_string(end));
  const kernels::Kernels& cpu = runtime.cpu();
  float* data = x.data<float>();
  const int64_t n = end - begin;
  const float mean = cpu.pairwise_sum_f32(data + begin, n) / float(n);
  const float variance = cpu.pairwise_squares_f32(data + begin, mean, n) / float(n);
  const float deviation = std::sqrt(variance + float(epsilon));
  runtime.parallel(x.numel(), kSamplesPerTask, [&](int64_t from, int64_t to, int) {
    cpu.standardize_f32(data + from, data + from, to - from, mean, deviation);
  });
}

Tensor resample_audio(const Runtime& runtime, const Tensor& x, int64_t orig_freq, int64_t new_freq) {
  expect_samples("resample_audio", x);
  constexpr int64_t kMaxRate = 10'000'000, kMaxWeights = 1 << 26;
  if (orig_freq < 1 || new_freq < 1 || orig_freq > kMaxRate || new_freq > kMaxRate)
    throw Error(ErrorCode::invalid_argument, "resample_audio",
                "expected rates from 1 to " + std::to_string(kMaxRate) + " Hz but got " + std::to_string(orig_freq) +
                    " and " + std::to_string(new_freq));
  if (orig_freq == new_freq) return x.clone();
  const int64_t divisor = std::gcd(orig_freq, new_freq), n = x.numel();
  orig_freq /= divisor, new_freq /= divisor;
  // Each phase has about 12 · max(1, orig / new) weights.
  if (new_freq * 13 + orig_freq * 13 > kMaxWeights)
    throw Error(ErrorCode::invalid_argument, "resample_audio",
                "expected rates with a common divisor but got " + std::to_string(orig_freq * divisor) + " and " +
                    std::to_string(new_freq * divisor));
  const int64_t length = (checked_mul(new_freq, n, "resample_audio") + orig_freq - 1) / orig_freq;
  Tensor out = Tensor::empty({length});
  runtime.parallel(
      std::min(new_freq, length), std::max<int64_t>(kSamplesPerTask * new_freq / std::max<int64_t>(length, 1), 1),
      [&](int64_t begin, int64_t end, int) {
        for (int64_t phase = begin; phase < end; phase++) {
          const Phase p = make_phase(phase, orig_freq, new_freq);
          const int64_t taps = int64_t(p.weights.size()), count = (length - phase + new_freq - 1) / new_freq;
          const float* in = x.data<float>();
          float* to = out.data<float>() + phase;
          // Frames whose inputs all exist go to the kernel; beyond either end there is silence.
          const int64_t inner_begin = std::clamp<int64_t>((-p.first + orig_freq - 1) / orig_freq, 0, count);
          const int64_t last = n - taps - p.first;
          const int64_t inner_end = last < 0 ? inner_begin : std::clamp(last / orig_freq + 1, inner_begin, count);
          for (int64_t i = 0; i < count; i++) {
            if (i == inner_begin && inner_end > inner_begin) {
              runtime.cpu().fir_f32(to + i * new_freq, new_freq, in + i * orig_freq + p.first, orig_freq,
                                    inner_end - inner_begin, p.weights.data(), taps);
              i = inner_end;
              if (i >= count) break;
            }
            float sum = 0;
            const int64_t start = i * orig_freq + p.first;
            for (int64_t t = std::max<int64_t>(-start, 0); t < taps && start + t < n; t++)
              sum += in[start + t] * p.weights[size_t(t)];
            to[i * new_freq] = sum;
          }
        }
      });
  return out;
}

}  // namespace caracal
