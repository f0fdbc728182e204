// How many kernels an encoder layer is, on the real kernels: what the shim is asked to launch by a model of four
// layers, less what by one of two.
#include <random>

#include <caracal/models/layoutlmv2/modeling_layoutlmv2.h>
#include <caracal/runtime/cuda_workspace.h>
#include <caracal/tests/cuda/shim/shim.h>

#include "models_testing.h"

namespace caracal {
namespace {

// QKV, attention, its output with the norm, and the two of the MLP, the second with a norm: this layer's, or where
// norms come first, the next one's.
constexpr int64_t kKernels = 5;

using Model = AnyModel (*)(int64_t layers, const LoadOptions& options);

void expect_kernels(const char* name, Model make, const ModelInputs& few, const ModelInputs& many) {
  for (const char* dtype : {"float32", "float16", "bfloat16"}) {
    for (const ModelInputs* inputs : {&few, &many}) {
      int64_t launches[2];
      for (int i : {0, 1}) {
        const auto runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 1, .device = "cuda"});
        const AnyModel model = make(2 + 2 * i, {.dtype = dtype, .runtime = runtime});
        const int64_t before = shim::counters().launches;
        (*model)(*inputs);  // captures them; batches of one were when the model was made
        launches[i] = shim::counters().launches - before;
        EXPECT_GT(launches[i], 2 * kKernels);
      }
      EXPECT_EQ(launches[1] - launches[0], 2 * kKernels) << name << " " << dtype << (inputs == &few ? " few" : " many");
    }
  }
}

// The inner width makes products of two slices.
template <class Config>
Config sized(const Json& more) {
  Config config({{"hidden_size", 32}, {"num_attention_heads", 2}, {"intermediate_size", 1088}});
  config.update(more, "sized");
  return config;
}

template <class Config>
AnyModel made(Config config, int64_t layers, const LoadOptions& options) {
  config.update(Json::Object{{"num_hidden_layers", layers}}, "layers");
  return AutoModel::from_config(config, options);
}

ModelInputs texts(size_t batch, size_t length) {
  return make_inputs(std::vector(batch, std::vector<int64_t>(length, 7)));
}

TEST(Launches, Bert) {
  expect_kernels(
      "BERT",
      [](int64_t layers, const LoadOptions& options) {
        return made(sized<BertConfig>({{"vocab_size", 20}}), layers, options);
      },
      texts(2, 3), texts(8, 20));
}

TEST(Launches, DistilBert) {
  expect_kernels(
      "DistilBERT",
      [](int64_t layers, const LoadOptions& options) {
        DistilBertConfig config;
        config.vocab_size = 20, config.dim = 32, config.n_heads = 2, config.hidden_dim = 1088, config.n_layers = layers;
        return AutoModel::from_config(config, options);
      },
      texts(2, 3), texts(8, 20));
}

TEST(Launches, ViT) {
  auto images = [](int64_t batch) {
    ModelInputs inputs;
    inputs.pixel_values = Tensor::zeros({batch, 3, 16, 16});
    return inputs;
  };
  expect_kernels(
      "ViT",
      [](int64_t layers, const LoadOptions& options) {
        return made(sized<ViTConfig>({{"image_size", 16}, {"patch_size", 4}}), layers, options);
      },
      images(2), images(8));
}

TEST(Launches, Wav2Vec2) {
  auto sound = [](int64_t samples) {
    ModelInputs inputs;
    inputs.input_values = Tensor::zeros({2, samples});
    return inputs;
  };
  const Model models[] = {[](int64_t layers, const LoadOptions& options) {
                            return made(sized<Wav2Vec2Config>({{"conv_dim", Json::Array{8, 8}},
                                                               {"conv_kernel", Json::Array{10, 3}},
                                                               {"conv_stride", Json::Array{5, 2}},
                                                               {"num_conv_pos_embeddings", 4},
                                                               {"num_conv_pos_embedding_groups", 4}}),
                                        layers, options);
                          },
                          [](int64_t layers, const LoadOptions& options) {
                            return made(sized<Wav2Vec2Config>({{"conv_dim", Json::Array{8, 8}},
                                                               {"conv_kernel", Json::Array{10, 3}},
                                                               {"conv_stride", Json::Array{5, 2}},
                                                               {"num_conv_pos_embeddings", 4},
                                                               {"num_conv_pos_embedding_groups", 4},
                                                               {"do_stable_layer_norm", true},
                                                               {"feat_extract_norm", "layer"}}),
                                        layers, options);
                          }};
  for (const Model make : models) expect_kernels("Wav2Vec2", make, sound(200), sound(1500));
}

TEST(Launches, LayoutLMv2) {
  auto documents = [](int64_t batch) {
    ModelInputs inputs = texts(size_t(batch), 30);
    inputs.bbox = Tensor::zeros({batch, 30, 4}, DType::I64);
    inputs.image = Tensor::zeros({batch, 3, 32, 32}, DType::U8);
    return inputs;
  };
  expect_kernels(
      "LayoutLMv2",
      [](int64_t layers, const LoadOptions& options) {
        Json backbone = LayoutLMv2Config::default_detectron2_config();
        backbone.set("MODEL.RESNETS.DEPTH", 50);
        for (const auto& [key, value] : Json::Object{{"MODEL.RESNETS.NUM_GROUPS", 2},
                                                     {"MODEL.RESNETS.WIDTH_PER_GROUP", 2},
                                                     {"MODEL.RESNETS.STEM_OUT_CHANNELS", 4},
                                                     {"MODEL.RESNETS.RES2_OUT_CHANNELS", 8},
                                                     {"MODEL.FPN.OUT_CHANNELS", 8}})
          backbone.set(key, value);
        return made(sized<LayoutLMv2Config>({{"vocab_size", 20},
                                             {"coordinate_size", 4},
                                             {"shape_size", 8},
                                             {"image_feature_pool_shape", Json::Array{2, 2, 8}},
                                             {"detectron2_config_args", backbone}}),
                    layers, options);
      },
      documents(2), documents(8));
}

// Products and norms by themselves.
class Joining : public testing::Test {
 protected:
  static constexpr int64_t kRows = 40, kCols = 32, kWide = 1088;
  std::shared_ptr<Runtime> runtime = std::make_shared<Runtime>(RuntimeOptions{.threads = 1, .device = "cuda"});
  CudaWorkspace workspace{runtime->cuda()};
  WeightStore store{runtime->cuda(), DType::F32};
  Linear square = linear_of(kCols), wide = linear_of(kWide);
  LayerNorm norm{store.place(random({kCols}), DType::F32), store.place(random({kCols}), DType::F32), 1e-5f};
  int64_t launches = 0;

  static Tensor random(const Shape& shape) {
    static std::mt19937 engine(1);
    Tensor x = Tensor::zeros(shape);
    for (int64_t i = 0; i < x.numel(); i++) x.data<float>()[i] = std::uniform_real_distribution<float>(-1, 1)(engine);
    return x;
  }
  Linear linear_of(int64_t in_features) {
    return pack_linear(*runtime, store, {random({kCols, in_features})}, {random({kCols})});
  }

  // What f(ctx) gives, by so many launches.
  template <class F>
  std::vector<float> run(const F& f) {
    std::vector<float> result;
    Ctx ctx(*runtime, workspace);
    do {
      workspace.begin(DType::F32);
      ctx.fetch(f(ctx), [&](const Tensor& x) { result.assign(x.data<float>(), x.data<float>() + x.numel()); });
    } while (!workspace.settle());
    const int64_t before = shim::counters().launches;
    workspace.execute();
    launches = shim::counters().launches - before;
    return result;
  }
};

TEST_F(Joining, ANormThatFollowsItsProduct) {
  const Tensor x = random({kRows, kCols}), wide_x = random({kRows, kWide});
  const auto apart = run([&](Ctx& ctx) {
    const Tensor on = to_device(ctx, x), c = linear(ctx, on, square);
    linear(ctx, on, square);
    return layer_norm(ctx, c, norm);
  });
  EXPECT_EQ(launches, 3);  // the last product is not the norm's
  EXPECT_EQ(run([&](Ctx& ctx) { return layer_norm(ctx, linear(ctx, to_device(ctx, x), square), norm); }), apart);
  EXPECT_EQ(launches, 1);
  EXPECT_EQ(run([&](Ctx& ctx) {
              Tensor c = linear(ctx, to_device(ctx, x), square);
              return layer_norm(ctx, c, norm, &c);
            }),
            apart);
  EXPECT_EQ(launches, 1);
  EXPECT_EQ(run([&](Ctx& ctx) {  // over what the product reads
              Tensor on = layer_norm(ctx, to_device(ctx, x), norm), copy = linear(ctx, on, square);
              linear(ctx, to_device(ctx, x), square, {.into = &copy});
              return layer_norm(ctx, copy, norm, &on);
            }),
            apart);
  EXPECT_EQ(launches, 3);
  // Scratch is not where the norm goes.
  const auto wide_apart = run([&](Ctx& ctx) {
    const Tensor c = linear(ctx, to_device(ctx, wide_x), wide);
    linear(ctx, to_device(ctx, x), square);
    return layer_norm(ctx, c, norm);
  });
  EXPECT_EQ(launches, 3);
  EXPECT_EQ(run([&](Ctx& ctx) { return layer_norm(ctx, linear(ctx, to_device(ctx, wide_x), wide), norm); }),
            wide_apart);
  EXPECT_EQ(launches, 1);
  const auto residual = run([&](Ctx& ctx) {
    Tensor r = linear(ctx, to_device(ctx, x), square), c = linear(ctx, to_device(ctx, wide_x), wide, {.residual = &r});
    return layer_norm(ctx, c, norm, &r);
  });
  EXPECT_EQ(launches, 2);
  EXPECT_EQ(run([&](Ctx& ctx) {
              Tensor r = linear(ctx, to_device(ctx, x), square),
                     c = linear(ctx, to_device(ctx, wide_x), wide, {.residual = &r});
              layer_norm(ctx, c, norm, nullptr, Activation::gelu);  // it has an end of its own
              return layer_norm(ctx, c, norm);
            }),
            residual);
  EXPECT_EQ(launches, 4);
}

TEST_F(Joining, NothingThatWouldBeWrong) {
  const Tensor x = random({kRows, kCols});
  auto separately = [&](auto f) {
    return run([&](Ctx& ctx) {
      // A product in between keeps them apart.
      return f(ctx, [&] { linear(ctx, to_device(ctx, x), square); });
    });
  };
  auto together = [&](auto f) { return run([&](Ctx& ctx) { return f(ctx, [] {}); }); };
  // Two norms of one product: the first one joins it.
  auto twice = [&](Ctx& ctx, auto between) {
    const Tensor c = linear(ctx, to_device(ctx, x), square);
    between();
    const Tensor first = layer_norm(ctx, c, norm), second = layer_norm(ctx, c, norm);
    return concat_columns(ctx, {&first, &second});
  };
  const auto twice_apart = separately(twice);
  EXPECT_EQ(together(twice), twice_apart);
  EXPECT_EQ(launches, 2 + 2);  // columns of each are copied
  // Where slices are.
  const Tensor wide_x = random({kRows, kWide});
  auto in_scratch = [&](Ctx& ctx, auto between) {
    const Tensor c = linear(ctx, to_device(ctx, wide_x), wide);
    ctx.empty({kRows, kCols});
    Tensor out = ctx.empty({kRows, kCols});
    between();
    return layer_norm(ctx, c, norm, &out);
  };
  const auto in_scratch_apart = separately(in_scratch);
  EXPECT_EQ(together(in_scratch), in_scratch_apart);
  EXPECT_EQ(launches, 2);
  // Some of the rows.
  auto some = [&](Ctx& ctx, auto between) {
    const Tensor c = linear(ctx, to_device(ctx, x), square);
    between();
    return layer_norm(ctx, c.rows(0, kRows - 1), norm);
  };
  const auto some_apart = separately(some);
  EXPECT_EQ(together(some), some_apart);
  EXPECT_EQ(launches, 2);
  // Whoever takes c before it is normalised in place.
  auto in_place = [&](Ctx& ctx, auto between) {
    Tensor c = linear(ctx, to_device(ctx, x), square);
    between();
    const Tensor copy = concat_columns(ctx, {&c});
    layer_norm(ctx, c, norm, &c);
    return concat_columns(ctx, {&copy, &c});
  };
  const auto in_place_apart = separately(in_place);
  EXPECT_EQ(together(in_place), in_place_apart);
  EXPECT_EQ(launches, 1 + 1 + 1 + 2);
  std::vector<float> fetched;
  auto fetched_first = [&](Ctx& ctx, auto between) {
    Tensor c = linear(ctx, to_device(ctx, x), square);
    between();
    ctx.fetch(c, [&](const Tensor& t) { fetched.assign(t.data<float>(), t.data<float>() + t.numel()); });
    return layer_norm(ctx, c, norm, &c);
  };
  const auto fetched_apart = separately(fetched_first);
  const std::vector<float> fetched_before = fetched;
  EXPECT_EQ(together(fetched_first), fetched_apart);
  EXPECT_EQ(launches, 2);
  EXPECT_EQ(fetched, fetched_before);
  EXPECT_NE(fetched, fetched_apart);
  // Where the product reads other rows.
  for (const bool residual : {false, true}) {
    auto shifted = [&](Ctx& ctx, auto between) {
      Tensor both = ctx.empty({kRows + 1, kCols}), first = both.rows(0, kRows), second = both.rows(1, kRows + 1);
      linear(ctx, to_device(ctx, x), square, {.into = &first});
      const Tensor c =
          residual ? linear(ctx, to_device(ctx, x), square, {.residual = &first}) : linear(ctx, first, square);
      between();
      return layer_norm(ctx, c, norm, &second);
    };
    const auto apart = separately(shifted);
    EXPECT_EQ(together(shifted), apart);
    EXPECT_EQ(launches, 3);
  }
}

// More columns than a warp's registers hold: gemm() calls layer_norm() itself.
TEST_F(Joining, WideRows) {
  const Linear widening = pack_linear(*runtime, store, {random({kWide, kCols})}, {random({kWide})});
  const LayerNorm wide_norm{store.place(random({kWide}), DType::F32), store.place(random({kWide}), DType::F32), 1e-5f};
  const Tensor x = random({kRows, kCols});
  const auto apart = run([&](Ctx& ctx) {
    const Tensor on = to_device(ctx, x), c = linear(ctx, on, widening);
    linear(ctx, on, square);
    return layer_norm(ctx, c, wide_norm);
  });
  EXPECT_EQ(launches, 3);
  EXPECT_EQ(run([&](Ctx& ctx) { return layer_norm(ctx, linear(ctx, to_device(ctx, x), widening), wide_norm); }), apart);
  EXPECT_EQ(launches, 2);
}

TEST_F(Joining, OnlyALaunchOfTheKernelThatIsAskedFor) {
  using kernels::cuda::Cuda;
  using kernels::cuda::GemmArgs;
  using kernels::cuda::LayerNormArgs;
  const auto gemm = [&] { return workspace.last_launch<&Cuda::gemm, GemmArgs>(); };
  const auto layer_norm = [&] { return workspace.last_launch<&Cuda::layer_norm, LayerNormArgs>(); };
  workspace.begin(DType::F32);
  EXPECT_EQ(gemm(), nullptr);
  GemmArgs product{};
  product.rows = 5;
  workspace.launch<&Cuda::gemm>(product);
  ASSERT_NE(gemm(), nullptr);
  EXPECT_EQ(gemm()->rows, 5);
  EXPECT_EQ(layer_norm(), nullptr);
  LayerNormArgs norm_of_it{};
  norm_of_it.rows = 6;
  workspace.launch<&Cuda::layer_norm>(norm_of_it);
  EXPECT_EQ(gemm(), nullptr);
  ASSERT_NE(layer_norm(), nullptr);
  EXPECT_EQ(layer_norm()->rows, 6);
  workspace.launch<&Cuda::gemm>(product);
  int there = 0;
  workspace.copy(&there, &there, sizeof there);
  EXPECT_EQ(gemm(), nullptr);
  workspace.launch<&Cuda::gemm>(product);
  workspace.fill_zero(&there, sizeof there);
  EXPECT_EQ(gemm(), nullptr);
  workspace.launch<&Cuda::gemm>(product);
  workspace.begin(DType::F32);
  EXPECT_EQ(gemm(), nullptr);
}

}  // namespace
}  // namespace caracal
