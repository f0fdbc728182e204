// Rows by their numbers, read (embedding) or written (scatter_rows). A row whose number is negative is left alone: of
// no sequence, where a grid is larger than the batch. The caller has checked the others.
#include <caracal/kernels/cuda/pieces.cuh>

namespace caracal::kernels::cuda {
namespace {

template <class T>
__global__ void embed(const __grid_constant__ EmbeddingArgs args, const bool aligned) {
  wait_for_previous();
  start_next();
  for_piece(args.rows, args.cols, [&](int64_t row, int64_t c, int64_t n) {
    const int64_t id = args.ids[row];
    if (id < 0) return;
    T* out = static_cast<T*>(args.out) + row * args.ldo + c;
    float v[kPiece];
    load_piece(v, static_cast<const T*>(args.table) + id * args.cols + c, n, aligned);
    if (args.accumulate != 0) {
      float sum[kPiece];
      load_piece(sum, out, n, aligned);
#pragma unroll
      for (int j = 0; j < kPiece; j++) v[j] += sum[j];
    }
    store_piece(out, v, n, aligned);
  });
}

template <class T>
__global__ void scatter(const __grid_constant__ RowsArgs args, const bool aligned) {
  wait_for_previous();
  start_next();
  for_piece(args.rows, args.cols, [&](int64_t row, int64_t c, int64_t n) {
    const int64_t to = args.index[row];
    if (to < 0) return;
    float v[kPiece];
    load_piece(v, static_cast<const T*>(args.x) + row * args.cols + c, n, aligned);
    store_piece(static_cast<T*>(args.out) + to * args.cols + c, v, n, aligned);
  });
}

}  // namespace

int embedding(Stream stream, const EmbeddingArgs& args) {
  return with_type(args.type, [&]<class T>() {
    const bool aligned = aligned_rows<T>(args.table, args.cols) && aligned_rows<T>(args.out, args.ldo);
    return launch(stream, embed<T>, piece_grid(args.rows, args.cols), piece_block(), 0, args, aligned);
  });
}

int scatter_rows(Stream stream, const RowsArgs& args) {
  return with_type(args.type, [&]<class T>() {
    const bool aligned = aligned_rows<T>(args.x, args.cols) && aligned_rows<T>(args.out, args.cols);
    return launch(stream, scatter<T>, piece_grid(args.rows, args.cols), piece_block(), 0, args, aligned);
  });
}

}  // namespace caracal::kernels::cuda
