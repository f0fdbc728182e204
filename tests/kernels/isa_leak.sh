#!/bin/sh
# isa_leak.sh NM TIER OBJECT...: code compiled for a tier must not leak out of it. Fails on a weak symbol (the linker
# could keep this copy of an inline function for the whole program) but those of the tier's own copy of Eigen, on a static
# initialiser (it would run on any CPU) and on a defined symbol outside caracal::kernels::TIER.
nm=$1 tier=$2
shift 2
for object in "$@"; do
  symbols=$("$nm" -C "$object") || exit 1
  leaks=$(echo "$symbols" | grep -E ' [WVuwvi] |_GLOBAL__sub_I|__cxx_global_var_init' |
            grep -vE " W (void |bool |float )?caracal::kernels::$tier::eigen::library::internal::"
          echo "$symbols" | grep -E ' [TDBRGSC] ' | grep -vE " [TDBRGSC] caracal::kernels::$tier::")
  if [ -n "$leaks" ]; then
    echo "$object: leaks out of the $tier tier:"
    echo "$leaks"
    failed=1
  fi
done
exit ${failed:-0}
