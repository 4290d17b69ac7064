# SPDX-License-Identifier: MIT
# Writes the files of WEB and of VENDOR (as /vendor/...) to OUTPUT as C arrays.
# Runs at build time: cmake -DWEB=.. -DVENDOR=.. -DOUTPUT=.. -P assets.cmake
set(text "/* Generated from web/. */\n#include \"assets.h\"\n")
set(table "")
set(count 0)

function(assets_add folder prefix)
  file(GLOB_RECURSE names RELATIVE ${folder} ${folder}/*)
  list(SORT names)
  foreach(name IN LISTS names)
    if(name MATCHES "(^|/)(node_modules|tests|\\.[^/]*)(/|$)"
       OR NOT name MATCHES "\\.(html|css|js|svg|csv)$")
      continue()
    endif()
    file(READ ${folder}/${name} hex HEX)
    string(LENGTH "${hex}" digits)
    math(EXPR bytes "${digits} / 2")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," values "${hex}")
    string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "\\1\n"
           values "${values}")
    # A zero at the end: an empty file is no empty array.
    string(APPEND text "static const uint8_t asset_${count}[] = {\n${values}0};\n")
    string(APPEND table "    {\"${prefix}${name}\", asset_${count}, ${bytes}},\n")
    math(EXPR count "${count} + 1")
  endforeach()
  set(text "${text}" PARENT_SCOPE)
  set(table "${table}" PARENT_SCOPE)
  set(count "${count}" PARENT_SCOPE)
endfunction()

assets_add(${WEB} "/")
assets_add(${VENDOR} "/vendor/")
string(APPEND text "const struct asset assets[] = {\n${table}    {0, 0, 0}};\n")
string(APPEND text "const size_t assets_count = ${count};\n")
file(WRITE ${OUTPUT} "${text}")
