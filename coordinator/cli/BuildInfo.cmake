# cmake -DSOURCE=<checkout> -DOUT=<file> -P BuildInfo.cmake: writes build_info.cpp when it would change.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed OR commit STREQUAL "")
  set(commit unknown)
endif()
set(text "#include \"coordinator/cli/build_info.h\"

namespace trireme::coordinator::cli {
std::string build_commit() {
  return \"${commit}\";
}
}  // namespace trireme::coordinator::cli
")
set(before "")
if(EXISTS ${OUT})
  file(READ ${OUT} before)
endif()
if(NOT before STREQUAL text)
  file(WRITE ${OUT} "${text}")
endif()
