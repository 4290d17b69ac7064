# SPDX-License-Identifier: MIT
# Tests of the store (SQLite) and of the wire forms; included by tests/CMakeLists.txt.
find_library(CMOCKA_LIBRARY cmocka REQUIRED)
foreach(name IN ITEMS test_store test_store_ranges test_store_bad test_store_backup test_store_large test_store_faults test_store_files test_store_place
                       test_store_schema test_store_upgrade test_store_records test_store_twins
                       test_wire test_wire_damaged test_wire_golden test_wire_table)
  add_executable(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c ${CMAKE_CURRENT_LIST_DIR}/store_fixture.c)
  target_link_libraries(${name} PRIVATE chord_warnings chord_shell ${CMOCKA_LIBRARY})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 400)
endforeach()
foreach(name IN ITEMS test_wire test_wire_damaged test_wire_golden test_wire_table)
  target_sources(${name} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/wire_fixture.c
    ${CMAKE_CURRENT_LIST_DIR}/wire_walk.c)
endforeach()
foreach(name IN ITEMS test_store_schema test_store_upgrade test_store_faults)
  target_sources(${name} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/store_golden.c)
  target_compile_definitions(${name} PRIVATE GOLDEN_FOLDER="${CMAKE_CURRENT_LIST_DIR}/golden")
endforeach()
target_compile_definitions(test_wire_golden PRIVATE GOLDEN_FOLDER="${CMAKE_CURRENT_LIST_DIR}/golden")
target_include_directories(test_store_records SYSTEM PRIVATE ${XXHASH_INCLUDE_DIRS})
# Only for a new schema: see store_golden_make.c.
add_executable(store_golden_make EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/store_golden_make.c
  ${CMAKE_CURRENT_LIST_DIR}/store_golden.c ${CMAKE_CURRENT_LIST_DIR}/store_fixture.c)
target_compile_definitions(store_golden_make PRIVATE GOLDEN_FOLDER="${CMAKE_CURRENT_LIST_DIR}/golden")
target_link_libraries(store_golden_make PRIVATE chord_warnings chord_shell ${CMOCKA_LIBRARY})
target_sources(test_store_twins PRIVATE ${CMAKE_CURRENT_LIST_DIR}/../sim/core_store.c)
target_include_directories(test_store_twins PRIVATE ${CMAKE_CURRENT_LIST_DIR}/../sim)
