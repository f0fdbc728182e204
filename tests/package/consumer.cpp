// A user's program, as small as one can be that needs the archive: the umbrella header and a tensor.
#include <cstdio>

#include <caracal/caracal.h>

int main() {
  const caracal::Tensor tensor = caracal::Tensor::zeros({2, 3});
  std::printf("%s of %s\n", tensor.shape().str().c_str(), caracal::name_of(tensor.dtype()).data());
  return tensor.numel() == 6 ? 0 : 1;
}
