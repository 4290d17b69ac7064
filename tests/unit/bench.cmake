# SPDX-License-Identifier: MIT
# Tests of the load generators' parts; included by tests/CMakeLists.txt.
find_library(CMOCKA_LIBRARY cmocka REQUIRED)
add_executable(test_bench ${CMAKE_CURRENT_LIST_DIR}/test_bench.c)
target_link_libraries(test_bench PRIVATE chord_warnings bench_work m ${CMOCKA_LIBRARY})
add_test(NAME test_bench COMMAND test_bench)
set_tests_properties(test_bench PROPERTIES TIMEOUT 60)
