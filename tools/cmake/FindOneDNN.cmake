# Finds oneDNN 2.6 or 3.x, shared as Debian ships it (whose own CMake package asks for OpenCL): OneDNN::OneDNN, with OpenMP,
# which it runs on. Used by the build and, installed beside caracal-config.cmake, by consumers of caracal::onednn.
find_path(CARACAL_ONEDNN_INCLUDE_DIR oneapi/dnnl/dnnl.hpp DOC "Folder of oneapi/dnnl/dnnl.hpp")
find_library(CARACAL_ONEDNN_LIBRARY NAMES dnnl DOC "The oneDNN library")
mark_as_advanced(CARACAL_ONEDNN_INCLUDE_DIR CARACAL_ONEDNN_LIBRARY)
find_package(OpenMP QUIET COMPONENTS CXX)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OneDNN REQUIRED_VARS CARACAL_ONEDNN_LIBRARY CARACAL_ONEDNN_INCLUDE_DIR OpenMP_CXX_FOUND
  REASON_FAILURE_MESSAGE "On Debian: apt-get install libdnnl-dev")

if(OneDNN_FOUND AND NOT TARGET OneDNN::OneDNN)
  add_library(OneDNN::OneDNN UNKNOWN IMPORTED)
  set_target_properties(OneDNN::OneDNN PROPERTIES
    IMPORTED_LOCATION ${CARACAL_ONEDNN_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${CARACAL_ONEDNN_INCLUDE_DIR}
    INTERFACE_LINK_LIBRARIES OpenMP::OpenMP_CXX)
endif()
