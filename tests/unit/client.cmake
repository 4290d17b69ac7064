# Tests of the client library; included by tests/CMakeLists.txt.
find_library(CMOCKA_LIBRARY cmocka REQUIRED)
add_executable(test_client ${CMAKE_CURRENT_LIST_DIR}/test_client.c)
target_compile_definitions(test_client PRIVATE FATES_CSV="${CMAKE_SOURCE_DIR}/proto/clients/fates.csv")
target_link_libraries(test_client PRIVATE chord_warnings chord_client ${CMOCKA_LIBRARY})
add_test(NAME test_client COMMAND test_client)
set_tests_properties(test_client PROPERTIES TIMEOUT 60)
