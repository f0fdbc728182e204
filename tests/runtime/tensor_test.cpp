#include <caracal/runtime/tensor.h>

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include <caracal/runtime/checked.h>

namespace caracal {
namespace {

TEST(Shape, ChecksAndPrints) {
  EXPECT_EQ((Shape{2, 3}).str(), "(2, 3)");
  EXPECT_EQ(Shape{5}.str(), "(5,)");
  EXPECT_EQ(Shape{}.str(), "()");
  EXPECT_EQ(Shape{}.numel(), 1);
  EXPECT_EQ((Shape{4, 0, 7}).numel(), 0);
  EXPECT_THROW((Shape{-1}), Error);
  EXPECT_THROW((Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}), Error);
  EXPECT_THROW((Shape{int64_t(1) << 40, int64_t(1) << 40}).numel(), Error);
}

TEST(Tensor, OwnsSharesAndViews) {
  Tensor a = Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {3, 2});
  Tensor b = a;
  b.data<float>()[0] = 9;
  EXPECT_EQ(a.data<float>()[0], 9);
  EXPECT_EQ(a.rows(1, 3).data<float>()[0], 3);
  EXPECT_EQ(a.reshape({2, 3}).size(-1), 3);
  Tensor copy = a.clone();
  copy.data<float>()[0] = 1;
  EXPECT_EQ(a.data<float>()[0], 9);
  EXPECT_FALSE(Tensor().defined());
  EXPECT_THROW(a.data<int64_t>(), Error);
  EXPECT_THROW(a.size(2), Error);
  EXPECT_THROW(a.rows(2, 4), Error);
  EXPECT_THROW(a.reshape({4, 2}), Error);
  EXPECT_THROW(Tensor::from(std::vector<float>{1}, {2}), Error);
  EXPECT_THROW(Tensor::empty({int64_t(1) << 62, 1}), Error);
}

TEST(Tensor, ResizeReusesItsOwnMemoryOnly) {
  Tensor a = Tensor::empty({100});
  const void* memory = a.raw();
  a.resize({10, 2});
  EXPECT_EQ(a.raw(), memory);
  Tensor shared = a;
  a.resize({5});
  EXPECT_NE(a.raw(), memory);
  float outside[4];
  Tensor view = Tensor::view(outside, {4}, DType::F32);
  view.resize({2});
  EXPECT_NE(view.raw(), static_cast<void*>(outside));
}

TEST(Tensor, ConvertsAsTorch) {
  const Tensor f = Tensor::from(std::vector<float>{0.f, -0.f, 1.f, -2.5f, 65504.f, 65519.9f, 65520.f, 1e-7f, 6e-8f,
                                                   2.9e-8f, 0.333333343f, NAN, INFINITY},
                                {13});
  const Tensor half = f.to(DType::F16);
  const uint16_t expected_half[] = {0,      0x8000, 0x3c00, 0xc100, 0x7bff, 0x7bff, 0x7c00,
                                    0x0002, 0x0001, 0,      0x3555, 0x7e00, 0x7c00};
  for (int i = 0; i < 13; i++) EXPECT_EQ(static_cast<const uint16_t*>(half.raw())[i], expected_half[i]) << i;
  const Tensor brain = f.to(DType::BF16);
  const uint16_t expected_brain[] = {0,      0x8000, 0x3f80, 0xc020, 0x4780, 0x4780, 0x4780,
                                     0x33d7, 0x3381, 0x32f9, 0x3eab, 0x7fc0, 0x7f80};
  for (int i = 0; i < 13; i++) EXPECT_EQ(static_cast<const uint16_t*>(brain.raw())[i], expected_brain[i]) << i;
  // Every finite half survives the way to float and back.
  std::vector<uint16_t> all;
  for (uint32_t bits = 0; bits < 0x10000; bits++)
    if ((bits & 0x7c00) != 0x7c00) all.push_back(uint16_t(bits));
  const Tensor halves = Tensor::view(all.data(), {int64_t(all.size())}, DType::F16);
  const Tensor back = halves.to(DType::F32).to(DType::F16);
  for (size_t i = 0; i < all.size(); i++) ASSERT_EQ(static_cast<const uint16_t*>(back.raw())[i], all[i]);

  EXPECT_EQ(Tensor::from(std::vector<float>{-1.9f, 1e30f, NAN}, {3}).to(DType::I64).data<int64_t>()[0], -1);
  EXPECT_EQ(Tensor::from(std::vector<float>{1e30f}, {1}).to(DType::I64).data<int64_t>()[0],
            std::numeric_limits<int64_t>::min());
  EXPECT_TRUE(Tensor::from(std::vector<float>{0.5f}, {1}).to(DType::BOOL).data<bool>()[0]);
  EXPECT_EQ(Tensor::from(std::vector<int32_t>{-7}, {1}).to(DType::F64).data<double>()[0], -7.0);
}

TEST(DType, Names) {
  for (DType dtype : {DType::F64, DType::F32, DType::F16, DType::BF16, DType::I64, DType::I32, DType::I16, DType::I8,
                      DType::U8, DType::BOOL})
    EXPECT_EQ(dtype_from_name(name_of(dtype)), dtype);
  EXPECT_EQ(dtype_from_name("torch.bfloat16"), DType::BF16);
  EXPECT_EQ(dtype_from_name("float8"), std::nullopt);
}

TEST(Checked, Throws) {
  EXPECT_EQ(checked_mul<size_t>(3, 4, "x"), 12u);
  EXPECT_THROW(checked_mul<size_t>(SIZE_MAX, 2, "x"), Error);
  EXPECT_THROW(checked_add<int64_t>(INT64_MAX, 1, "x"), Error);
}

}  // namespace
}  // namespace caracal
