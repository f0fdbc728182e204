// What becomes of cuBLASLt libraries that are not as they should be: CARACAL_CUBLASLT_IS says which one the loader
// finds.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include <caracal/kernels/cuda/kernels.h>

namespace caracal::kernels::cuda {

int restored = 0, capture_mode = 0;

// In place of device.cu: this program has no kernels.
extern const bool kCudaLinked;
const bool kCudaLinked = true;
const Cuda* cuda_table() noexcept {
  static const Cuda table = [] {
    Cuda t{};
    t.backend = "native";
    t.error_text = [](int) { return "an error of the driver"; };
    t.use_device = [](int index, Context* before) { return *before = nullptr, index == 0 ? 0 : 101; };
    t.restore = [](Context) { return restored++, 0; };
    t.exchange_capture_mode = [](int* mode) { return std::swap(*mode, capture_mode), 0; };
    return t;
  }();
  return &table;
}

namespace {

TEST(CublasLibrary, IsFoundOrSaysWhyNot) {
  const char* set = std::getenv("CARACAL_CUBLASLT_IS");
  const std::string is = set != nullptr ? set : "absent";
  if (is == "absent" && dlopen("libcublasLt.so.13", RTLD_LAZY) != nullptr) {
    std::printf("skipped: this machine has cuBLASLt\n");
    std::exit(77);
  }
  const char* about = nullptr;
  const Cuda* table = cublas_table(&about);
  ASSERT_NE(about, nullptr);
  EXPECT_EQ(cublas_table(&about), table);  // asked again
  const std::string text = about;
  auto says = [&](const std::string& what) {
    EXPECT_EQ(table, nullptr);
    EXPECT_EQ(text.find(what), 0u) << text;
    EXPECT_NE(text.find("; install cuBLAS of CUDA 13"), std::string::npos) << text;
  };
  if (is == "absent") return says("libcublasLt.so.13: cannot open shared object file");
  if (is == "old") return says("libcublasLt.so.13 is cuBLASLt 12.9; ");
  if (is == "lacking") return says("libcublasLt.so.13 has no cublasLtMatmul");
  if (is == "no_library") {
    EXPECT_EQ(table, nullptr);
    EXPECT_NE(text.find("libcublasLt.so.13: file too short; install"), std::string::npos) << text;
    return;
  }
  ASSERT_NE(table, nullptr) << text;
  EXPECT_EQ(text.find("cuBLASLt 13."), 0u) << text;
  EXPECT_STREQ(table->error_text(101), "an error of the driver");
  Context before = nullptr;
  EXPECT_EQ(table->use_device(1, &before), 101);
  if (is == "good") {
    EXPECT_EQ(table->use_device(0, &before), 0);
    EXPECT_EQ(capture_mode, 0);
    return;
  }
  ASSERT_EQ(is, "broken");
  for (int again = 0; again < 2; again++)
    EXPECT_STREQ(table->error_text(table->use_device(0, &before)), "cuBLASLt: the library was not initialized");
  EXPECT_EQ(restored, 2);
  EXPECT_EQ(capture_mode, 0);
}

}  // namespace
}  // namespace caracal::kernels::cuda
