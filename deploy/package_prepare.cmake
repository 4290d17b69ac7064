# SPDX-License-Identifier: MIT
# Part of cpack, between installing and packing: what Debian wants of files that are right elsewhere.
# Whatever the umask of who builds packages, all may enter their folders.
file(CHMOD_RECURSE ${CPACK_TEMPORARY_DIRECTORY} DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE
  OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
file(GLOB_RECURSE pages ${CPACK_TEMPORARY_DIRECTORY}/*.[1-8])
list(FILTER pages INCLUDE REGEX "/share/man/man[1-8]/")
if(pages)
  execute_process(COMMAND gzip -9n ${pages} COMMAND_ERROR_IS_FATAL ANY)
endif()
# Where zsh looks for what packages bring.
file(GLOB_RECURSE completions ${CPACK_TEMPORARY_DIRECTORY}/_chordctl)
foreach(completion IN LISTS completions)
  get_filename_component(folder ${completion} DIRECTORY)
  get_filename_component(zsh ${folder} DIRECTORY)
  file(RENAME ${folder} ${zsh}/vendor-completions)
endforeach()
