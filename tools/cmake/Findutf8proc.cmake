# Finds utf8proc (Debian ships no CMake package for it), the static archive first: utf8proc::utf8proc.
# Used by the build and, installed beside caracal-config.cmake, by consumers of an installed caracal.
find_path(CARACAL_UTF8PROC_INCLUDE_DIR utf8proc.h DOC "Folder of utf8proc.h")
find_library(CARACAL_UTF8PROC_LIBRARY NAMES libutf8proc.a utf8proc DOC "The utf8proc library")
mark_as_advanced(CARACAL_UTF8PROC_INCLUDE_DIR CARACAL_UTF8PROC_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(utf8proc REQUIRED_VARS CARACAL_UTF8PROC_LIBRARY CARACAL_UTF8PROC_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "On Debian: apt-get install libutf8proc-dev")

if(utf8proc_FOUND AND NOT TARGET utf8proc::utf8proc)
  add_library(utf8proc::utf8proc UNKNOWN IMPORTED)
  set_target_properties(utf8proc::utf8proc PROPERTIES
    IMPORTED_LOCATION ${CARACAL_UTF8PROC_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${CARACAL_UTF8PROC_INCLUDE_DIR})
endif()
