# SPDX-License-Identifier: MIT
# Tests that look into the core's own state; included by tests/CMakeLists.txt.
find_library(CMOCKA_LIBRARY cmocka REQUIRED)
add_executable(test_core_invariant ${CMAKE_CURRENT_LIST_DIR}/test_core_invariant.c)
target_link_libraries(test_core_invariant PRIVATE chord_warnings chord_core ${CMOCKA_LIBRARY})
add_test(NAME test_core_invariant COMMAND test_core_invariant)
set_tests_properties(test_core_invariant PROPERTIES TIMEOUT 60)
