# SPDX-License-Identifier: MIT
# Tests of the simulator's linearizability checker and of the histories that it reads; included by
# tests/CMakeLists.txt.
find_library(CMOCKA_LIBRARY cmocka REQUIRED)
foreach(name IN ITEMS test_linear test_history_file)
  add_executable(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c)
  target_link_libraries(${name} PRIVATE chord_warnings sim_workload ${CMOCKA_LIBRARY})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 60)
endforeach()
