# SPDX-License-Identifier: MIT
# A manual page of a program that says a part of it itself:
#   cmake -DPROGRAM=.. -DINPUT=.. -DOUTPUT=.. -DVERSION=.. -DDATE=.. -P man.cmake
# @SETTINGS@ and @DOC@ stay: they are known when it is installed.
execute_process(COMMAND ${PROGRAM} --help OUTPUT_VARIABLE HELP RESULT_VARIABLE result)
if(NOT result EQUAL 0 OR HELP STREQUAL "")
  message(FATAL_ERROR "${PROGRAM} --help said nothing (${result})")
endif()
# Nothing of it may be an order to the formatter.
string(STRIP "${HELP}" HELP)
string(REPLACE "\\" "\\e" HELP "${HELP}")
string(REPLACE "\n." "\n\\&." HELP "${HELP}")
string(REPLACE "\n'" "\n\\&'" HELP "${HELP}")
string(REPLACE "-" "\\-" HELP "${HELP}")
set(SETTINGS "@SETTINGS@")
set(DOC "@DOC@")
configure_file(${INPUT} ${OUTPUT} @ONLY)
