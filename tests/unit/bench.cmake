# SPDX-License-Identifier: MIT
# Tests of the load generators' parts; included by tests/CMakeLists.txt.
find_library(CMOCKA_LIBRARY cmocka REQUIRED)
foreach(name IN ITEMS test_bench test_bench_http)
  add_executable(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c)
  target_link_libraries(${name} PRIVATE chord_warnings bench_http m ${CMOCKA_LIBRARY})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 60)
endforeach()
