# What `cmake --install` puts down: the archive, its headers, the command, a CMake package and a pkg-config file. Every
# path in them is relative, so that the prefix can be moved.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(caracal_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/caracal)

set(caracal_components core)
foreach(component media ocr hub onednn cuda)  # those that were built
  if(TARGET caracal_${component})
    list(APPEND caracal_components ${component})
  endif()
endforeach()
list(TRANSFORM caracal_components PREPEND caracal_ OUTPUT_VARIABLE caracal_archives)

install(TARGETS ${caracal_archives} caracal_all EXPORT caracal-targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(TARGET caracal_cli)
  install(TARGETS caracal_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

install(DIRECTORY runtime loaders tokenizers models DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/caracal
  FILES_MATCHING PATTERN "*.h" PATTERN "caracal.h" EXCLUDE)
install(FILES models/caracal.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/caracal)
install(FILES kernels/kernels.h kernels/kernels.def DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/caracal/kernels)
install(FILES kernels/cuda/kernels.h kernels/cuda/kernels.def
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/caracal/kernels/cuda)
install(FILES models/auto_classes.def DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/caracal/models)

install(EXPORT caracal-targets NAMESPACE caracal:: DESTINATION ${caracal_package_dir})
configure_package_config_file(tools/cmake/caracal-config.cmake.in caracal-config.cmake
  INSTALL_DESTINATION ${caracal_package_dir} NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(caracal-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/caracal-config.cmake ${PROJECT_BINARY_DIR}/caracal-config-version.cmake
  tools/cmake/Findutf8proc.cmake tools/cmake/Findre2.cmake tools/cmake/FindMediaLibraries.cmake
  tools/cmake/FindTesseractLibraries.cmake tools/cmake/FindHubLibraries.cmake tools/cmake/FindOneDNN.cmake
  DESTINATION ${caracal_package_dir})

set(caracal_pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH caracal_pc_to_prefix /prefix/${caracal_pc_dir} /prefix)
string(REGEX REPLACE "/$" "" caracal_pc_to_prefix ${caracal_pc_to_prefix})
# caracal_pkg_config(name description requirements flags)
function(caracal_pkg_config name description requires libs)
  configure_file(tools/cmake/caracal.pc.in ${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${name}.pc DESTINATION ${caracal_pc_dir})
endfunction()
caracal_pkg_config(caracal "${PROJECT_DESCRIPTION}" "libutf8proc re2" "-lcaracal -pthread")
if(TARGET caracal_media)
  caracal_pkg_config(caracal-media "Image and sound files for caracal"
    "caracal = ${PROJECT_VERSION}, libjpeg, libpng, libwebpdemux, libwebp, flac" "-lcaracal_media")
endif()
if(TARGET caracal_ocr)
  caracal_pkg_config(caracal-ocr "OCR by Tesseract for caracal" "caracal = ${PROJECT_VERSION}, tesseract, lept"
    "-lcaracal_ocr")
endif()
if(TARGET caracal_hub)
  caracal_pkg_config(caracal-hub "Downloads from the Hugging Face hub for caracal"
    "caracal = ${PROJECT_VERSION}, libcurl, libcrypto" "-lcaracal_hub")
endif()
if(TARGET caracal_onednn)
  caracal_pkg_config(caracal-onednn "oneDNN for caracal" "caracal = ${PROJECT_VERSION}"
    "-Wl,-u,${caracal_onednn_symbol} -lcaracal_onednn -ldnnl -fopenmp")
endif()
if(TARGET caracal_cuda)
  caracal_pkg_config(caracal-cuda "CUDA kernels for caracal" "caracal = ${PROJECT_VERSION}"
    "-Wl,-u,${caracal_cuda_symbol} -lcaracal_cuda -L${CUDAToolkit_LIBRARY_DIR} -lcudart_static -ldl -lrt -pthread")
endif()
