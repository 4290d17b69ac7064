# SPDX-License-Identifier: MIT
# Tests of the client library; included by tests/CMakeLists.txt.
find_library(CMOCKA_LIBRARY cmocka REQUIRED)
foreach(name IN ITEMS test_client test_client_flow test_client_run test_ring_check test_ring_evenness)
  add_executable(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c)
  target_link_libraries(${name} PRIVATE chord_warnings chord_client ${CMOCKA_LIBRARY})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 60)
endforeach()
foreach(name IN ITEMS test_client_flow test_client_run)
  target_sources(${name} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/client_server.c)
endforeach()
target_compile_definitions(test_client PRIVATE FATES_CSV="${CMAKE_SOURCE_DIR}/proto/clients/fates.csv")
