# SPDX-License-Identifier: MIT
# Debian packages of the components:
#     cmake --preset release && cmake --build build/release && cpack --config build/release/CPackConfig.cmake
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME chord)
set(CPACK_PACKAGE_VENDOR "The Chord authors")
set(CHORD_PACKAGE_CONTACT "The Chord authors <chord@localhost>" CACHE STRING
  "Name and address of who builds packages for others")
set(CPACK_PACKAGE_CONTACT ${CHORD_PACKAGE_CONTACT})
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
# The prefix is told to the install rules as it will be, and files are put below DESTDIR.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/package_prepare.cmake)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON) # what the programs are linked with, by dpkg-shlibdeps
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SECTION net)

set(CPACK_COMPONENTS_ALL)
function(package component name)
  string(TOUPPER ${component} upper)
  set(CPACK_COMPONENTS_ALL ${CPACK_COMPONENTS_ALL} ${component} PARENT_SCOPE)
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${name} PARENT_SCOPE)
  set(CPACK_COMPONENT_${upper}_DESCRIPTION "${ARGV2}\n${ARGV3}" PARENT_SCOPE)
  file(GLOB scripts CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/debian/${component}/*)
  set(CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_EXTRA ${scripts} PARENT_SCOPE)
endfunction()

if(TARGET chord-node)
  package(node chord-node "one member of a Chord ring"
    "A peer-to-peer hash table: this is the program that keeps keys\nand its systemd unit, of which each instance is one member.")
  set(CPACK_DEBIAN_NODE_PACKAGE_DEPENDS chord-tools)
endif()
if(TARGET chord-gateway)
  package(gateway chord-gateway "dashboards and REST interface of a Chord ring"
    "Shows the ring to browsers, and reads and writes its keys over HTTP.\nKeeps no keys.")
  set(CPACK_DEBIAN_GATEWAY_PACKAGE_DEPENDS chord-tools)
endif()
if(TARGET chordctl)
  package(tools chord-tools "command line of a Chord ring, and the settings of a host"
    "chordctl looks at a ring, uses it and changes it from anywhere.\nAlso the settings that the units of nodes and gateway share.")
endif()
package(client libchord-client "C library for programs that use a Chord ring"
  "The shared and the static library, the header and the pkg-config file.")
set(CPACK_DEBIAN_CLIENT_PACKAGE_SECTION libs)

include(CPack)
