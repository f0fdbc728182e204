// Products by the backend cublas against double loops over the numbers as their Type rounds them: on the shim with
// fake_cublaslt.cpp, on a GPU with cuBLASLt itself.
#include <dlfcn.h>

#include <array>
#include <string>
#include <thread>

#include <caracal/tests/cuda/device_memory.h>
#include <caracal/tests/kernels/testing.h>

#include "fake_cublaslt.h"

namespace caracal::kernels::cuda {
namespace {

/// The table of the backend, on device 0. Without the library the program exits with 77.
const Cuda& cublas() {
  table();
  const char* about = nullptr;
  const Cuda* found = cublas_table(&about);
  if (found == nullptr) {
    std::printf("skipped: %s\n", about == nullptr ? "not linked" : about);
    std::exit(77);
  }
  Context before;
  const int error = found->use_device(0, &before);
  EXPECT_EQ(error, 0) << found->error_text(error);
  return *found;
}

/// What fake_cublaslt.cpp counts; null where the library is the real one.
FakeCublasLt* fake() {
  cublas();
  void* library = dlopen("libcublasLt.so.13", RTLD_NOW | RTLD_NOLOAD);
  auto* counters = reinterpret_cast<FakeCublasLt* (*)()>(dlsym(library, "fake_cublaslt_counters"));
  return counters == nullptr ? nullptr : counters();
}

struct Options {
  int64_t extra_a = 0, extra_c = 0, extra_r = 0;  // between rows
  size_t misalign = 0;
  bool bias = true, residual = false, residual_first = false, in_place = false, tf32 = false;
  Activation activation = Activation::none;
};
struct Problem : Options {
  Problem(Type type_, int64_t rows_, int64_t n_, int64_t k_, const Options& options = {})
      : Options(options), type(type_), rows(rows_), n(n_), k(k_) {}
  Type type;
  int64_t rows, n, k;
};

/// Of the thread, and never freed: it is large.
void* shared_scratch(size_t bytes) {
  thread_local void* memory = nullptr;
  thread_local size_t size = 0;
  if (size < bytes) {
    EXPECT_CUDA(table().release(memory));
    EXPECT_CUDA(table().allocate(&memory, size = bytes));
  }
  return memory;
}

/// A problem's memory on the device.
struct Operands {
  Problem p;
  int64_t lda = p.k + p.extra_a, ldc = p.n + p.extra_c, ldr = p.in_place ? ldc : p.n + p.extra_r;
  std::vector<float> a = numbers(p.rows * lda, 1.0f, 1), w = numbers(p.n * p.k, 1.7f / std::sqrt(float(p.k) + 1), 2),
                     b = random_floats(size_t(p.n), 1.0f, 3), r = numbers(p.rows * ldr, 1.0f, 4);
  Numbers on_a{p.type, a, p.misalign}, on_w{p.type, w, p.misalign}, on_r{p.type, r, p.misalign};
  DeviceArray<float> on_b{b, p.misalign};
  Numbers c{p.type, size_t(p.rows* ldc), p.misalign};
  void* scratch = shared_scratch(cublas().gemm_scratch(p.rows, p.n, p.k));

  explicit Operands(const Problem& problem) : p(problem) {
    if (p.in_place) c.upload(r);
  }
  std::vector<float> numbers(int64_t count, float scale, uint32_t seed) const {
    return rounded(p.type, random_floats(size_t(count), scale, seed));
  }

  GemmArgs args() const {
    GemmArgs args{};
    args.type = p.type, args.c = c, args.a = on_a, args.w = on_w;
    args.bias = p.bias ? on_b.data() : nullptr;
    args.residual = p.in_place ? c.data() : p.residual ? on_r.data() : nullptr;
    args.ldc = ldc, args.lda = lda, args.ldr = ldr, args.rows = p.rows, args.n = p.n, args.k = p.k;
    args.activation = act(p.activation), args.residual_first = p.residual_first, args.tf32 = p.tf32;
    args.scratch = scratch;
    return args;
  }

  /// What the first `count` rows are to be.
  std::vector<double> expected(int64_t count) const {
    std::vector<double> values;
    for (int64_t i = 0; i < count; i++)
      for (int64_t j = 0; j < p.n; j++) {
        // The library has the bias in c's type.
        const float bias = p.activation == Activation::none ? rounded(p.type, b[size_t(j)]) : b[size_t(j)];
        double sum = p.bias ? double(bias) : 0;
        for (int64_t l = 0; l < p.k; l++) sum += double(a[size_t(i * lda + l)]) * double(w[size_t(j * p.k + l)]);
        const double other = p.residual || p.in_place ? double(r[size_t(i * ldr + j)]) : 0;
        sum = reference_activation(p.residual_first ? sum + other : sum, p.activation);
        values.push_back(p.residual_first ? sum : sum + other);
      }
    return values;
  }

  void check(int64_t count) const {
    const std::vector<float> all = c.download();
    std::vector<float> values;
    for (int64_t i = 0; i < count; i++)
      for (int64_t j = 0; j < ldc; j++) {
        const float x = all[size_t(i * ldc + j)];
        if (j < p.n) values.push_back(x);
        ASSERT_TRUE(j < p.n || p.in_place || std::isnan(x)) << "written between rows";
      }
    // One rounding; with an activation two, of which its slope, at most 1.13, may enlarge the first.
    expect_near(values, expected(count), (p.activation == Activation::none ? 1.25 : 2.75) * tolerance(p.type));
  }
};

void check(const Problem& p) {
  SCOPED_TRACE(testing::Message() << name_of(p.type) << " " << p.rows << "x" << p.n << "x" << p.k << " +" << p.extra_a
                                  << " +" << p.extra_c << " +" << p.extra_r << " misalign " << p.misalign << " bias "
                                  << p.bias << " residual " << p.residual << p.residual_first << p.in_place
                                  << " activation " << int(p.activation));
  const Operands operands(p);
  const int error = cublas().gemm(nullptr, operands.args());
  EXPECT_EQ(error, 0) << cublas().error_text(error);
  operands.check(p.rows);
}

TEST(Cublas, IsATableOfItsOwn) {
  EXPECT_STREQ(cublas().backend, "cublas");
  EXPECT_STREQ(table().backend, "native");
  EXPECT_NE(cublas().gemm, table().gemm);
  EXPECT_EQ(cublas().attention, table().attention);
  EXPECT_GE(cublas().gemm_scratch(32, 768, 768), size_t(32) << 20);  // the workspace
  EXPECT_GE(cublas().gemm_scratch(8192, 8192, 65536), table().gemm_scratch(8192, 8192, 65536));
  EXPECT_STREQ(cublas().error_text(1), table().error_text(1));
  Context before;
  EXPECT_EQ(cublas().use_device(-1, &before), table().use_device(-1, &before));
  EXPECT_EQ(cublas().use_device(0, &before), 0);
}

TEST(Cublas, EveryEpilogue) {
  for (Type type : kTypes)
    for (Activation activation : {Activation::none, Activation::gelu, Activation::relu, Activation::gelu_tanh,
                                  Activation::tanh, Activation::sqrtsoftplus})
      for (int residual = 0; residual < 5; residual++)  // none, apart, in place; the last two first too
        for (bool bias : {false, true})
          check({type,
                 5,
                 40,
                 24,
                 {.bias = bias,
                  .residual = residual % 2 == 1,
                  .residual_first = residual > 2,
                  .in_place = residual > 0 && residual % 2 == 0,
                  .activation = activation}});
}

TEST(Cublas, EveryShape) {
  for (Type type : kTypes)
    for (int64_t rows : {1, 7, 33})
      for (int64_t n : {1, 8, 31, 64})
        for (int64_t k : {1, 2, 9, 64}) {
          check({type, rows, n, k});
          check({type, rows, n, k, {.residual = true, .activation = Activation::gelu}});
        }
  for (Type type : kTypes) check({type, 3, 65, 1537, {.residual = true}});
}

TEST(Cublas, RowsApartAndOperandsAnywhere) {
  for (Type type : kTypes)
    for (Activation activation : {Activation::none, Activation::gelu}) {
      check(
          {type, 6, 24, 16, {.extra_a = 8, .extra_c = 16, .extra_r = 24, .residual = true, .activation = activation}});
      check({type, 6, 24, 16, {.extra_a = 3, .extra_c = 1, .extra_r = 5, .residual = true, .activation = activation}});
      check({type, 6, 24, 16, {.extra_c = 4, .residual = true, .in_place = true, .activation = activation}});
      for (size_t misalign : {1, 2, 4, 8})
        check({type, 6, 24, 16, {.misalign = misalign, .residual = true, .activation = activation}});
    }
}

TEST(Cublas, EachDistanceBetweenRowsCounts) {
  for (int64_t a : {0, 16})
    for (int64_t c : {0, 16})
      for (int64_t r : {0, 16})
        check({Type::f32, 6, 56, 48, {.extra_a = a, .extra_c = c, .extra_r = r, .residual = true}});
}

// One operand alone lies badly: the choice of a code asks for each.
TEST(Cublas, EachOperandsPlaceCounts) {
  for (int which = 0; which < 5; which++) {
    const Operands good({Type::f32, 4, 16, 8, {.residual = true}}),
        bad({Type::f32, 4, 16, 8, {.misalign = 1, .residual = true}});
    GemmArgs args = good.args();
    const GemmArgs other = bad.args();
    EXPECT_EQ(cublas().gemm(nullptr, args), 0);
    if (which == 0) args.a = other.a;
    if (which == 1) args.w = other.w;
    if (which == 2) args.c = other.c;
    if (which == 3) args.bias = other.bias;
    if (which == 4) args.residual = other.residual;
    const int error = cublas().gemm(nullptr, args);
    EXPECT_EQ(error, 0) << which << ": " << cublas().error_text(error);
    (which == 2 ? bad : good).check(4);
  }
}

TEST(Cublas, Tf32WhereItIsAsked) {
  for (Type type : kTypes)
    for (int64_t n : {40, 17}) {  // 17: the library of the tests has no code
      std::vector<std::vector<uint8_t>> bytes;
      for (bool tf32 : {false, true, false}) {  // whatever was asked for before
        const Operands operands({type, 5, n, 24, {.residual = true, .tf32 = tf32}});
        const int64_t before = fake() == nullptr ? 0 : fake()->tf32.load();
        EXPECT_EQ(cublas().gemm(nullptr, operands.args()), 0);
        if (fake() != nullptr) {
          EXPECT_EQ(fake()->tf32 - before, tf32 && type == Type::f32 && n != 17);
        }
        // Rounding to 10 bits of mantissa costs a product a thousandth at most.
        if (tf32 && type == Type::f32)
          expect_near(operands.c.download(), operands.expected(5), 2e-3);
        else
          operands.check(5);
        bytes.push_back(operands.c.bytes());
      }
      EXPECT_EQ(bytes[0], bytes[2]);
      // Ours knows no TF32 below sm_80; the real library may have no better code for it than for float32.
      const bool exact = type != Type::f32 || (n == 17 && capability() < 80);
      if (exact || fake() != nullptr) {
        EXPECT_EQ(bytes[0] == bytes[1], exact);
      }
    }
}

TEST(Cublas, NothingToDo) {
  for (Type type : kTypes) {
    check({type, 0, 24, 16});
    check({type, 3, 0, 16});
    check({type, 3, 24, 0, {.residual = true, .activation = Activation::gelu}});
  }
}

// Rows of no sequence hold anything. They change no other row.
TEST(Cublas, RowsThatNobodyReads) {
  for (Type type : kTypes)
    for (Activation activation : {Activation::none, Activation::gelu}) {
      const Operands operands({type, 32, 24, 40, {.residual = true, .activation = activation}});
      std::vector<float> a = operands.a, r = operands.r;
      std::fill(a.begin() + 5 * 40, a.end(), NAN);
      std::fill(r.begin() + 5 * 24, r.end(), INFINITY);
      operands.on_a.upload(a);
      operands.on_r.upload(r);
      EXPECT_EQ(cublas().gemm(nullptr, operands.args()), 0);
      operands.check(5);
    }
}

TEST(Cublas, ReplaysInAGraph) {
  for (Type type : kTypes)
    for (Activation activation : {Activation::none, Activation::gelu}) {
      const Operands operands({type, 9, 40, 24, {.residual = true, .activation = activation}});
      Stream stream;
      Graph graph = nullptr;
      EXPECT_CUDA(table().create_stream(&stream));
      int error = cublas().find_gemm(operands.args());
      EXPECT_EQ(error, 0) << cublas().error_text(error);
      EXPECT_CUDA(table().begin_capture(stream));
      error = cublas().gemm(stream, operands.args());
      EXPECT_EQ(error, 0) << cublas().error_text(error);
      EXPECT_CUDA(table().end_capture(stream, &graph));
      ASSERT_NE(graph, nullptr);
      for (int run = 0; run < 2; run++) {
        operands.on_a.upload(run == 0 ? std::vector<float>(operands.a.size(), 7.0f) : operands.a);
        operands.c.upload(std::vector<float>(operands.c.size(), 7.0f));
        EXPECT_CUDA(table().launch_graph(stream, graph));
        EXPECT_CUDA(table().synchronize(stream));
      }
      operands.check(9);
      EXPECT_CUDA(table().destroy_graph(graph));
      EXPECT_CUDA(table().destroy_stream(stream));
    }
}

TEST(Cublas, ScratchIsAsLargeAsItSays) {
  for (Type type : kTypes)
    for (int64_t n : {8, 128, 136}) {
      const Operands operands({type, 9, n, 24});
      const DeviceArray<uint8_t> scratch(cublas().gemm_scratch(9, n, 24), 64);  // as an arena aligns
      GemmArgs args = operands.args();
      args.scratch = scratch;
      EXPECT_EQ(cublas().gemm(nullptr, args), 0);
      operands.check(9);
    }
}

TEST(Cublas, EqualCallsGiveEqualBits) {
  for (Type type : kTypes) {
    const Operands operands({type, 64, 96, 200, {.residual = true}});
    EXPECT_EQ(cublas().gemm(nullptr, operands.args()), 0);
    const std::vector<uint8_t> first = operands.c.bytes();
    EXPECT_EQ(cublas().gemm(nullptr, operands.args()), 0);
    EXPECT_EQ(operands.c.bytes(), first);
  }
}

TEST(Cublas, ManyThreads) {
  std::array<std::string, 4> wrong;
  std::vector<std::thread> threads;
  for (size_t t = 0; t < wrong.size(); t++)
    threads.emplace_back([t, &wrong] {
      Context before;
      if (cublas().use_device(0, &before) != 0) wrong[t] = "use_device";
      for (int64_t n = 100; n < 120 && wrong[t].empty(); n++) {
        const Operands operands({Type::f32, 3, n, int64_t(8 + t)});
        if (const int error = cublas().gemm(nullptr, operands.args()); error != 0)
          wrong[t] = cublas().error_text(error);
        operands.check(3);
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& each : wrong) EXPECT_EQ(each, "");
}

// What only the fake library tells.

TEST(CublasFake, FusesWhatItCan) {
  FakeCublasLt* counters = fake();
  if (counters == nullptr) GTEST_SKIP() << "this is the real library";
  auto counted = [&](const Problem& p) {
    const int64_t before[] = {counters->products, counters->biases, counters->residuals, counters->halves};
    check(p);
    return std::vector<int64_t>{counters->products - before[0], counters->biases - before[1],
                                counters->residuals - before[2], counters->halves - before[3]};
  };
  using Counts = std::vector<int64_t>;
  for (Type type : kTypes) {
    EXPECT_EQ(counted({type, 4, 32, 16, {.residual = true}}), (Counts{1, 1, 1, 1}));
    EXPECT_EQ(counted({type, 4, 32, 16, {.in_place = true}}), (Counts{1, 1, 1, 1}));
    EXPECT_EQ(counted({type, 4, 32, 16, {.bias = false}}), (Counts{1, 0, 0, 1}));
    EXPECT_EQ(counted({type, 4, 32, 16, {.residual = true, .activation = Activation::gelu}}), (Counts{1, 0, 0, 1}));
    EXPECT_EQ(counted({type, 4, 32, 16, {.in_place = true, .activation = Activation::gelu}}), (Counts{0, 0, 0, 0}));
    EXPECT_EQ(counted({type, 4, 32, 16, {.misalign = 1}}), (Counts{1, 1, 0, 0}));
  }
  EXPECT_EQ(counters->descriptions, 0);  // all given back
}

TEST(CublasFake, AsksForACodeOncePerShape) {
  FakeCublasLt* counters = fake();
  if (counters == nullptr) GTEST_SKIP() << "this is the real library";
  const Operands operands({Type::f16, 11, 72, 56, {.residual = true}});
  const GemmArgs args = operands.args();
  auto asked = [&](const GemmArgs& each) {
    const int64_t before = counters->heuristics;
    EXPECT_EQ(cublas().gemm(nullptr, each), 0);
    return counters->heuristics - before;
  };
  EXPECT_EQ(asked(args), 1);
  EXPECT_EQ(asked(args), 0);
  GemmArgs other = args;
  other.rows = 10;
  EXPECT_EQ(asked(other), 1);
  other.bias = nullptr;
  EXPECT_EQ(asked(other), 1);
  other.residual = nullptr;
  EXPECT_EQ(asked(other), 1);
  other.type = Type::bf16;
  EXPECT_EQ(asked(other), 1);
  other.n = 64;
  EXPECT_EQ(asked(other), 1);
  other.k = 48;
  EXPECT_EQ(asked(other), 1);
  EXPECT_EQ(asked(other), 0);
  EXPECT_EQ(asked(args), 0);
}

// In a capture the library is not asked, and how well an operand lies beyond 16 bytes is no matter.
TEST(CublasFake, FindsBeforeACapture) {
  FakeCublasLt* counters = fake();
  if (counters == nullptr) GTEST_SKIP() << "this is the real library";
  Stream stream;
  Graph graph = nullptr;
  EXPECT_CUDA(table().create_stream(&stream));
  const Operands operands({Type::f16, 13, 72, 56, {.residual = true}}),
      other({Type::f16, 13, 72, 56, {.misalign = 8, .residual = true}});  // 16 bytes
  EXPECT_CUDA(table().begin_capture(stream));
  int error = cublas().gemm(stream, operands.args());
  EXPECT_STREQ(cublas().error_text(error), "cuBLASLt: an internal operation failed");
  EXPECT_CUDA(table().end_capture(stream, &graph));
  EXPECT_CUDA(table().destroy_graph(graph));
  const int64_t before = counters->heuristics, products = counters->products;
  EXPECT_EQ(cublas().find_gemm(operands.args()), 0);
  EXPECT_EQ(counters->heuristics, before + 1);
  EXPECT_EQ(counters->products, products);  // nothing is started
  for (const Operands* each : {&operands, &other}) {
    EXPECT_CUDA(table().begin_capture(stream));
    error = cublas().gemm(stream, each->args());
    EXPECT_EQ(error, 0) << cublas().error_text(error);
    EXPECT_CUDA(table().end_capture(stream, &graph));
    EXPECT_CUDA(table().launch_graph(stream, graph));
    EXPECT_CUDA(table().synchronize(stream));
    EXPECT_CUDA(table().destroy_graph(graph));
    each->check(13);
  }
  EXPECT_EQ(counters->heuristics, before + 1);
  GemmArgs nothing = operands.args();
  nothing.rows = 0;
  EXPECT_EQ(cublas().find_gemm(nothing), 0);
  EXPECT_EQ(table().find_gemm(operands.args()), 0);
  EXPECT_CUDA(table().destroy_stream(stream));
}

// Where the library has no code, ours goes on; what fails is an error with its words.
TEST(CublasFake, NoCodeAndFailures) {
  FakeCublasLt* counters = fake();
  if (counters == nullptr) GTEST_SKIP() << "this is the real library";
  const int64_t products = counters->products;
  for (int64_t n : {17, 19})
    for (Type type : kTypes) check({type, 4, n, 16, {.residual = true, .activation = Activation::gelu}});
  EXPECT_EQ(counters->products, products);
  const Operands operands({Type::f32, 4, 23, 16});
  const int error = cublas().gemm(nullptr, operands.args());
  EXPECT_NE(error, 0);
  EXPECT_STREQ(cublas().error_text(error), "cuBLASLt: the function failed to launch on the GPU");
  GemmArgs args = operands.args();
  args.lda = 15;  // less than k
  EXPECT_STREQ(cublas().error_text(cublas().gemm(nullptr, args)),
               "cuBLASLt: an unsupported value or parameter was passed to the function");
}

TEST(CublasFake, EveryDeviceHasItsHandle) {
  FakeCublasLt* counters = fake();
  int devices = 0;
  EXPECT_CUDA(table().device_count(&devices));
  if (counters == nullptr || devices < 2) GTEST_SKIP() << "the real library, or one device";
  const Cuda &lt = cublas(), &own = table();  // which make device 0 current
  Context before;
  auto multiply = [&](auto use) {
    const Operands operands({Type::f32, 4, 136, 16});
    const GemmArgs args = operands.args();
    use();
    const int error = lt.gemm(nullptr, args);
    EXPECT_EQ(error, 0) << lt.error_text(error);
    operands.check(4);
  };
  for (int device : {0, 1, 1, 0}) multiply([&] { EXPECT_EQ(lt.use_device(device, &before), 0); });
  multiply([&] {
    EXPECT_EQ(lt.use_device(1, &before), 0);
    EXPECT_EQ(own.use_device(0, &before), 0);  // whoever makes it current
  });
  multiply([&] { EXPECT_EQ(own.use_device(1, &before), 0); });
  EXPECT_EQ(counters->handles, 2);
}

}  // namespace
}  // namespace caracal::kernels::cuda
