// Attention and relative position biases against loops in double precision over the same rounded inputs.
#include <span>
#include <string>

#include "device_memory.h"

namespace caracal::kernels::cuda {
namespace {

using Ints = std::vector<int64_t>;

struct Problem {
  Type type = Type::f16;
  int64_t heads = 1, head_dim = 64;
  Ints rows = {}, keys = {};  // of each sequence; keys are its first rows, or rows of another tensor
  bool cross = false;         // keys and values in another tensor
  Ints causal = {};           // q_lengths
  bool bias = false, probs = false;
  int64_t gap = 0;       // unused columns between the rows of every matrix
  int64_t capacity = 0;  // more rows than there are
  int64_t before = 0;    // rows before the first sequence
  size_t misalign = 0;   // numbers from a 256-byte boundary that queries, keys and the result begin
};

Ints offsets_of(const Ints& lengths, int64_t first = 0) {
  Ints offsets = {first};
  for (int64_t n : lengths) offsets.push_back(offsets.back() + n);
  return offsets;
}

/// Inputs, rounded to the type.
struct Data {
  int64_t width, ldq, ldk;
  Ints q_offsets, k_offsets, scores;
  int64_t count = 0;  // of scores
  std::vector<float> x, kv, bias;

  Data(const Problem& p, uint64_t seed) : width(p.heads * p.head_dim) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal;
    ldq = (p.cross ? 1 : 3) * width + p.gap;
    ldk = p.cross ? 2 * width + p.gap : ldq;
    q_offsets = offsets_of(p.rows, p.before);
    k_offsets = offsets_of(p.cross ? p.keys : p.rows, p.before);
    for (size_t b = 0; b < p.rows.size(); b++) {
      scores.push_back(count);
      count += p.heads * p.rows[b] * p.keys[b];
    }
    const auto fill = [&](std::vector<float>& to, int64_t n, bool round) {
      to.resize(size_t(n));
      for (float& v : to) v = round ? rounded(p.type, normal(random)) : normal(random);
    };
    fill(x, q_offsets.back() * ldq, true);
    if (p.cross) fill(kv, k_offsets.back() * ldk, true);
    if (p.bias) fill(bias, count, false);
  }
  // One head of one sequence.
  const float* q(int64_t row, int64_t h, int64_t head_dim) const { return x.data() + row * ldq + h * head_dim; }
  const float* k(bool cross, int64_t row, int64_t h, int64_t head_dim) const {
    return (cross ? kv.data() : x.data() + width) + row * ldk + h * head_dim;
  }
};

struct Result {
  std::vector<float> out, probs;  // out (rows, width + gap)
  friend bool operator==(const Result& a, const Result& b) {
    const auto same = [](const std::vector<float>& x, const std::vector<float>& y) {
      return x.size() == y.size() && (x.empty() || std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0);
    };
    return same(a.out, b.out) && same(a.probs, b.probs);
  }
};

/// Starts a kernel and waits for it.
template <class Args>
void start(int (*kernel)(Stream, const Args&), const Args& args) {
  Stream stream;
  EXPECT_CUDA(table().create_stream(&stream));
  EXPECT_CUDA(kernel(stream, args));
  EXPECT_CUDA(table().synchronize(stream));
  EXPECT_CUDA(table().destroy_stream(stream));
}

constexpr float kUnwritten = 7.0f;

Result run(const Problem& p, const Data& d) {
  const int64_t ldo = d.width + p.gap, rows = d.q_offsets.back();
  Result r{std::vector<float>(size_t(rows * ldo), kUnwritten),
           std::vector<float>(p.probs ? size_t(d.count) : 0, kUnwritten)};
  const Numbers x(p.type, d.x, p.misalign), kv(p.type, d.kv, p.misalign), out(p.type, r.out, p.misalign);
  const DeviceArray<float> bias(d.bias), probs(r.probs);
  const DeviceArray<int64_t> scores(d.scores), q_offsets(d.q_offsets), k_offsets(d.k_offsets), keys(p.keys),
      causal(p.causal);
  AttentionArgs a{};
  a.type = p.type;
  a.out = out.data();
  a.q = x.data();
  const size_t width = size_t(d.width) * bytes_of(p.type);
  a.k = p.cross ? kv.data() : static_cast<const char*>(x.data()) + width;
  a.v = static_cast<const char*>(a.k) + width;
  a.ldo = ldo, a.ldq = d.ldq, a.ldk = d.ldk;
  a.q_offsets = q_offsets.data(), a.k_offsets = k_offsets.data(), a.k_lengths = keys.data();
  if (!p.causal.empty()) a.q_lengths = causal.data();
  a.batch = int64_t(p.rows.size()), a.heads = p.heads, a.head_dim = p.head_dim, a.tokens = rows + p.capacity;
  a.scale = 1 / std::sqrt(double(p.head_dim));
  if (p.bias) a.bias = bias.data();
  if (p.probs) a.probs = probs.data();
  if (p.bias || p.probs) a.scores = scores.data();
  start(table().attention, a);
  r.out = out.download();
  r.probs = probs.download();
  return r;
}

int64_t seen_by(const Problem& p, size_t b, int64_t row) {
  if (p.causal.empty()) return p.keys[b];
  return row < p.causal[b] ? std::max<int64_t>(0, p.keys[b] - p.causal[b] + row + 1) : 0;
}

/// Numbers differ by no more than the rounding of the result and of each probability can explain.
void expect_softmax(const Problem& p, const Data& d, const Result& r) {
  const double unit = p.type == Type::f32   ? 0
                      : p.type == Type::f16 ? 0x1p-11
                                            : 0x1p-8,
               slack = p.type == Type::f32 ? 2e-5 : 1e-4;
  const int64_t ldo = d.width + p.gap;
  int64_t wrong = 0;
  const auto expect = [&](double got, double want, double bound, const char* what, int64_t row, int64_t col) {
    const bool good = std::isnan(want) ? std::isnan(got) : std::abs(got - want) <= bound;
    if (!good && wrong++ < 3)
      ADD_FAILURE() << what << " " << row << ", " << col << ": " << got << ", not " << want << " ± " << bound;
  };
  for (size_t b = 0; b < p.rows.size(); b++) {
    for (int64_t h = 0; h < p.heads; h++) {
      for (int64_t i = 0; i < p.rows[b]; i++) {
        const int64_t row = d.q_offsets[b] + i, seen = seen_by(p, b, i);
        const float* q = d.q(row, h, p.head_dim);
        std::vector<double> e(size_t(p.keys[b]), 0);
        double highest = -INFINITY, sum = 0;
        const int64_t at = d.scores[b] + (h * p.rows[b] + i) * p.keys[b];
        for (int64_t j = 0; j < seen; j++) {
          const float* k = d.k(p.cross, d.k_offsets[b] + j, h, p.head_dim);
          double s = 0;
          for (int64_t c = 0; c < p.head_dim; c++) s += double(q[c]) * double(k[c]);
          e[size_t(j)] = s / std::sqrt(double(p.head_dim)) + (p.bias ? double(d.bias[size_t(at + j)]) : 0);
          highest = std::max(highest, e[size_t(j)]);
        }
        for (int64_t j = 0; j < seen; j++) sum += e[size_t(j)] = std::exp(e[size_t(j)] - highest);
        for (int64_t j = 0; j < p.keys[b] && p.probs; j++)
          expect(r.probs[size_t(at + j)], j < seen ? e[size_t(j)] / sum : 0, 2e-5, "probs", row, j);
        for (int64_t c = 0; c < p.head_dim; c++) {
          double x = 0, size = 0;
          for (int64_t j = 0; j < seen; j++) {
            const double v = d.k(p.cross, d.k_offsets[b] + j, h, p.head_dim)[d.width + c];
            x += e[size_t(j)] / sum * v;
            size += e[size_t(j)] / sum * std::abs(v);
          }
          expect(r.out[size_t(row * ldo + h * p.head_dim + c)], x, slack + unit * (std::abs(x) + size), "out", row,
                 h * p.head_dim + c);
        }
      }
    }
  }
  for (int64_t row = 0; row < d.q_offsets.back(); row++) {
    for (int64_t c = row < p.before ? 0 : d.width; c < ldo; c++)
      expect(r.out[size_t(row * ldo + c)], kUnwritten, 0, "gap", row, c);
  }
}

void check(const Problem& p, uint64_t seed = 1) {
  const Data d(p, seed);
  expect_softmax(p, d, run(p, d));
}

class Attention : public testing::TestWithParam<Type> {};
INSTANTIATE_TEST_SUITE_P(Types, Attention, testing::ValuesIn(kTypes),
                         [](const auto& each) { return name_of(each.param); });

TEST_P(Attention, EveryNumberOfKeys) {
  for (int64_t keys : {1, 2, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 130, 200, 257})
    check({.type = GetParam(), .rows = {3}, .keys = {keys}, .cross = true}, uint64_t(keys));
}

TEST_P(Attention, EveryNumberOfRows) {
  for (int64_t rows : {1, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100})
    check({.type = GetParam(), .rows = {rows}, .keys = {std::min<int64_t>(rows, 40)}}, uint64_t(rows));
}

TEST_P(Attention, EveryWidthOfHeads) {  // those that are no multiple of 8 take the path that reads single numbers
  for (int64_t head_dim : {1, 7, 8, 16, 24, 32, 33, 63, 64, 65, 72, 80, 128, 256, 260})
    check({.type = GetParam(), .heads = 2, .head_dim = head_dim, .rows = {5, 3}, .keys = {5, 2}}, uint64_t(head_dim));
}

TEST_P(Attention, RowsFarApart) {
  for (int64_t gap : {1, 2, 8})
    check({.type = GetParam(), .rows = {20, 9}, .keys = {70, 9}, .cross = true, .gap = gap});
}

TEST_P(Attention, UnalignedNumbers) {
  for (size_t misalign : {1, 2, 4})
    check({.type = GetParam(), .rows = {20, 9}, .keys = {70, 9}, .cross = true, .misalign = misalign});
}

TEST_P(Attention, SequencesOfAllLengths) {  // also of none, and with fewer keys than rows
  check(
      {.type = GetParam(), .heads = 2, .head_dim = 32, .rows = {0, 5, 0, 0, 70, 1, 0}, .keys = {0, 4, 0, 0, 66, 1, 0}});
}

TEST_P(Attention, NoKeysGiveZeros) {
  check({.type = GetParam(), .rows = {3, 2, 4}, .keys = {0, 2, 0}, .probs = true});
  check({.type = GetParam(), .rows = {3, 2, 0}, .keys = {0, 5, 70}, .cross = true, .bias = true, .probs = true});
}

TEST_P(Attention, NothingToDo) {
  EXPECT_TRUE(run({.type = GetParam()}, Data({.type = GetParam()}, 1)).out.empty());
  check({.type = GetParam(), .rows = {0, 0}, .keys = {0, 0}});
  check({.type = GetParam(), .rows = {0, 0}, .keys = {5, 3}, .cross = true, .probs = true});
}

TEST_P(Attention, BiasAndProbs) {
  check({.type = GetParam(), .heads = 2, .rows = {17, 3}, .keys = {17, 2}, .bias = true});
  check({.type = GetParam(), .heads = 2, .rows = {17, 3}, .keys = {17, 2}, .probs = true});
  check({.type = GetParam(), .rows = {2, 1, 40}, .keys = {131, 65, 7}, .cross = true, .bias = true, .probs = true});
  check({.type = GetParam(),
         .head_dim = 72,
         .rows = {2, 33},
         .keys = {131, 3},
         .cross = true,
         .bias = true,
         .probs = true});
}

TEST_P(Attention, Causal) {
  check({.type = GetParam(), .rows = {70, 5}, .keys = {70, 5}, .causal = {70, 5}, .probs = true});
  // A cache: the rows are the last keys. Rows behind the last key see nothing, nor do rows before all keys.
  check({.type = GetParam(), .rows = {5, 40}, .keys = {75, 130}, .cross = true, .causal = {5, 40}, .probs = true});
  check({.type = GetParam(),
         .rows = {9, 6},
         .keys = {4, 3},
         .cross = true,
         .causal = {7, 0},
         .bias = true,
         .probs = true});
}

TEST_P(Attention, FindsItsSequence) {
  for (int64_t batch : {1, 31, 32, 33, 101}) {
    Problem p{.type = GetParam(), .head_dim = 8, .capacity = 70 * 32, .before = 70};
    for (int64_t b = 0; b < batch; b++) p.rows.push_back(b % 3 == 1 ? 0 : b % 7 == 2 ? 33 : 1);
    p.keys = p.rows;
    check(p, uint64_t(batch));
  }
  Problem p{
      .type = GetParam(), .head_dim = 8, .rows = Ints(1100, 0), .keys = Ints(1100, 0)};  // three steps of the search
  for (size_t b : {3, 34, 512, 1057, 1098}) p.rows[b] = p.keys[b] = 2;
  check(p);
}

/// The rows of sequences first to last of a batch.
Problem part(const Problem& p, size_t first, size_t last) {
  Problem some = p;
  const auto cut = [&](Ints& v) {
    if (!v.empty()) v = Ints(v.begin() + int64_t(first), v.begin() + int64_t(last));
  };
  cut(some.rows), cut(some.keys), cut(some.causal);
  return some;
}

TEST_P(Attention, ABatchChangesNoBit) {
  const Ints rows = {3, 65, 0, 130, 20}, keys = {3, 64, 0, 130, 19}, causal = {3, 65, 0, 100, 20};
  for (bool is_causal : {false, true}) {
    for (int64_t head_dim : {64, 72}) {
      if (GetParam() == Type::f32 && head_dim == 72) continue;
      const Problem p{
          .type = GetParam(), .head_dim = head_dim, .rows = rows, .keys = keys, .causal = is_causal ? causal : Ints{}};
      const Data all(p, 5);
      const Result want = run(p, all);
      Result parts;
      for (const auto& [first, last] : {std::pair<size_t, size_t>{0, 2}, {2, 4}, {4, 5}}) {
        const Problem some = part(p, first, last);
        Data d(some, 5);
        d.x.assign(all.x.begin() + all.q_offsets[first] * all.ldq, all.x.begin() + all.q_offsets[last] * all.ldq);
        const Result r = run(some, d);
        parts.out.insert(parts.out.end(), r.out.begin(), r.out.end());
      }
      EXPECT_TRUE(want == parts) << head_dim << is_causal;
      // With room for many more rows: other blocks.
      Problem roomy = p;
      roomy.capacity = 256 * 64;
      EXPECT_TRUE(want == run(roomy, all)) << head_dim << is_causal;
    }
  }
}

TEST_P(Attention, ProbsChangeNoBitOfTheResult) {
  Problem p{.type = GetParam(), .heads = 2, .rows = {33, 4}, .keys = {33, 3}};
  const Data d(p, 6);
  const Result without = run(p, d);
  p.probs = true;
  EXPECT_TRUE(without.out == run(p, d).out);
}

TEST_P(Attention, OneRowMoreOrLessOfTheQueriesChangesNoBit) {  // a cache gives the bits of the whole
  Problem whole{.type = GetParam(), .rows = {70}, .keys = {70}, .cross = true, .causal = {70}};
  const Data d(whole, 7);
  const Result want = run(whole, d);
  for (int64_t rows : {1, 6}) {
    Problem last{.type = GetParam(), .rows = {rows}, .keys = {70}, .cross = true, .causal = {rows}};
    Data few(last, 7);
    few.x.assign(d.x.end() - rows * d.ldq, d.x.end());
    few.kv = d.kv;
    EXPECT_TRUE(std::equal(want.out.end() - rows * d.width, want.out.end(), run(last, few).out.begin()));
  }
}

TEST_P(Attention, InfinitiesAndNaN) {
  Problem p{.type = GetParam(), .rows = {9}, .keys = {140}, .cross = true, .bias = true, .probs = true};
  Data d(p, 8);
  const auto row_of_bias = [&](int64_t i) { return d.bias.begin() + i * 140; };
  std::fill_n(row_of_bias(0), 130, -INFINITY);      // only the last keys, of another block
  std::fill_n(row_of_bias(1), 140, -INFINITY);      // none: NaN, as in PyTorch
  std::fill_n(row_of_bias(2), 140, -3.0e38f);       // a finite mask of all: what scores do is lost, no NaN
  std::fill_n(row_of_bias(3) + 1, 139, -INFINITY);  // only the first
  *(row_of_bias(4) + 70) = INFINITY;                // NaN
  *(row_of_bias(5) + 139) = NAN;                    // NaN
  *(row_of_bias(6) + 139) = 1.0e4f;                 // a late key outweighs all before it
  *row_of_bias(7) = 3.0e38f;
  const Result r = run(p, d);
  for (float x : std::span(r.out).subspan(64, 64)) EXPECT_TRUE(std::isnan(x));
  for (float x : std::span(r.out).subspan(2 * 64, 64)) EXPECT_TRUE(std::isfinite(x));
  for (int64_t i : {4, 5}) {
    for (float x : std::span(r.out).subspan(size_t(i) * 64, 64)) EXPECT_TRUE(std::isnan(x));
    EXPECT_TRUE(std::isnan(r.probs[size_t(i) * 140]));
  }
  for (float x : std::span(r.probs).subspan(2 * 140, 140)) EXPECT_NEAR(x, 1 / 140.0f, 1e-6f);
  // The loops agree on the rest.
  p.rows = {9};
  for (int64_t i : {2, 4, 5}) std::fill_n(row_of_bias(i), 140, 0.0f);
  const Result finite = run(p, d);
  expect_softmax(p, d, finite);
  for (int64_t i : {0, 3, 6, 7, 8})
    EXPECT_TRUE(std::equal(r.out.begin() + i * 64, r.out.begin() + (i + 1) * 64, finite.out.begin() + i * 64)) << i;
}

TEST_P(Attention, NaNOfOneSequenceStaysThere) {
  Problem p{.type = GetParam(), .rows = {5, 40, 6}, .keys = {5, 40, 6}};
  Data d(p, 9);
  const Result want = run(p, d);
  std::fill(d.x.begin() + d.q_offsets[1] * d.ldq, d.x.begin() + d.q_offsets[2] * d.ldq, NAN);
  Result got = run(p, d);
  for (int64_t i = 5 * d.width; i < 45 * d.width; i++) {
    EXPECT_TRUE(std::isnan(got.out[size_t(i)]));
    got.out[size_t(i)] = want.out[size_t(i)];
  }
  EXPECT_TRUE(want == got);
}

TEST_P(Attention, NaNInOneColumnOfValues) {  // of a key that all see: only that column
  Problem p{.type = GetParam(), .head_dim = 16, .rows = {3}, .keys = {70}, .cross = true};
  Data d(p, 10);
  d.kv[size_t(69 * d.ldk + d.width + 5)] = NAN;
  const Result r = run(p, d);
  for (size_t i = 0; i < r.out.size(); i++) EXPECT_EQ(std::isnan(r.out[i]), i % 16 == 5);
}

// ---- relative positions ---------------------------------------------------------------------------------------------

TEST(RelativeBias, AgainstLoops) {
  const Ints rows = {5, 0, 1, 140, 3}, keys = {5, 0, 1, 133, 2};
  const Ints offsets = offsets_of(rows);
  const int64_t heads = 3, buckets = 6, most = 20, tokens = offsets.back();
  std::mt19937_64 random(3);
  std::normal_distribution<float> normal;
  Ints positions(size_t(tokens), 0), bucket(size_t(2 * most + 1), 0), scores;
  for (int64_t& x : positions) x = int64_t(random() % 100) - 50;
  for (int64_t& x : bucket) x = int64_t(random() % buckets);
  std::vector<float> tables(size_t(heads * buckets));
  for (float& x : tables) x = normal(random);
  int64_t count = 0;
  for (size_t b = 0; b < rows.size(); b++) {
    scores.push_back(count);
    count += heads * rows[b] * keys[b];
  }
  std::vector<float> want(size_t(count), 1.5f);
  const DeviceArray<float> out(want), d_tables(tables);
  const DeviceArray<int64_t> d_offsets(offsets), d_keys(keys), d_scores(scores), d_positions(positions),
      d_bucket(bucket);
  for (int64_t accumulate : {1, 0, 1}) {
    RelativeBiasArgs a{};
    a.out = out.data();
    a.offsets = d_offsets.data(), a.lengths = d_keys.data(), a.scores = d_scores.data();
    a.positions = d_positions.data(), a.table = d_tables.data(), a.bucket = d_bucket.data();
    a.batch = int64_t(rows.size()), a.tokens = tokens + 9, a.heads = heads, a.buckets = buckets, a.most = most;
    a.accumulate = accumulate;
    start(table().relative_bias, a);
    for (size_t b = 0; b < rows.size(); b++) {
      for (int64_t h = 0; h < heads; h++) {
        for (int64_t i = 0; i < rows[b]; i++) {
          for (int64_t j = 0; j < keys[b]; j++) {
            const int64_t distance = positions[size_t(offsets[b] + j)] - positions[size_t(offsets[b] + i)];
            const float x = tables[size_t(h * buckets + bucket[size_t(std::clamp(distance, -most, most) + most)])];
            float& to = want[size_t(scores[b] + (h * rows[b] + i) * keys[b] + j)];
            to = accumulate ? to + x : x;
          }
        }
      }
    }
    EXPECT_EQ(out.download(), want);
  }
}

TEST(RelativeBias, NothingToDo) {
  RelativeBiasArgs a{};
  start(table().relative_bias, a);
}

}  // namespace
}  // namespace caracal::kernels::cuda
