// Timings of caracal's media path for media.py, which sends one request a line on stdin and takes turns with the peers:
//   jpeg FILE CALLS              file -> pixel_values of ViTImageProcessor's defaults
//   decode FILE CALLS            file -> pixels
//   resize FILE H W FILTER CALLS the decoded image -> H x W
//   wav FILE CALLS               file -> input_values of Wav2Vec2FeatureExtractor's defaults
// The answer is the fastest and the median call in milliseconds. One thread.
#include <algorithm>
#include <chrono>
#include <iostream>
#include <sstream>

#include <caracal/caracal.h>
#include <caracal/loaders/audio.h>
#include <caracal/loaders/image.h>

namespace {

template <class F>
void report(int calls, F call) {
  call();  // the first one meets memory that the process has just taken or given back
  std::vector<double> times;
  for (int i = 0; i < calls; i++) {
    const auto start = std::chrono::steady_clock::now();
    call();
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  std::cout << times.front() << " " << times[times.size() / 2] << std::endl;
}

}  // namespace

int main() try {
  const caracal::Runtime runtime({.threads = 1});
  const caracal::ViTImageProcessor vit;
  const caracal::Wav2Vec2FeatureExtractor wav2vec2;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream request(line);
    std::string what, file;
    int height = 0, width = 0, filter = 0, calls = 0;
    request >> what >> file;
    if (what == "resize") request >> height >> width >> filter;
    request >> calls;
    if (what == "jpeg") report(calls, [&] { vit(caracal::load_image(file)); });
    if (what == "decode") report(calls, [&] { caracal::load_image(file); });
    if (what == "wav") report(calls, [&] { wav2vec2(caracal::load_audio(file, 16000), {.sampling_rate = 16000}); });
    if (what == "resize") {
      const caracal::Tensor image = caracal::load_image(file);
      report(calls, [&] { caracal::resize_image(runtime, image, height, width, caracal::Resample(filter)); });
    }
  }
} catch (const caracal::Error& error) {
  std::cout << error.what() << std::endl;
  return 1;
}
