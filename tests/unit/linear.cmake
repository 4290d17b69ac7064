# Tests of the simulator's linearizability checker; included by tests/CMakeLists.txt.
find_library(CMOCKA_LIBRARY cmocka REQUIRED)
add_executable(test_linear ${CMAKE_CURRENT_LIST_DIR}/test_linear.c)
target_link_libraries(test_linear PRIVATE chord_warnings sim_workload ${CMOCKA_LIBRARY})
add_test(NAME test_linear COMMAND test_linear)
set_tests_properties(test_linear PROPERTIES TIMEOUT 60)
