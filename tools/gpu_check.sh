#!/usr/bin/env bash
# Everything that needs a GPU, in one command: builds for this machine's GPU, runs the tests of the CUDA kernels plainly
# and under compute-sanitizer, the goldens of every model on the device, and the benchmark beside PyTorch, torch.compile
# and ONNX Runtime. Writes OUT/report.md, OUT/report.json and a log of each step. A step that fails does not stop the
# others. Exit code 0: all steps passed; 1: some failed or could not be run, and the report says which.
# usage: bash tools/gpu_check.sh OUT [STEP...]      steps: build tests memcheck racecheck goldens bench; default: all
#   MINUTES=60   for all steps together; what is left then is not begun
#   BUILD=DIR    build folder, default build/gpu; without the step build its programs are taken as they are
#   PYTHON=PROGRAM   that has torch, transformers and onnxruntime-gpu, default python3
#   BENCH="--cells … --peers …"   options for bench/compare_gpu.py
# shellcheck disable=SC2317  # the steps are called by name
set -uo pipefail
shopt -s extglob
out=${1:-}
if [[ -z $out || $out == -* ]]; then
  sed -n 's/^# \{0,1\}//; 2,10p' "$0"
  [[ $out == --help || $out == -h ]] && exit 0
  exit 2
fi
shift
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 2
cd "$(dirname "$0")/.." || exit 2
root=$PWD
# shellcheck source=tools/debian_packages.sh
source tools/debian_packages.sh

all_steps=(build tests memcheck racecheck goldens bench)
steps=("$@")
((${#steps[@]})) || steps=("${all_steps[@]}")
for step in "${steps[@]}"; do
  [[ " ${all_steps[*]} " == *" $step "* ]] && continue
  echo "gpu_check.sh: expected a step of ${all_steps[*]} but got $step" >&2
  exit 2
done
declare -A limit_of=([build]=1200 [tests]=600 [memcheck]=900 [racecheck]=900 [goldens]=900 [bench]=3600)
minutes=${MINUTES:-60}
deadline=$((SECONDS + minutes * 60))
build=$(realpath -m "${BUILD:-build/gpu}")
python=${PYTHON:-python3}
export out root build python

if ! devices=$(nvidia-smi -L 2>&1); then
  echo "gpu_check.sh: no CUDA device (${devices##*: line +([0-9]): })" >&2
  exit 1
fi

# ---- the steps: each prints what it does; exit code 0 passed, 77 could not be run --------------------------------------

# nvcc 13: on the path, where NVIDIA's packages put it, or of a Python package.
find_nvcc() {
  local each
  for each in "${CUDACXX:-}" "$(command -v nvcc)" /usr/local/cuda/bin/nvcc /usr/local/cuda-*/bin/nvcc \
    $("$python" -c 'import nvidia; [print(f"{p}/{part}/bin/nvcc") for p in nvidia.__path__ for part in ("cu13", "cuda_nvcc")]' 2>/dev/null); do
    [[ -x $each ]] && "$each" --version | grep -q 'release 13' && echo "$each" && return 0
  done
  return 1
}

# The folder of cuBLASLt; nothing where the dynamic loader knows it; fails where it is not.
find_cublas() {
  "$python" -c 'import ctypes; ctypes.CDLL("libcublasLt.so.13")' 2>/dev/null && return 0
  local each toolkit
  toolkit=$(dirname "$(dirname "$(find_nvcc || echo /none/bin/nvcc)")")
  for each in $("$python" -c 'import nvidia; [print(f"{p}/{part}/lib") for p in nvidia.__path__ for part in ("cu13", "cublas")]' 2>/dev/null) \
    "$toolkit"/{lib64,lib,targets/x86_64-linux/lib} /usr/local/cuda*/lib64; do
    [[ -e $each/libcublasLt.so.13 ]] && echo "$each" && return 0
  done
  return 1
}

# with_cublas COMMAND… : that, with cuBLASLt where the loader finds it.
with_cublas() {
  local folder
  folder=$(find_cublas) || return
  LD_LIBRARY_PATH=$folder${folder:+${LD_LIBRARY_PATH:+:}}${LD_LIBRARY_PATH:-} "$@"
}

step_build() {
  local missing=() name
  for name in c++ cmake pkg-config utf8proc.h re2/re2.h nlohmann/json.hpp Eigen/Core CLI/CLI.hpp gtest/gtest.h benchmark/benchmark.h; do
    have "$name" || missing+=("$name")
  done
  if ((${#missing[@]})); then
    need "${missing[@]}" || return
  fi
  local nvcc capability
  nvcc=$(find_nvcc) || { bash tools/fetch_nvcc.sh && nvcc=$root/build/nvcc/bin/nvcc; } || return
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .) || return
  use_ninja
  cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DCARACAL_CUDA=ON -DCARACAL_CUBLAS=ON -DCUDAToolkit_ROOT="$(dirname "$(dirname "$nvcc")")" \
    -DCARACAL_CUDA_ARCHITECTURES="$capability" -DCARACAL_TESTS=ON -DCARACAL_BENCH=ON || return
  cmake --build "$build" --parallel "${JOBS:-$(nproc)}" --target caracal_device_tests caracal_cli batch_mixes_bench
}

# But for that of cuBLASLt, which sanitizers need not see.
kernel_tests() { find "$build/tests/cuda" -maxdepth 1 -name '*_device' ! -name '*cublas*' -type f -perm -u+x | sort; }

# run_each WRAPPER… : every kernel test under the wrapper.
run_each() {
  local test failed=0 code tests
  mapfile -t tests < <(kernel_tests)
  ((${#tests[@]})) || { echo "no kernel tests in $build/tests/cuda"; return 1; }
  for test in "${tests[@]}"; do
    timeout 300 "$@" "$test" --gtest_brief=1
    code=$?
    echo "$(basename "$test"): $( ((code == 0)) && echo passed || echo "FAILED, exit code $code")"
    ((code == 0)) || failed=1
  done
  return "$failed"
}

step_tests() {
  local failed=0
  run_each || failed=1
  if find_cublas >/dev/null; then
    with_cublas timeout 300 "$build/tests/cuda/cuda_cublas_test_device" --gtest_brief=1 || { echo "cuda_cublas_test_device: FAILED"; failed=1; }
  else
    echo "without libcublasLt.so.13: the backend cublas is not tested"
  fi
  return "$failed"
}

sanitize() {
  local tool=compute-sanitizer
  command -v "$tool" >/dev/null || tool=$(compgen -G '/usr/local/cuda*/bin/compute-sanitizer' | head -1)
  [[ -n $tool ]] || { echo "compute-sanitizer is not here"; return 77; }
  run_each "$tool" --tool "$1" --error-exitcode 9 --print-limit 20
}
step_memcheck() { sanitize memcheck; }
step_racecheck() { sanitize racecheck; }

step_goldens() {
  local each test dtype backend failed=0 code wrap runs
  runs=(goldens goldens=float16 goldens=bfloat16 goldens=tf32 invariance decoder wav2vec2 layoutlmv2 saving)
  find_cublas >/dev/null && runs+=(goldens==cublas goldens=float16=cublas goldens=bfloat16=cublas goldens=tf32=cublas)
  for each in "${runs[@]}"; do
    IFS='=' read -r test dtype backend <<<"$each"
    wrap="env"
    [[ $backend == cublas ]] && wrap="with_cublas"
    CARACAL_DEVICE=cuda CARACAL_BACKEND=${backend:-native} CARACAL_GOLDENS_DTYPE=$dtype \
      "$wrap" timeout 600 "$build/tests/gpu/${test}_test_device" --gtest_brief=1
    code=$?
    echo "$each: $( ((code == 0)) && echo passed || echo "FAILED, exit code $code")"
    ((code == 0)) || failed=1
  done
  return "$failed"
}

step_bench() {
  rm -f "$out"/gpu.*
  "$python" -c 'import torch, transformers' || return 77
  local cublas options=()
  if cublas=$(find_cublas); then
    [[ -n $cublas ]] && options=(--cublas "$cublas")
  else
    options=(--peers "caracal-tf32,torch,torch-tf32,compile-max,ort-fused")
  fi
  # shellcheck disable=SC2086
  "$python" bench/compare_gpu.py "${options[@]}" --caracal "$build/tools/caracal" --mixes-program "$build/bench/batch_mixes_bench" \
    --work "$build/bench-work" --out "$out" --minutes "$(((seconds - 60) / 60))" ${BENCH:-}
}

# ---- run them ----------------------------------------------------------------------------------------------------------

export -f have need use_ninja find_nvcc find_cublas with_cublas kernel_tests run_each sanitize
declare -A result_of seconds_of
run_step() {
  local step=$1 left=$((deadline - SECONDS)) code began=$SECONDS
  export seconds=$((left < limit_of[$step] ? left : limit_of[$step]))
  if ((seconds < 20)); then
    result_of[$step]="skipped: no time was left"
    return
  fi
  export -f "step_$step"
  echo "$step, at most $seconds s …"
  timeout --kill-after=10 "$seconds" bash -uo pipefail -c "$(declare -p package_of); step_$step" >"$out/$step.log" 2>&1 </dev/null
  code=$?
  seconds_of[$step]=$((SECONDS - began))
  case $code in
    0) result_of[$step]=passed ;;
    77) result_of[$step]="skipped: $(tail -n 1 "$out/$step.log")" ;;
    124 | 137) result_of[$step]="FAILED: not done in $seconds s" ;;
    *) result_of[$step]="FAILED: exit code $code" ;;
  esac
  echo "  ${result_of[$step]} (${seconds_of[$step]} s)"
}
# The programs know the tests' data by the path they were built at.
if [[ " ${steps[*]} " != *" build "* && -e $build/CMakeCache.txt ]]; then
  built_at=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$build/CMakeCache.txt")
  if [[ -n $built_at && ! -e $built_at ]]; then
    mkdir -p "$(dirname "$built_at")" && ln -s "$root" "$built_at"
  fi
fi
for step in "${steps[@]}"; do run_step "$step"; done

# ---- the report --------------------------------------------------------------------------------------------------------

all=0
json=
for step in "${steps[@]}"; do
  [[ ${result_of[$step]} == passed ]] || all=1
  json+="${json:+, }{\"step\": \"$step\", \"result\": $(RESULT=${result_of[$step]} "$python" -c 'import json, os; print(json.dumps(os.environ["RESULT"]))'), \"seconds\": ${seconds_of[$step]:-0}}"
done
version=$(git describe --always --dirty 2>/dev/null || echo unknown)
echo "{\"version\": \"$version\", \"date\": \"$(date -u +'%F %H:%M UTC')\", \"passed\": $([[ $all == 0 ]] && echo true || echo false), \"steps\": [$json]}" >"$out/report.json"
{
  echo "# GPU check"
  echo
  echo "$(date -u +'%F %H:%M UTC'), $version. $(head -1 <<<"$devices" | sed 's/ (UUID.*//'), driver $(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -1)."
  echo
  echo "| step | result | seconds |"
  echo "| --- | --- | ---: |"
  for step in "${steps[@]}"; do echo "| $step | ${result_of[$step]} | ${seconds_of[$step]:-} |"; done
  for step in "${steps[@]}"; do
    [[ ${result_of[$step]} == FAILED* && -s $out/$step.log ]] || continue
    printf '\n## %s\n\n```\n' "$step"
    grep -E 'FAILED|[Ee]rror|=========' "$out/$step.log" | head -40
    echo '[…]'
    tail -n 15 "$out/$step.log"
    echo '```'
  done
  if [[ -n ${result_of[bench]:-} && -s $out/gpu.md ]]; then
    printf '\n## Benchmark\n\n'
    cat "$out/gpu.md"
  fi
} >"$out/report.md"
echo "report: $out/report.md"
exit $all
