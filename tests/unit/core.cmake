# SPDX-License-Identifier: MIT
# Tests of the pure core; included by tests/CMakeLists.txt.
find_library(CMOCKA_LIBRARY cmocka REQUIRED)

# ---- purity: the core as it is built for people, without sanitizers or hardening ----
get_target_property(core_sources chord_core SOURCES)
get_target_property(core_dir chord_core SOURCE_DIR)
list(TRANSFORM core_sources PREPEND ${core_dir}/)
add_library(chord_core_plain STATIC ${core_sources})
target_include_directories(chord_core_plain PRIVATE ${core_dir})
target_compile_options(chord_core_plain PRIVATE -fno-sanitize=all -fno-stack-protector
  -U_FORTIFY_SOURCE)
set(purity ${CMAKE_CURRENT_LIST_DIR}/purity.sh)
add_test(NAME core_purity_includes COMMAND ${purity} includes ${core_dir})
add_test(NAME core_purity_symbols COMMAND ${purity} symbols $<TARGET_FILE:chord_core_plain>)
add_test(NAME core_purity_statics COMMAND ${purity} statics $<TARGET_FILE:chord_core_plain>)

# ---- who may know whom ----
add_test(NAME walls COMMAND ${CMAKE_CURRENT_LIST_DIR}/walls.sh ${CMAKE_SOURCE_DIR})

# ---- every source file says its licence ----
add_test(NAME licences COMMAND ${CMAKE_CURRENT_LIST_DIR}/licences.sh ${CMAKE_SOURCE_DIR})

# ---- ids ----
add_executable(test_id ${CMAKE_CURRENT_LIST_DIR}/test_id.c)
target_link_libraries(test_id PRIVATE chord_warnings chord_core PkgConfig::CRYPTO ${CMOCKA_LIBRARY})
add_test(NAME test_id COMMAND test_id)
set_tests_properties(test_id PROPERTIES TIMEOUT 60)

# ---- the rules for writes that come again ----
add_executable(test_operations ${CMAKE_CURRENT_LIST_DIR}/test_operations.c)
target_link_libraries(test_operations PRIVATE chord_warnings chord_core ${CMOCKA_LIBRARY})
add_test(NAME test_operations COMMAND test_operations)
set_tests_properties(test_operations PROPERTIES TIMEOUT 60)

# ---- the core on the simulator's host (tests/sim) ----
add_library(core_seeds STATIC ${CMAKE_CURRENT_LIST_DIR}/core_seeds.c)
target_link_libraries(core_seeds PUBLIC core_host ${CMOCKA_LIBRARY} PRIVATE chord_warnings)
add_library(data_fixture STATIC ${CMAKE_CURRENT_LIST_DIR}/data_fixture.c)
target_link_libraries(data_fixture PUBLIC core_seeds PRIVATE chord_warnings)
foreach(name IN ITEMS test_core_data test_core_copies test_core_operations test_core_load test_core_queue
  test_core_messages test_core_hosts)
  add_executable(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c)
  target_link_libraries(${name} PRIVATE chord_warnings data_fixture)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 240)
endforeach()
add_executable(test_sim_parcels ${CMAKE_CURRENT_LIST_DIR}/test_sim_parcels.c
  ${CMAKE_CURRENT_LIST_DIR}/wire_fixture.c ${CMAKE_CURRENT_LIST_DIR}/wire_walk.c)
target_link_libraries(test_sim_parcels PRIVATE chord_warnings core_host chord_shell ${CMOCKA_LIBRARY})
add_test(NAME test_sim_parcels COMMAND test_sim_parcels)
set_tests_properties(test_sim_parcels PROPERTIES TIMEOUT 60)
foreach(name IN ITEMS test_core_ring test_core_rings test_core_admit test_core_hostile
  test_core_place test_core_stalls)
  add_executable(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c)
  target_link_libraries(${name} PRIVATE chord_warnings core_seeds)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 240)
endforeach()
