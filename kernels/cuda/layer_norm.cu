// layer_norm: act((x - mean) / sqrt(var + eps) · weight + bias) for each row, var = Σ (x - mean)² / cols in a second
// pass, as on the CPU. A warp keeps a row in its registers; rows of more than 1024 columns or odd alignment have a
// block each and are read three times (from L1 but the first time). embedding_norm is the same, of rows that are sums.
#include <caracal/kernels/cuda/norm.cuh>

namespace caracal::kernels::cuda {
namespace {

/// A row of x.
template <class T>
struct RowOf {
  using Number = T;
  const T* x;
  __device__ RowOf(const LayerNormArgs& args, int64_t row) : x(static_cast<const T*>(args.x) + row * args.cols) {}
  __device__ void load(float (&v)[kPiece], int64_t c, int64_t n, bool aligned) const {
    load_piece(v, x + c, n, aligned);
  }
  __device__ void load(Piece<T>& piece, int c) const { piece.load(x + c); }
};

/// A sum of rows of tables. Negative ids, of rows that belong to no sequence, name row 0.
template <class T>
struct SumOf {
  using Number = float;
  const T* of[kEmbeddings];
  __device__ SumOf(const EmbeddingNormArgs& args, int64_t row) {
#pragma unroll
    for (int i = 0; i < kEmbeddings; i++) {
      const int64_t id = args.tables[i] == nullptr ? 0 : args.ids[i][row];
      of[i] = static_cast<const T*>(args.tables[i]) + (id < 0 ? 0 : id) * args.cols;
    }
  }
  __device__ void load(float (&v)[kPiece], int64_t c, int64_t n, bool aligned) const {
    load_piece(v, of[0] + c, n, aligned);
#pragma unroll
    for (int i = 1; i < kEmbeddings; i++) {
      if (of[i] == nullptr) continue;
      float x[kPiece];
      load_piece(x, of[i] + c, n, aligned);
#pragma unroll
      for (int j = 0; j < kPiece; j++) v[j] += x[j];
    }
  }
  __device__ void load(Piece<float>& piece, int c) const {
    float v[kPiece];
    load(v, c, kPiece, true);
#pragma unroll
    for (int j = 0; j < kPiece; j++) piece.packs[j / 4].x[j % 4] = v[j];
  }
};

/// A warp for each row.
template <class T, template <class> class Row, int pieces, Activation activation, class Args>
__global__ void norm_in_registers(const __grid_constant__ Args args) {
  const int64_t row = int64_t(blockIdx.x) * blockDim.y + threadIdx.y;
  const int first = int(threadIdx.x) * kPiece, cols = int(args.cols);
  float weight[pieces][kPiece], bias[pieces][kPiece];
  // No kernel before this one writes weights: they are on their way while it ends.
#pragma unroll
  for (int i = 0; i < pieces; i++) {
    const int c = first + i * kWarp * kPiece;
    if (c < cols) load_vector(weight[i], args.weight + c), load_vector(bias[i], args.bias + c);
  }
  wait_for_previous();
  start_next();
  if (row >= args.rows) return;  // the whole warp

  const Row<T> from(args, row);
  Piece<typename Row<T>::Number> x[1][pieces];
#pragma unroll
  for (int i = 0; i < pieces; i++) {
    const int c = first + i * kWarp * kPiece;
    if (c < cols) from.load(x[0][i], c);
  }
  T* out = static_cast<T*>(args.out) + row * args.cols;
  norm_rows(
      x, cols, args.eps,
      [&](int i, float(&w)[kPiece], float(&b)[kPiece]) {
#pragma unroll
        for (int j = 0; j < kPiece; j++) w[j] = weight[i][j], b[j] = bias[i][j];
      },
      [&](int, int i, float(&y)[kPiece]) {
#pragma unroll
        for (int j = 0; j < kPiece; j++) y[j] = activate(y[j], Act(int64_t(activation)));
        store_vector(out + first + i * kWarp * kPiece, y);
      });
}

/// The same sums in the same order, of any row.
template <class T, template <class> class Row, class Args>
__global__ void norm_of_block(const __grid_constant__ Args args, const Act activation, const bool aligned) {
  wait_for_previous();
  start_next();
  const Row<T> from(args, blockIdx.x);
  T* out = static_cast<T*>(args.out) + int64_t(blockIdx.x) * args.cols;
  float x[kPiece], weight[kPiece], bias[kPiece], sum = 0.0f, squares = 0.0f;
  for_pieces_of_row(args.cols, [&](int64_t c, int64_t n) {
    from.load(x, c, n, aligned);
    sum += sum_piece(x);
  });
  const float mean = block_sum(sum) / float(args.cols);
  for_pieces_of_row(args.cols, [&](int64_t c, int64_t n) {
    from.load(x, c, n, aligned);
    squares += sum_squares_piece(x, mean, n);
  });
  const float scale = reciprocal_deviation(block_sum(squares), args.cols, args.eps);
  for_pieces_of_row(args.cols, [&](int64_t c, int64_t n) {
    from.load(x, c, n, aligned);
    load_piece(weight, args.weight + c, n, aligned);
    load_piece(bias, args.bias + c, n, aligned);
#pragma unroll
    for (int j = 0; j < kPiece; j++) x[j] = activate(fmaf((x[j] - mean) * scale, weight[j], bias[j]), activation);
    store_piece(out + c, x, n, aligned);
  });
}

/// Few rows: one a block, so that they are spread over the multiprocessors.
unsigned rows_per_block(int64_t rows) { return rows < 256 ? 1 : rows < 512 ? 2 : 4; }

template <class T, template <class> class Row, Activation activation, class Args>
int in_registers(Stream stream, const Args& args) {
  const unsigned height = rows_per_block(args.rows);
  const dim3 grid(unsigned((args.rows + height - 1) / height)), block(kWarp, height);
  switch ((args.cols + kColumnsOfWarp - 1) / kColumnsOfWarp) {
    case 0:
    case 1: return launch(stream, norm_in_registers<T, Row, 1, activation, Args>, grid, block, 0, args);
    case 2: return launch(stream, norm_in_registers<T, Row, 2, activation, Args>, grid, block, 0, args);
    case 3: return launch(stream, norm_in_registers<T, Row, 3, activation, Args>, grid, block, 0, args);
    default: return launch(stream, norm_in_registers<T, Row, kMostPieces, activation, Args>, grid, block, 0, args);
  }
}

/// `aligned`: of what is normed.
template <class T, template <class> class Row, class Args>
int norm(Stream stream, const Args& args, Act activation, bool aligned) {
  aligned = aligned && aligned_rows<T>(args.out, args.cols) && aligned_rows<float>(args.weight, 0) &&
            aligned_rows<float>(args.bias, 0);
  if (aligned && fits_registers(args.cols)) {
    if (activation == act(Activation::none)) return in_registers<T, Row, Activation::none>(stream, args);
    if constexpr (std::is_same_v<Args, LayerNormArgs>)
      if (activation == act(Activation::gelu)) return in_registers<T, Row, Activation::gelu>(stream, args);
  }
  const dim3 grid(unsigned(args.rows)), block(threads_of_row(args.cols));
  return launch(stream, norm_of_block<T, Row, Args>, grid, block, 0, args, activation, aligned);
}

}  // namespace

int layer_norm(Stream stream, const LayerNormArgs& args) {
  return with_type(args.type, [&]<class T>() {
    return norm<T, RowOf>(stream, args, args.activation, aligned_rows<T>(args.x, args.cols));
  });
}

int embedding_norm(Stream stream, const EmbeddingNormArgs& args) {
  return with_type(args.type, [&]<class T>() {
    bool aligned = true;
    for (const void* table : args.tables) aligned = aligned && aligned_rows<T>(table, args.cols);
    return norm<T, SumOf>(stream, args, act(Activation::none), aligned);
  });
}

}  // namespace caracal::kernels::cuda
