# Finds what caracal::media decodes with: libjpeg-turbo, libpng (with zlib), libwebp, FLAC (with ogg). Static archives first.
# MediaLibraries::MediaLibraries. Used by the build and, installed beside caracal-config.cmake, by consumers.
find_path(CARACAL_JPEG_INCLUDE_DIR jpeglib.h DOC "Folder of jpeglib.h")
find_path(CARACAL_PNG_INCLUDE_DIR png.h DOC "Folder of png.h")
find_path(CARACAL_WEBP_INCLUDE_DIR webp/demux.h DOC "Folder of webp/demux.h")
find_path(CARACAL_FLAC_INCLUDE_DIR FLAC/stream_decoder.h DOC "Folder of FLAC/stream_decoder.h")
set(caracal_media_libraries)
foreach(name jpeg png z webpdemux webp FLAC ogg)  # each before those that it needs
  find_library(CARACAL_${name}_LIBRARY NAMES lib${name}.a ${name} DOC "The ${name} library")
  mark_as_advanced(CARACAL_${name}_LIBRARY)
  list(APPEND caracal_media_libraries CARACAL_${name}_LIBRARY)
endforeach()
mark_as_advanced(CARACAL_JPEG_INCLUDE_DIR CARACAL_PNG_INCLUDE_DIR CARACAL_WEBP_INCLUDE_DIR CARACAL_FLAC_INCLUDE_DIR)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(MediaLibraries
  REQUIRED_VARS ${caracal_media_libraries} CARACAL_JPEG_INCLUDE_DIR CARACAL_PNG_INCLUDE_DIR CARACAL_WEBP_INCLUDE_DIR
    CARACAL_FLAC_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "On Debian: apt-get install libjpeg62-turbo-dev libpng-dev libwebp-dev libflac-dev")

if(MediaLibraries_FOUND AND NOT TARGET MediaLibraries::MediaLibraries)
  add_library(MediaLibraries::MediaLibraries INTERFACE IMPORTED)
  foreach(variable ${caracal_media_libraries})
    set_property(TARGET MediaLibraries::MediaLibraries APPEND PROPERTY INTERFACE_LINK_LIBRARIES ${${variable}})
  endforeach()
  set_property(TARGET MediaLibraries::MediaLibraries APPEND PROPERTY INTERFACE_LINK_LIBRARIES m)
  set_target_properties(MediaLibraries::MediaLibraries PROPERTIES INTERFACE_INCLUDE_DIRECTORIES
    "${CARACAL_JPEG_INCLUDE_DIR};${CARACAL_PNG_INCLUDE_DIR};${CARACAL_WEBP_INCLUDE_DIR};${CARACAL_FLAC_INCLUDE_DIR}")
endif()
