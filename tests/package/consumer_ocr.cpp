// A user's program that reads a page which it drew itself.
#include <cstdio>

#include <caracal/caracal.h>
#include <caracal/loaders/ocr_tesseract.h>

int main() try {
  caracal::Tensor page = caracal::Tensor::zeros({60, 80, 1}, caracal::DType::U8);
  caracal::TesseractEngine engine;
  std::printf("%zu words\n", engine.recognize(page).size());
  return 0;
} catch (const caracal::Error& error) {
  std::printf("%s\n", error.what());
  return 1;
}
