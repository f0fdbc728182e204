# Finds what caracal::hub downloads with: libcurl (any of Debian's flavours) and OpenSSL's libcrypto, shared, because
# their archives would ask for a dozen others.
# HubLibraries::HubLibraries. Used by the build and, installed beside caracal-config.cmake, by consumers.
find_path(CARACAL_CURL_INCLUDE_DIR curl/curl.h DOC "Folder of curl/curl.h")
find_path(CARACAL_OPENSSL_INCLUDE_DIR openssl/evp.h DOC "Folder of openssl/evp.h")
find_library(CARACAL_CURL_LIBRARY NAMES curl DOC "The curl library")
find_library(CARACAL_CRYPTO_LIBRARY NAMES crypto DOC "OpenSSL's crypto library")
mark_as_advanced(CARACAL_CURL_INCLUDE_DIR CARACAL_OPENSSL_INCLUDE_DIR CARACAL_CURL_LIBRARY CARACAL_CRYPTO_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(HubLibraries
  REQUIRED_VARS CARACAL_CURL_LIBRARY CARACAL_CRYPTO_LIBRARY CARACAL_CURL_INCLUDE_DIR CARACAL_OPENSSL_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "On Debian: apt-get install libcurl4-openssl-dev libssl-dev")

if(HubLibraries_FOUND AND NOT TARGET HubLibraries::HubLibraries)
  find_package(Threads REQUIRED)
  add_library(HubLibraries::HubLibraries INTERFACE IMPORTED)
  set_target_properties(HubLibraries::HubLibraries PROPERTIES
    INTERFACE_LINK_LIBRARIES "${CARACAL_CURL_LIBRARY};${CARACAL_CRYPTO_LIBRARY};Threads::Threads"
    INTERFACE_INCLUDE_DIRECTORIES "${CARACAL_CURL_INCLUDE_DIR};${CARACAL_OPENSSL_INCLUDE_DIR}")
endif()
