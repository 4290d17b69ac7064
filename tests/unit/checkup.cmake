# SPDX-License-Identifier: MIT
# Tests of the verdicts of chordctl doctor; included by tests/CMakeLists.txt.
find_library(CMOCKA_LIBRARY cmocka REQUIRED)
set(ctl_dir ${CMAKE_SOURCE_DIR}/proto/clients/chordctl)
add_executable(test_checkup ${CMAKE_CURRENT_LIST_DIR}/test_checkup.c ${ctl_dir}/checkup.c
  ${ctl_dir}/checkup_ranges.c ${ctl_dir}/text.c)
target_include_directories(test_checkup PRIVATE ${ctl_dir})
target_link_libraries(test_checkup PRIVATE chord_warnings chord_proto chord_client PkgConfig::CRYPTO
  ${CMOCKA_LIBRARY})
add_test(NAME test_checkup COMMAND test_checkup)
set_tests_properties(test_checkup PROPERTIES TIMEOUT 60)

# What gateway and chordctl share of it.
add_executable(test_survival ${CMAKE_CURRENT_LIST_DIR}/test_survival.c)
target_link_libraries(test_survival PRIVATE chord_warnings chord_client ${CMOCKA_LIBRARY})
add_test(NAME test_survival COMMAND test_survival)
set_tests_properties(test_survival PROPERTIES TIMEOUT 60)
