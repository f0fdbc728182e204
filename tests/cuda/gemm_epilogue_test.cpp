// What follows a library's product, over sums that are there.
#include <caracal/tests/kernels/testing.h>

#include "device_memory.h"

namespace caracal::kernels::cuda {
namespace {

TEST(GemmEpilogue, IsThatOfProducts) {
  constexpr int64_t kRows = 5, kCols = 43;
  for (Type type : kTypes)
    for (size_t misaligned : {0, 1, 2, 4})  // none, c, bias, residual
      for (int64_t ld : {kCols, kCols + 5, kCols + 3})
        for (int variant = 0; variant < 16; variant++) {
          const bool has_bias = variant & 1, has_residual = variant & 2, first = variant & 4;
          const Activation activation = variant & 8 ? Activation::gelu : Activation::none;
          std::vector<float> sums = rounded(type, random_floats(size_t(kRows * ld), 2.0f, 1));
          sums[0] = NAN, sums[1] = INFINITY;
          const std::vector<float> bias = random_floats(size_t(kCols), 1.0f, 2),
                                   residual = rounded(type, random_floats(size_t(kRows * ld), 1.0f, 3));
          const Numbers c(type, sums, misaligned & 1), on_residual(type, residual, misaligned >> 2);
          const DeviceArray<float> on_bias(bias, misaligned >> 1 & 1);
          GemmArgs args{};
          args.type = type, args.c = c, args.ldc = args.ldr = ld, args.rows = kRows, args.n = kCols, args.k = 7;
          args.bias = has_bias ? on_bias.data() : nullptr;
          args.residual = has_residual ? on_residual.data() : nullptr;
          args.activation = act(activation), args.residual_first = first;
          EXPECT_CUDA(table().gemm_epilogue(nullptr, args));
          std::vector<double> expected;
          for (int64_t i = 0; i < kRows * ld; i++) {
            double x = double(sums[size_t(i)]);
            if (i % ld < kCols) {
              const double other = has_residual ? double(residual[size_t(i)]) : 0;
              x += (has_bias ? double(bias[size_t(i % ld)]) : 0) + (first ? other : 0);
              x = reference_activation(x, activation) + (first ? 0 : other);
            }
            expected.push_back(x);
          }
          SCOPED_TRACE(testing::Message()
                       << name_of(type) << " misaligned " << misaligned << " ld " << ld << " " << variant);
          expect_near(c.download(), expected, 1.25 * tolerance(type));
        }
  GemmArgs nothing{};
  EXPECT_CUDA(table().gemm_epilogue(nullptr, nothing));
}

}  // namespace
}  // namespace caracal::kernels::cuda
