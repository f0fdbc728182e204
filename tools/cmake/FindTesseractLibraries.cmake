# Finds what caracal::ocr reads with: Tesseract and leptonica, shared, because their archives would ask for a dozen others.
# TesseractLibraries::TesseractLibraries. Used by the build and, installed beside caracal-config.cmake, by consumers.
find_path(CARACAL_TESSERACT_INCLUDE_DIR tesseract/baseapi.h DOC "Folder of tesseract/baseapi.h")
find_path(CARACAL_LEPTONICA_INCLUDE_DIR leptonica/allheaders.h DOC "Folder of leptonica/allheaders.h")
find_library(CARACAL_TESSERACT_LIBRARY NAMES tesseract DOC "The tesseract library")
find_library(CARACAL_LEPTONICA_LIBRARY NAMES leptonica lept DOC "The leptonica library")
mark_as_advanced(CARACAL_TESSERACT_INCLUDE_DIR CARACAL_LEPTONICA_INCLUDE_DIR CARACAL_TESSERACT_LIBRARY
  CARACAL_LEPTONICA_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TesseractLibraries
  REQUIRED_VARS CARACAL_TESSERACT_LIBRARY CARACAL_LEPTONICA_LIBRARY CARACAL_TESSERACT_INCLUDE_DIR
    CARACAL_LEPTONICA_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "On Debian: apt-get install libtesseract-dev libleptonica-dev")

if(TesseractLibraries_FOUND AND NOT TARGET TesseractLibraries::TesseractLibraries)
  add_library(TesseractLibraries::TesseractLibraries INTERFACE IMPORTED)
  set_target_properties(TesseractLibraries::TesseractLibraries PROPERTIES
    INTERFACE_LINK_LIBRARIES "${CARACAL_TESSERACT_LIBRARY};${CARACAL_LEPTONICA_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${CARACAL_TESSERACT_INCLUDE_DIR};${CARACAL_LEPTONICA_INCLUDE_DIR}")
endif()
