# SPDX-License-Identifier: MIT
# Tests of the core at its limits, in the fuzzer's world; included by tests/CMakeLists.txt.
find_library(CMOCKA_LIBRARY cmocka REQUIRED)
add_executable(test_core_limits ${CMAKE_CURRENT_LIST_DIR}/test_core_limits.c)
target_link_libraries(test_core_limits PRIVATE chord_warnings core_world ${CMOCKA_LIBRARY})
add_test(NAME test_core_limits COMMAND test_core_limits)
set_tests_properties(test_core_limits PROPERTIES TIMEOUT 60)
