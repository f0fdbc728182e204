#!/usr/bin/env bash
# No kernel that a model's time depends on keeps registers in memory, on any architecture; and no product has static shared
# memory, since some ask for all that a block may have besides.
# usage: spills.sh REPORT...      what ptxas -v said of each source
set -euo pipefail
hot='mma_kernel|simt_kernel|attention|layer_?norm|embedding_?norm|normalized_conv1d_kernel'  # in a kernel's name or its arguments'
full='mma_kernel|simt_kernel'  # of products: attention's are called otherwise
cat "$@" | awk -v hot="$hot" -v full="$full" '
  /Compiling entry function/ {
    split($0, quoted, "\047")
    kernel = quoted[2]; arch = quoted[4]; is_hot = tolower(kernel) ~ hot; is_full = kernel ~ full; own = 1
    kernels++
    archs[arch] = archs[arch] + is_hot
  }
  /bytes spill stores/ && own {
    if ($1 != 0 || $5 != 0 || $9 != 0) {  # a stack frame: an array whose index is not known when it is compiled
      print (is_hot ? "" : "not hot: ") arch ": " kernel ": " $0
      bad = bad || is_hot
    }
    seen[arch]++
    own = 0
  }
  /Used [0-9]+ registers/ && kernel != "" {
    if (is_full) fulls++
    if (is_full && / bytes smem/) { print arch ": " kernel ": static shared memory: " $0; bad = 1 }
    kernel = ""
  }
  END {
    if (kernels == 0) { print "the reports name no kernel"; exit 1 }
    if (fulls == 0) { print "the reports name no product"; exit 1 }
    for (arch in archs) {
      printf "%s: %d kernels, %d of them hot\n", arch, seen[arch], archs[arch]
      if (archs[arch] == 0) bad = 1
    }
    exit bad
  }'
