// Operations on sound: mono samples as (N) F32 tensors.
#pragma once

#include <caracal/runtime/runtime.h>
#include <caracal/runtime/tensor.h>

namespace caracal {

/// (x - mean) / sqrt(variance + epsilon), mean and population variance taken over x[begin, end): numpy's
/// (x - s.mean()) / np.sqrt(s.var() + epsilon) in float32, to the bit, for a range of at least one sample. Writes over
/// x, which is (N) F32.
void standardize(const Runtime& runtime, Tensor& x, int64_t begin, int64_t end, double epsilon);

/// torchaudio.functional.resample(x, orig_freq, new_freq) with its defaults (sinc_interp_hann, lowpass_filter_width 6,
/// rolloff 0.99), within 1e-5: (N) F32 -> (ceil(N · new_freq / orig_freq)) F32. Throws invalid_argument for rates below
/// 1, above 10 MHz, or without a common divisor that keeps the filters below 2^26 weights.
Tensor resample_audio(const Runtime& runtime, const Tensor& x, int64_t orig_freq, int64_t new_freq);

}  // namespace caracal
