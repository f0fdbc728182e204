// What the ops' sources share: checks of arguments, and how much work is worth a task. Not for anyone else.
#pragma once

#include <algorithm>
#include <string>

#include <caracal/runtime/ops.h>

namespace caracal {

// Floating-point operations that are worth handing to another thread (a few microseconds).
inline constexpr int64_t kWorthATask = 200'000;
// Elements that a row-wise op should handle per task.
inline constexpr int64_t kElementsPerTask = 16'384;

[[noreturn]] inline void fail(const char* op, const std::string& expected, const std::string& got) {
  throw Error(ErrorCode::invalid_argument, op, "expected " + expected + " but got " + got);
}

// Of F32, which on a device stands for the numbers that the model is in: whether it has these, cuda_ops.cpp asks.
inline void expect_matrix(const char* op, const char* name, const Tensor& x, int64_t cols, DType dtype = DType::F32) {
  if (!x.defined() || x.rank() != 2 || (x.dtype() != dtype && !x.on_cuda()) || x.size(1) != cols)
    fail(op, std::string(name) + " of shape (T, " + std::to_string(cols) + ") " + std::string(name_of(dtype)),
         x.defined() ? x.shape().str() + " " + std::string(name_of(x.dtype())) : "an undefined tensor");
}

inline void expect_ids(const char* op, const Tensor& ids, int64_t rows) {
  if (!ids.defined() || ids.rank() != 1 || ids.dtype() != DType::I64 || (rows >= 0 && ids.size(0) != rows))
    fail(op, "row numbers of shape (" + (rows >= 0 ? std::to_string(rows) : "T") + ",) I64",
         ids.defined() ? ids.shape().str() + " " + std::string(name_of(ids.dtype())) : "an undefined tensor");
}

// Row numbers that a device has found are not looked at.
inline void expect_rows_within(const char* op, const Tensor& index, int64_t rows) {
  if (index.on_cuda()) return;
  for (int64_t row : index.values<int64_t>())
    if (row < 0 || row >= rows) fail(op, "row numbers from 0 to " + std::to_string(rows - 1), std::to_string(row));
}

inline void expect_sequences(const char* op, const Tensor& x, const Ragged& sequences) {
  for (int64_t b = 0; b < sequences.batch; b++)
    if (sequences.offsets[b] < 0 || sequences.keys[b] < 0 || sequences.offsets[b] > x.size(0) - sequences.keys[b])
      fail(op, "sequences within " + std::to_string(x.size(0)) + " rows",
           "sequence " + std::to_string(b) + " beyond them");
}

// Weights are laid out for the CPU's kernels, or for a device's.
inline void expect_packed_for(const char* op, const Tensor& x, Device packed) {
  if (x.device() != packed) fail(op, "weights packed for " + name_of(x.device()) + ", as x is there,", name_of(packed));
}

inline int64_t row_grain(int64_t cols) { return std::max<int64_t>(1, kElementsPerTask / std::max<int64_t>(cols, 1)); }

/// x is an image's rows.
inline void expect_input(const char* op, const Tensor& x, int64_t channels, int64_t rows) {
  expect_matrix(op, "x", x, channels);
  if (x.size(0) != rows) fail(op, std::to_string(rows) + " rows", x.shape().str());
}

}  // namespace caracal
