#!/usr/bin/env bash
# No kernel that a model's time depends on keeps registers in memory, on any architecture.
# usage: spills.sh REPORT...      what ptxas -v said of each source
set -euo pipefail
hot='gemm|attention|layer_norm|convolution|normalized_conv1d_kernel|window_sums_kernel'
cat "$@" | awk -v hot="$hot" '
  /Compiling entry function/ {
    split($0, quoted, "\047")
    kernel = quoted[2]; arch = quoted[4]
    kernels++
    archs[arch] = archs[arch] + (kernel ~ hot)
  }
  /bytes spill stores/ && kernel != "" {
    if (($5 != 0 || $9 != 0) && kernel ~ hot) { print arch ": " kernel ": " $5 " bytes stored, " $9 " loaded"; bad = 1 }
    else if ($5 != 0 || $9 != 0) print "not hot: " arch ": " kernel ": " $5 " bytes stored, " $9 " loaded"
    seen[arch]++
    kernel = ""
  }
  END {
    if (kernels == 0) { print "the reports name no kernel"; exit 1 }
    for (arch in archs) {
      printf "%s: %d kernels, %d of them hot\n", arch, seen[arch], archs[arch]
      if (archs[arch] == 0) bad = 1
    }
    exit bad
  }'
