# SPDX-License-Identifier: MIT
# Writes the bytes of INPUT as the C array NAME (and its length NAME_bytes) to OUTPUT.
file(READ ${INPUT} hex HEX)
string(LENGTH "${hex}" hex_digits)
math(EXPR bytes "${hex_digits} / 2")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," values "${hex}")
string(REGEX REPLACE "((0x..,)(0x..,)?(0x..,)?(0x..,)?(0x..,)?(0x..,)?(0x..,)?(0x..,)?)" "\\1\n    "
       values "${values}")
file(WRITE ${OUTPUT} "/* Generated from the .proto files. */
#include \"${HEADER}\"

const size_t ${NAME}_bytes = ${bytes};
const uint8_t ${NAME}[] = {
    ${values}};
")
