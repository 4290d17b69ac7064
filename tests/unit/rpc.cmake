# SPDX-License-Identifier: MIT
# Tests of the RPC runtime; included by tests/CMakeLists.txt.
find_library(CMOCKA_LIBRARY cmocka REQUIRED)
foreach(name IN ITEMS test_rpc test_rpc_flood test_rpc_hostile test_rpc_link test_rpc_loss test_rpc_receiver)
  add_executable(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c ${CMAKE_CURRENT_LIST_DIR}/rpc_fixture.c)
  target_link_libraries(${name} PRIVATE chord_warnings chord_proto ${CMOCKA_LIBRARY})
  add_test(NAME ${name} COMMAND ${name})
  # They share the ports 17000..17099.
  set_tests_properties(${name} PROPERTIES TIMEOUT 120 RESOURCE_LOCK rpc_ports)
endforeach()
target_compile_definitions(test_rpc_hostile PRIVATE
  CHORD_VECTORS="${CMAKE_SOURCE_DIR}/proto/vectors.txt")
