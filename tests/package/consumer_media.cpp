// A user's program that decodes with every library of caracal::media; its argument is the folder tests/data/media.
#include <cstdio>

#include <caracal/caracal.h>
#include <caracal/loaders/audio.h>
#include <caracal/loaders/image.h>

int main(int, char** argv) try {
  const std::string folder = argv[1];
  caracal::ViTImageProcessor processor({{"size", 32}});
  for (const char* name : {"progressive.jpg", "palette.png", "alpha.webp"}) {
    const auto features = processor(caracal::load_image(folder + "/images/" + name));
    std::printf("%s %s\n", name, features["pixel_values"].shape().str().c_str());
  }
  const auto samples = caracal::load_audio(folder + "/audio/s24_stereo.flac", 16000);
  std::printf("%s\n", caracal::Wav2Vec2FeatureExtractor()(samples)["input_values"].shape().str().c_str());
  return samples.numel() == 436 ? 0 : 1;
} catch (const caracal::Error& error) {
  std::printf("%s\n", error.what());
  return 1;
}
