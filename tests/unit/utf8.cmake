# SPDX-License-Identifier: MIT
# Texts: proto/utf8.

find_library(CMOCKA_LIBRARY cmocka REQUIRED)
add_executable(test_utf8 ${CMAKE_CURRENT_LIST_DIR}/test_utf8.c)
target_link_libraries(test_utf8 PRIVATE chord_warnings chord_utf8 ${CMOCKA_LIBRARY})
add_test(NAME test_utf8 COMMAND test_utf8)
set_tests_properties(test_utf8 PROPERTIES TIMEOUT 60)
