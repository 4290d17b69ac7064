# SPDX-License-Identifier: MIT
# Tests of what programs tell a service manager; included by tests/CMakeLists.txt.
find_library(CMOCKA_LIBRARY cmocka REQUIRED)
add_executable(test_sd_notify ${CMAKE_CURRENT_LIST_DIR}/test_sd_notify.c)
target_link_libraries(test_sd_notify PRIVATE chord_warnings chord_sd_notify ${CMOCKA_LIBRARY})
add_test(NAME test_sd_notify COMMAND test_sd_notify)
set_tests_properties(test_sd_notify PROPERTIES TIMEOUT 60)
