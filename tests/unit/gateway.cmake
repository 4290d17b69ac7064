# SPDX-License-Identifier: MIT
# Tests of the gateway's own readers; included by tests/CMakeLists.txt.
find_library(CMOCKA_LIBRARY cmocka REQUIRED)
find_library(CSV_LIBRARY csv REQUIRED)
foreach(name IN ITEMS test_access test_csv test_gateway_text test_http_threads)
  add_executable(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c)
  target_link_libraries(${name} PRIVATE chord_warnings chord_gateway_core ${CMOCKA_LIBRARY})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 120)
endforeach()
target_link_libraries(test_csv PRIVATE ${CSV_LIBRARY})
target_link_libraries(test_http_threads PRIVATE chord_gateway_http)

# A stand-in for a node that can misbehave; tests/system/lone_gateway.py runs it.
add_executable(fake_node ${CMAKE_CURRENT_LIST_DIR}/fake_node.c)
target_link_libraries(fake_node PRIVATE chord_warnings chord_gateway_core chord_proto)

# The reader's rows as text, for tests/system/test_csv_corpus.py.
add_executable(csv_dump ${CMAKE_CURRENT_LIST_DIR}/csv_dump.c)
target_link_libraries(csv_dump PRIVATE chord_warnings chord_csv)
