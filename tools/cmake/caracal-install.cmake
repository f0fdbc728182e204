# What `cmake --install` puts down: the archive, its headers, the command, a CMake package and a pkg-config file. Every
# path in them is relative, so that the prefix can be moved.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(caracal_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/caracal)

install(TARGETS caracal_core caracal_all EXPORT caracal-targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(TARGET caracal_cli)
  install(TARGETS caracal_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

install(DIRECTORY runtime loaders tokenizers models DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/caracal
  FILES_MATCHING PATTERN "*.h" PATTERN "caracal.h" EXCLUDE)
install(FILES models/caracal.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/caracal)
install(FILES kernels/kernels.h kernels/kernels.def DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/caracal/kernels)
install(FILES models/auto_classes.def DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/caracal/models)

install(EXPORT caracal-targets NAMESPACE caracal:: DESTINATION ${caracal_package_dir})
configure_package_config_file(tools/cmake/caracal-config.cmake.in caracal-config.cmake
  INSTALL_DESTINATION ${caracal_package_dir} NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(caracal-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/caracal-config.cmake ${PROJECT_BINARY_DIR}/caracal-config-version.cmake
  tools/cmake/Findutf8proc.cmake tools/cmake/Findre2.cmake DESTINATION ${caracal_package_dir})

set(caracal_pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH caracal_pc_to_prefix /prefix/${caracal_pc_dir} /prefix)
string(REGEX REPLACE "/$" "" caracal_pc_to_prefix ${caracal_pc_to_prefix})
configure_file(tools/cmake/caracal.pc.in caracal.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/caracal.pc DESTINATION ${caracal_pc_dir})
