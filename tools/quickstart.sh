#!/usr/bin/env bash
# From a fresh Debian 12 to sentence similarities: installs what is missing (as root), builds caracal, fetches the model
# all-MiniLM-L6-v2 and runs it. Everything it makes is under build/; a second run starts at the results.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/debian_packages.sh
source tools/debian_packages.sh

model=build/models/all-MiniLM-L6-v2
need c++ cmake ninja utf8proc.h re2/re2.h nlohmann/json.hpp Eigen/Core CLI/CLI.hpp
use_ninja

echo "building caracal"
cmake --preset release -DCARACAL_TESTS=OFF -DCARACAL_BENCH=OFF --log-level=WARNING
cmake --build --preset release --parallel "$(nproc)" --target caracal_cli

bash tools/fetch_minilm.sh

caracal=build/release/tools/caracal
echo
echo "\$ caracal pipeline sentence-similarity --model $model ..."
$caracal pipeline sentence-similarity --model "$model" \
  "A cheetah chases a gazelle across the plain." \
  "A big cat is running after its prey." \
  "The fastest land animal hunts on the savannah." \
  "The quarterly report is due on Friday."
for length in 8 32 128; do
  echo
  echo "\$ caracal bench --model $model --batch 1 --seq $length"
  $caracal bench --model "$model" --batch 1 --seq "$length" --seconds 2
done
