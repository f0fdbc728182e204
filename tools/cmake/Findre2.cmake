# Finds RE2 (Debian ships no CMake package for it), the static archive first: re2::re2.
# Used by the build and, installed beside caracal-config.cmake, by consumers of an installed caracal.
find_path(CARACAL_RE2_INCLUDE_DIR re2/re2.h DOC "Folder of re2/re2.h")
find_library(CARACAL_RE2_LIBRARY NAMES libre2.a re2 DOC "The RE2 library")
mark_as_advanced(CARACAL_RE2_INCLUDE_DIR CARACAL_RE2_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(re2 REQUIRED_VARS CARACAL_RE2_LIBRARY CARACAL_RE2_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "On Debian: apt-get install libre2-dev")

if(re2_FOUND AND NOT TARGET re2::re2)
  find_package(Threads REQUIRED)
  add_library(re2::re2 UNKNOWN IMPORTED)
  set_target_properties(re2::re2 PROPERTIES
    IMPORTED_LOCATION ${CARACAL_RE2_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${CARACAL_RE2_INCLUDE_DIR}
    INTERFACE_LINK_LIBRARIES Threads::Threads)
endif()
