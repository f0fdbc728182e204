// What is left to do after a library's product: bias, activation and residual, over c.
#include <caracal/kernels/cuda/pieces.cuh>

namespace caracal::kernels::cuda {
namespace {

template <class T>
__global__ void epilogue_of_gemm(const __grid_constant__ GemmArgs args, const bool aligned) {
  wait_for_previous();
  start_next();
  for_piece(args.rows, args.n, [&](int64_t row, int64_t c, int64_t n) {
    T* out = static_cast<T*>(args.c) + row * args.ldc + c;
    float v[kPiece], bias[kPiece] = {}, residual[kPiece] = {};
    load_piece(v, out, n, aligned);
    if (args.bias) load_piece(bias, args.bias + c, n, aligned);
    if (args.residual) load_piece(residual, static_cast<const T*>(args.residual) + row * args.ldr + c, n, aligned);
#pragma unroll
    for (int j = 0; j < kPiece; j++) {
      const float x = v[j] + bias[j];
      v[j] =
          args.residual_first ? activate(x + residual[j], args.activation) : activate(x, args.activation) + residual[j];
    }
    store_piece(out, v, n, aligned);
  });
}

}  // namespace

int gemm_epilogue(Stream stream, const GemmArgs& args) {
  return with_type(args.type, [&]<class T>() {
    const bool aligned = aligned_rows<T>(args.c, args.ldc) && aligned_rows<float>(args.bias, 0) &&
                         (!args.residual || aligned_rows<T>(args.residual, args.ldr));
    return launch(stream, epilogue_of_gemm<T>, piece_grid(args.rows, args.n), piece_block(), 0, args, aligned);
  });
}

}  // namespace caracal::kernels::cuda
